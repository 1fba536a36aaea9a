"""Web pages: what robots.txt says, and where a page leads."""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from flows.ingest.names import name_of_url, safe_name
from flows.ingest.page_links import Link, decode, matching, read_page
from flows.ingest.robots import read_robots, robots_url
from flows.ingest.schema import Access, FileSource, PageSource, Request
from flows.ingest.stages.files import Visit, web_of
from larder.artifacts import File, Output

LOGGER = logging.getLogger(__name__)
HTML = ("text/html", "application/xhtml+xml")
PAGE_NAME = "page.html"
LINKS_NAME = "links.json"


class Robots(Output):
    """What robots.txt says on each host that is asked."""

    rules: Mapping[str, str]
    """Its text, by its URL."""


class Links(Output):
    """Where a page leads."""

    file: File
    url: str
    """The page's canonical URL."""
    title: str
    followed: tuple[Link, ...]
    """The links that the configuration follows."""
    rows: int


def robots(source: Request, *, access: Access, text: str) -> Robots:  # noqa: ARG001
    """The rules of a source's host.

    Args:
        source: what is asked for
        access: where may be connected to
        text: what its robots.txt says
    """
    return Robots(rules={robots_url(source.url): text})


def robots_text(source: Request, access: Access, visit: Visit) -> str:
    """What the robots.txt of a source's host says now.

    Raises:
        SourceUnreachable: if the server failed: nobody knows then what it forbids.
    """
    with closing(web_of(source, access, None, visit, LOGGER.info)) as web:
        return read_robots(web, robots_url(source.url))


def links(page: Path, url: str, content_type: str | None, follow: tuple[str, ...], *, scratch: Path) -> Links:
    """The links of a page, `links.json` in `scratch`: absolute, sorted by URL, each once.

    Args:
        page: the HTML
        url: where it was found
        content_type: as the server says, with its character set
        follow: patterns of the URLs that are followed
        scratch: where the file goes
    """
    read = read_page(decode(page.read_bytes(), content_type), url)
    file = scratch / LINKS_NAME
    file.write_text(json.dumps(read.model_dump(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Links(
        file=file,
        url=read.url,
        title=read.title,
        followed=matching(read.links, follow),
        rows=len(read.links),
    )


def html_of(page: PageSource) -> FileSource:
    """The source of a page's HTML."""
    asked = {name: getattr(page, name) for name in Request.model_fields}
    return FileSource(**asked, content_types=HTML, called=PAGE_NAME)


def followed(page: PageSource, link: Link) -> FileSource:
    """The source of a file that a page links to."""
    digest = hashlib.sha256(link.url.encode()).hexdigest()[:8]
    name = safe_name(name_of_url(link.url))
    return FileSource(
        name=f"{page.name[:40]}.{digest}.{name[-48:].lstrip('._')}",
        url=link.url,
        content_types=page.content_types,
        conditional=page.conditional,
    )
