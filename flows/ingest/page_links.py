"""The links of a web page: absolute, sorted, each once, http and https alone."""

import codecs
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from larder.artifacts import Frozen

DEFAULT_PORTS = {"http": 80, "https": 443}
_SNIFFED_BYTES = 1024
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_PATH_SAFE = "/:@!$&'()*+,;=~-._%"
_QUERY_SAFE = _PATH_SAFE + "?"


class Link(Frozen):
    """One place that a page leads to."""

    url: str
    title: str
    """What a person reads on the page; empty where there is nothing to read."""


class Page(Frozen):
    """What a page says of itself, and where it leads."""

    url: str
    """Its canonical URL: what it calls itself, else where it was found."""
    title: str
    links: tuple[Link, ...]


def read_page(html: str, url: str) -> Page:
    """A page's title, canonical URL and links.

    Args:
        html: the page
        url: where it was found, after redirects
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_link()
    base = absolute(reader.base, url) or url
    found: dict[str, str] = {}
    for href, title in reader.links:
        target = absolute(href, base)
        if target:
            found[target] = found.get(target) or title
    links = tuple(Link(url=target, title=found[target]) for target in sorted(found))
    canonical = absolute(reader.canonical, base) or canonical_url(url) or url
    return Page(url=canonical, title=_spaced(reader.title), links=links)


def absolute(href: str | None, base: str) -> str | None:
    """Where a link leads, as a canonical URL; None for a mere fragment, another scheme or no URL at all."""
    plain = re.sub(r"[\t\n\r]", "", href or "").strip(" \f").replace("\\", "/")
    if not plain or plain.startswith("#"):
        return None
    try:
        return canonical_url(urljoin(base, plain))
    except ValueError:
        return None


def canonical_url(url: str) -> str | None:
    """One spelling for each URL: host in lower case and ASCII, no default port, no fragment, `/` for no path.

    None where it is no http or https URL with a host, or carries a login.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        ascii_host = host if host is None or ":" in host else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not ascii_host or "@" in parts.netloc:
        return None
    place = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    if port not in (None, DEFAULT_PORTS[scheme]):
        place = f"{place}:{port}"
    path = _encoded(_without_dots(parts.path) or "/", _PATH_SAFE)
    return urlunsplit((scheme, place, path, _encoded(parts.query, _QUERY_SAFE), ""))


def decode(content: bytes, content_type: str | None) -> str:
    """The text of a page: by its byte order mark, its header, its `meta` element, else UTF-8."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    declared = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type or "", re.IGNORECASE)
    within = re.search(rb"<meta[^>]+charset\s*=\s*[\"']?([\w.:-]+)", content[:_SNIFFED_BYTES], re.IGNORECASE)
    for name in (declared and declared[1], within and within[1].decode()):
        if name and _is_known(name):
            return content.decode(name, "replace")
    return content.decode("utf-8", "replace")


def matching(links: Sequence[Link], patterns: Sequence[str]) -> tuple[Link, ...]:
    """The links whose URL, without its query, fits one of the patterns (`*` stands for any text)."""
    tests = [re.compile(".*".join(map(re.escape, pattern.split("*")))) for pattern in patterns]
    return tuple(
        link for link in links if any(test.fullmatch(unquote(link.url.split("?")[0])) for test in tests)
    )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.canonical: str | None = None
        self.title = ""
        self.links: list[tuple[str, str]] = []
        self._href: str | None = None
        self._text: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element says of the page, or where it leads."""
        given = {name: value or "" for name, value in reversed(attrs)}
        match tag:
            case "base" if self.base is None and "href" in given:
                self.base = given["href"]
            case "link" if "canonical" in given.get("rel", "").lower().split() and self.canonical is None:
                self.canonical = given.get("href")
            case "title":
                self._in_title = not self.title
            case "a" if "href" in given:
                self.end_link()
                self._href, self._text = given["href"], [given.get("title", "")]
            case "area" if "href" in given:
                self.links.append((given["href"], _spaced(given.get("alt", ""))))

    def handle_endtag(self, tag: str) -> None:
        """End a link or the title."""
        match tag:
            case "a":
                self.end_link()
            case "title":
                self._in_title = False

    def handle_data(self, data: str) -> None:
        """Text of a link or of the title."""
        if self._in_title:
            self.title += data
        if self._href is not None:
            self._text.append(data)

    def end_link(self) -> None:
        """Keep the link that is open, if one is."""
        if self._href is not None:
            named, *words = self._text
            self.links.append((self._href, _spaced("".join(words)) or _spaced(named)))
            self._href = None


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _encoded(text: str, safe: str) -> str:
    """Percent-encoded where it has to be; what is encoded already stays."""
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(text, safe=safe))


def _without_dots(path: str) -> str:
    """A path whose `.` and `..` are resolved, as RFC 3986 does."""
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == ".." and len(kept) > 1:
            kept.pop()
        elif part not in {".", ".."}:
            kept.append(part)
    ends_in_folder = parts[-1] in {".", ".."}
    return "/".join([*kept, ""] if ends_in_folder else kept)


def _is_known(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True
