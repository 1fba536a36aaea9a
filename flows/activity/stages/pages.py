"""The pages of a source: where the next one is, where the records stand in them, and when to stop."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import AfterValidator, Field, model_validator

from flows.activity.stages.api import AnswerError, Api, Validators
from larder.artifacts import File, Frozen, Output, Uncounted
from larder.names import wrong

SHOWN_CHARACTERS = 60


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("http://… or https://…, without a login and without '#'")
    return text


def _dotted(text: str) -> str:
    if not all(text.split(".")):
        raise ValueError("names of fields with dots between them, as result.records")
    return text


Url = Annotated[str, AfterValidator(_url)]
Dotted = Annotated[str, AfterValidator(_dotted)]


class Source(Frozen):
    """Where the records of one kind are, and how the API parts them into pages.

    Without `next_field` and `page_parameter` the pages follow the header `Link`, as `rel="next"` says.
    """

    url: Url
    """Of the first page."""
    query: dict[str, str] = {}
    """Parameters of the first page's URL, as how many records a page has."""
    records_field: Dotted | None = None
    """Where in a page the list of records is; else the page is that list."""
    next_field: Dotted | None = None
    """Where in a page the URL of the next one is; the last page has none."""
    page_parameter: str | None = Field(None, min_length=1)
    """The parameter that numbers the pages from 1; the first page without records is the last."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.next_field and self.page_parameter:
            raise wrong("next_field and page_parameter", "one of them")
        return self

    def page_url(self, number: int = 1) -> str:
        """The URL of the first page; of any page, where they are numbered."""
        numbered = {self.page_parameter: str(number)} if self.page_parameter else {}
        query = urlencode({**self.query, **numbered})
        return f"{self.url}{'&' if '?' in self.url else '?'}{query}" if query else self.url


class Page(Frozen):
    """One page as it came."""

    file: File
    rows: int
    """How many records it holds."""
    url: Annotated[str, Uncounted]
    validators: Annotated[Validators, Uncounted]


class Pages(Output):
    """All pages of a source as they came. Their content counts, not what the API says about it."""

    pages: tuple[Page, ...]
    records_field: str | None = None
    source: Annotated[Source, Uncounted]
    version: Annotated[str, Uncounted]
    """How this version of the source was called when it was read."""


def read_pages(api: Api, source: Source, version: str, folder: Path) -> Pages:
    """Fetch every page of a source, `<source>-0001.json` and so on in `folder`.

    Raises:
        UnreachableError: the API did not answer.
        AnswerError: a page is no JSON or holds no records, or the pages do not end.
    """
    url: str | None = source.page_url()
    pages: dict[str, Page] = {}
    while url is not None:
        number = len(pages) + 1
        if number > api.limits.source_pages:
            expected = "fewer pages; or a larger source_pages in the configuration"
            raise AnswerError(api.source, url, f"page {number:,}, and it is not the last", expected)
        file = folder / f"{api.source}-{number:04}.json"
        head = api.fetch(url, file)
        content, found = _content(api.source, source, url, file)
        pages[url] = Page(file=file, rows=len(found), url=url, validators=head.validators)
        after = _next(source, content, found, number, head.next_url)
        if after is not None:
            after = _checked(api.source, url, after, list(pages))
        url = after
    listed = tuple(pages.values())
    return Pages(pages=listed, records_field=source.records_field, source=source, version=version)


def records(pages: Pages) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every record of a source with its place, `page 2, record 3`, in the order in which they came."""
    for number, page in enumerate(pages.pages, 1):
        content = json.loads(Path(str(page.file)).read_bytes())
        for at, record in enumerate(_inside(content, pages.records_field), 1):
            yield f"page {number}, record {at}", record


def _content(name: str, source: Source, url: str, file: Path) -> tuple[Any, list[Any]]:
    """What a page holds, and the records in it."""
    text = file.read_bytes()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError(name, url, _described(text, error), "JSON") from error
    found = _inside(content, source.records_field)
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        place = f" at {source.records_field}" if source.records_field else ""
        raise AnswerError(name, url, f"{_shown(found)}{place}", "a list of records")
    return content, found


def _next(source: Source, content: Any, found: list[Any], number: int, link: str | None) -> str | None:
    """The URL of the page behind this one; None behind the last."""
    if source.page_parameter:
        return source.page_url(number + 1) if found else None
    given = _inside(content, source.next_field) if source.next_field else link
    return str(given) if given else None


def _checked(name: str, url: str, after: str, read: list[str]) -> str:
    """The next page's URL, if it is one of the same server that was not read yet."""
    after = urljoin(url, after)
    if _origin(after) != _origin(url):
        raise AnswerError(name, url, f"that the next page is {after}", "a page of the same server")
    if after in read:
        found = f"that page {len(read)} leads back to page {read.index(after) + 1}"
        raise AnswerError(name, url, found, "pages that end")
    return after


def _inside(content: Any, field: str | None) -> Any:
    for name in field.split(".") if field else ():
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _described(text: bytes, error: Exception) -> str:
    start = text[:SHOWN_CHARACTERS].decode(errors="replace").strip()
    if start.lower().startswith(("<!doctype", "<html", "<?xml")):
        return f"a page of HTML or XML ({start!r})"
    if not start:
        return "nothing"
    return f"no JSON, or not all of it ({len(text):,} bytes, {error})"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
