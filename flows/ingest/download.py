"""Streams one file from the web into a folder: limited, continued where it was cut, never two in one."""

import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from re import fullmatch

import httpx

from flows.ingest.errors import SourceError, SourceUnreachable
from flows.ingest.names import name_of_disposition, name_of_url, safe_name
from flows.ingest.schema import Request
from flows.ingest.web import NOT_MODIFIED, RANGE_NOT_SATISFIABLE, Web

PIECE_BYTES = 2**16
PARTIAL = 206
KEPT_HEADERS = frozenset(
    {
        *("cache-control", "content-disposition", "content-encoding", "content-language", "content-length"),
        *("content-type", "date", "etag", "expires", "last-modified", "server"),
    }
)
"""The headers of an answer that a manifest shows. None of them carries a secret."""
OF_ONE_ANSWER = frozenset({"etag", "last-modified", "content-length"})
_STRONG_AFTER = timedelta(seconds=60)
"""A file that was changed this long before it was sent has no other content of the same Last-Modified."""


@dataclass(frozen=True)
class Facts:
    """What a server says of a file beside its bytes."""

    url: str
    """Where it was found, after redirects, without secrets."""
    original_name: str
    headers: Mapping[str, str]
    next_link: str | None = None
    """Where its header `Link` says that the next page is."""

    @property
    def name(self) -> str:
        """The name, made safe."""
        return safe_name(self.original_name)

    @property
    def content_type(self) -> str | None:
        """Its media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() or None

    @property
    def validator(self) -> str | None:
        """What changes when the file does: its ETag, else its Last-Modified."""
        return self.headers.get("etag") or self.headers.get("last-modified")

    @property
    def strong_validator(self) -> str | None:
        """The validator, where equal ones mean equal bytes (RFC 9110, 8.8)."""
        if etag := self.headers.get("etag"):
            return None if etag.startswith("W/") else etag
        try:
            modified = parsedate_to_datetime(self.headers["last-modified"])
            sent = parsedate_to_datetime(self.headers["date"])
            return self.headers["last-modified"] if modified + _STRONG_AFTER <= sent else None
        except (KeyError, ValueError, TypeError):
            return None

    def without_validator(self) -> "Facts":
        """The same of what is made of several answers, of which no one validator holds."""
        kept = {name: text for name, text in self.headers.items() if name not in OF_ONE_ANSWER}
        return replace(self, headers=kept)


def conditions(validator: str | None) -> dict[str, str]:
    """The headers that ask for a file only if it is no longer the one with this validator."""
    if validator is None:
        return {}
    is_etag = validator.endswith('"')
    return {"If-None-Match" if is_etag else "If-Modified-Since": validator}


def look_at(web: Web, request: Request, validator: str | None) -> Facts | None:
    """What a server says of a file now; None where it says that the validator still holds. Reads no body."""

    def ask() -> Facts | None:
        with web.answer(request, conditions(validator)) as response:
            return None if response.status_code == NOT_MODIFIED else facts(web, response)

    return web.patiently(ask)


def download(
    web: Web, request: Request, path: Path, content_types: tuple[str, ...] = (), url: str | None = None
) -> Facts:
    """Fetch a file into `path`, from `url` where it is given in place of the request's own.

    Where the connection is cut it is continued by Range, if the server says that the file is still the same;
    else it starts anew.

    Raises:
        SourceError: if it is larger, slower or of another type than allowed, or the server says no.
        SourceUnreachable: if the server failed or was cut too often.
    """
    transfer = _Transfer(web, request, path, content_types, url)
    number = 1
    while True:
        before = transfer.received
        try:
            return transfer.go_on()
        except SourceUnreachable as error:
            number = 1 if transfer.received > before > 0 else number
            if number == web.access.limits.tries:
                raise
            web.pause(error, number)
            number += 1


def facts(web: Web, response: httpx.Response) -> Facts:
    """What an answer says of a file."""
    url = str(response.url)
    name = name_of_disposition(response.headers.get("content-disposition")) or name_of_url(url)
    headers = {name: text for name, text in response.headers.items() if name in KEPT_HEADERS}
    shown = {name: web.credentials.hide(text) for name, text in sorted(headers.items())}
    return Facts(web.shown(url), web.credentials.hide(name), shown, response.links.get("next", {}).get("url"))


class _Transfer:
    """One file on its way: what has come of it, and what the server said of it."""

    def __init__(
        self, web: Web, request: Request, path: Path, content_types: tuple[str, ...], url: str | None
    ) -> None:
        self.received = 0
        self._url = url
        self._web = web
        self._request = request
        self._path = path
        self._content_types = content_types
        self._facts: Facts | None = None
        self._end = time.monotonic() + web.access.limits.seconds

    def go_on(self) -> Facts:
        """Receive what has not come yet."""
        continued = self._continuation()
        with self._web.answer(self._request, continued, self._url) as response:
            said = facts(self._web, response)
            if response.status_code == PARTIAL and continued and self._fits(response, said):
                said = self._facts or said
            elif response.status_code in {PARTIAL, RANGE_NOT_SATISFIABLE}:
                self._facts = None
                raise SourceUnreachable(said.url, "it changed while it was fetched")
            else:
                self.received, self._facts = 0, said
                self._require_welcome(response, said)
            self._receive(response, said)
        return said

    def _continuation(self) -> dict[str, str]:
        if self._facts is None or not self.received or "content-encoding" in self._facts.headers:
            return {}
        strong = self._facts.strong_validator
        return {"Range": f"bytes={self.received}-", "If-Range": strong} if strong else {}

    def _fits(self, response: httpx.Response, said: Facts) -> bool:
        """Whether a partial answer goes on where this file was cut."""
        place = fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("content-range", ""))
        same = self._facts is not None and said.validator == self._facts.validator
        return same and place is not None and int(place[1]) == self.received

    def _require_welcome(self, response: httpx.Response, said: Facts) -> None:
        most, announced = self._web.access.limits.bytes, response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            raise SourceError(said.url, _too_large(int(announced), most))
        if self._content_types and not any(_is_of(said.content_type, one) for one in self._content_types):
            found = said.content_type or "no content type"
            raise SourceError(said.url, f"it is {found}; expected is {' or '.join(self._content_types)}.")

    def _receive(self, response: httpx.Response, said: Facts) -> None:
        limits = self._web.access.limits
        with self._path.open("ab" if self.received else "wb") as file:
            for piece in self._web.credentials.watched(_decoded(response, said.url)):
                if piece is None:
                    raise SourceError(said.url, "the answer repeats a secret of the request; it is not kept.")
                if self.received + len(piece) > limits.bytes:
                    raise SourceError(said.url, _too_large(None, limits.bytes))
                if time.monotonic() > self._end:
                    cause = f"it took longer than {limits.seconds:g} seconds (`limits.seconds`)."
                    raise SourceError(said.url, cause)
                file.write(piece)
                self.received += len(piece)


def _decoded(response: httpx.Response, url: str) -> Iterator[bytes]:
    """The bytes of an answer, unpacked in pieces of bounded size where the server packed them unasked."""
    match response.headers.get("content-encoding", "identity").strip().lower():
        case "identity" | "":
            yield from response.iter_raw()
        case "gzip" | "x-gzip" | "deflate":
            yield from _unpacked(response, url)
        case other:
            raise SourceError(url, f"its content encoding is {other}; gzip, deflate or none is expected.")


def _unpacked(response: httpx.Response, url: str) -> Iterator[bytes]:
    unpack = zlib.decompressobj(wbits=47)
    try:
        for packed in response.iter_raw():
            rest = packed
            while rest:
                yield unpack.decompress(rest, PIECE_BYTES)
                rest = unpack.unconsumed_tail
                if unpack.eof:
                    rest, unpack = (
                        unpack.unused_data,
                        zlib.decompressobj(wbits=47) if unpack.unused_data else unpack,
                    )
        while not unpack.eof and (piece := unpack.decompress(b"", PIECE_BYTES)):
            yield piece
    except zlib.error as error:
        raise SourceError(url, f"what it sends is not packed as it says ({error}).") from error
    if not unpack.eof:
        raise SourceUnreachable(url, "it ends before its packed content does")


def _is_of(found: str | None, expected: str) -> bool:
    kind, _, rest = expected.partition("/")
    return found == expected or (rest == "*" and (found or "").startswith(f"{kind}/"))


def _too_large(found: int | None, most: int) -> str:
    size = f"it has {found:,} bytes" if found else "it has more bytes than allowed"
    return f"{size}; at most {most:,} are (`limits.bytes`)."
