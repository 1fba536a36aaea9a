"""APIs: all pages of JSON as one file."""

from contextlib import closing
from pathlib import Path
from typing import TextIO

from flows.ingest.download import Facts, download
from flows.ingest.errors import SourceError
from flows.ingest.pagination import ApiPage, first_url, next_url, parsed, records_in
from flows.ingest.schema import Access, ApiSource
from flows.ingest.stages.files import Received, Visit, received, web_of
from flows.ingest.web import Say, Web


def read(  # noqa: PLR0913
    source: ApiSource,
    *,
    announced: str | None,
    access: Access,
    visit: Visit,
    say: Say = print,
    scratch: Path,
) -> Received:
    """All that an API gives, `<source>.json` in `scratch`.

    An API of one page is kept byte for byte. The records of several become one list, a line for each record,
    as it came.

    Args:
        source: what is asked for, and how one page leads to the next
        announced: the version that the source says that it has; names it in the key
        access, visit, say: as for `flows.ingest.stages.files.download`
        scratch: where it goes
    """
    target = scratch / f"{source.name}.json"
    with closing(web_of(source, access, None, visit, say)) as web:
        if source.pagination is None:
            facts = download(web, source, target)
            _page(facts, target)
            if announced not in (None, facts.validator):
                say(f"{source.name} changed after it was looked at; the newer answer is taken")
            return received(facts, target, target.name, visit, announced)
        with target.open("w", encoding="utf-8", newline="") as file:
            facts, records = _all_pages(web, source, scratch / "page", file)
    return received(facts, target, target.name, visit, None, records)


def _all_pages(web: Web, source: ApiSource, path: Path, file: TextIO) -> tuple[Facts, int]:
    """Write the records of all pages; what the server said of the first one, and how many there are."""
    limits = web.access.limits
    first, records, size, visited = None, 0, 0, set[str]()
    url: str | None = first_url(source)
    file.write("[")
    while url is not None:
        if url in visited:
            raise SourceError(web.shown(url), "this page was read before: the pages lead in a loop.")
        if len(visited) == limits.pages:
            raise SourceError(web.shown(url), f"more than {limits.pages} pages (`limits.pages`).")
        visited.add(url)
        facts = download(web, source, path, url=url)
        first = first or facts
        page = _page(facts, path)
        before = records
        for record in records_in(page, source):
            file.write(f"{',' if records else ''}\n{record}")
            records += 1
        size += path.stat().st_size
        if size > limits.bytes:
            raise SourceError(facts.url, f"its pages have more than {limits.bytes:,} bytes (`limits.bytes`).")
        url = next_url(source, page, records - before, before)
    file.write("\n]\n" if records else "]\n")
    if first is None:
        raise SourceError(web.shown(source.url), "it has no page.")
    return first.without_validator(), records


def _page(facts: Facts, path: Path) -> ApiPage:
    links = {"next": facts.next_link} if facts.next_link else {}
    return parsed(facts.url, path.read_bytes(), links)
