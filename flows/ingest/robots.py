"""robots.txt: which pages of a host may be asked for."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from flows.ingest.errors import ForbiddenError, SourceError
from flows.ingest.safe_connection import AGENT
from flows.ingest.schema import Request
from flows.ingest.web import Web

MOST_BYTES = 500 * 1024
"""More of a robots.txt is not read (RFC 9309)."""
FORBID_ALL = "User-agent: *\nDisallow: /\n"
_KEPT_SHUT = ("401", "403")


def robots_url(url: str) -> str:
    """Where the rules for a URL stand."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/robots.txt"


def read_robots(web: Web, url: str) -> str:
    """The text of a robots.txt; empty where there is none, all forbidden where it is kept shut.

    Raises:
        SourceUnreachable: if the server failed: nobody knows then what it forbids.
    """

    def ask() -> str:
        content = b""
        with web.answer(Request(name="robots", url=url)) as response:
            for piece in response.iter_raw():
                content += piece
                if len(content) >= MOST_BYTES:
                    break
        return content[:MOST_BYTES].decode("utf-8", "replace").lstrip("\ufeff")

    try:
        return web.patiently(ask)
    except ForbiddenError:
        raise
    except SourceError as error:
        is_shut = any(f"says {status}" in error.cause for status in _KEPT_SHUT)
        return FORBID_ALL if is_shut else ""


def obeying(rules: Mapping[str, str], read: Callable[[str], str]) -> Callable[[str], None]:
    """A function that raises ForbiddenError for each URL that its host's robots.txt forbids.

    Args:
        rules: the text of a robots.txt by its URL, as far as it was read
        read: reads another one
    """
    known = {place: _parsed(text) for place, text in rules.items()}

    def permit(url: str) -> None:
        place = robots_url(url)
        if url == place:
            return
        if place not in known:
            known[place] = _parsed(read(place))
        if not known[place].can_fetch(AGENT, url):
            raise ForbiddenError(url, f"{place} forbids it to {AGENT}. Leave it out, or ask its owner.")

    return permit


def _parsed(text: str) -> RobotFileParser:
    parser = RobotFileParser()
    parser.parse(text.splitlines())
    return parser
