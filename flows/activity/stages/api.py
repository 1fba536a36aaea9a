"""Questions to a web API: bounded in time and bytes, repeated where that can help."""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import Field

from larder.artifacts import Frozen

Say = Callable[[str], object]
Answer = TypeVar("Answer")

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses of a server that may answer in a moment."""
PIECE_BYTES = 2**16
LONGEST_CAUSE = 200


class Limits(Frozen):
    """How patiently an API is asked, and how much of it is taken."""

    retries: int = Field(3, ge=0, le=20)
    """How often a request is repeated that the API did not answer."""
    retry_delay_seconds: float = Field(5, ge=0, le=600, allow_inf_nan=False)
    """The pause before each repetition."""
    connect_seconds: float = Field(10, gt=0, le=600, allow_inf_nan=False)
    silence_seconds: float = Field(30, gt=0, le=3600, allow_inf_nan=False)
    """How long the API may say nothing within one answer."""
    source_seconds: float = Field(600, gt=0, le=86_400, allow_inf_nan=False)
    """How long all pages of one source may take."""
    source_pages: int = Field(1000, ge=1, le=100_000)
    source_bytes: int = Field(100 * 2**20, ge=1)
    """How large all pages of one source may be, unpacked."""


class Validators(Frozen):
    """What an API says of the version of a page."""

    etag: str | None = None
    last_modified: str | None = None

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified)

    @property
    def conditions(self) -> dict[str, str]:
        """The headers of a request that is answered only if the page is another one by now."""
        given = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in given.items() if value}

    def match(self, other: "Validators") -> bool:
        """Whether both name the same version: by the ETag where both have one."""
        if self.etag and other.etag:
            return self.etag.removeprefix("W/") == other.etag.removeprefix("W/")
        return bool(self) and self == other


class Head(Frozen):
    """What stands above the content of an answer."""

    validators: Validators
    next_url: str | None
    """Where the header `Link` says that the next page is."""
    unchanged: bool = False
    """Whether the API says that the page is what it was."""


class ApiError(ConnectionError):
    """An API did not give what was asked of it."""

    def __init__(self, *parts: object) -> None:
        super().__init__("an API did not give what was asked of it")
        self.parts = parts

    def __reduce__(self) -> tuple[type["ApiError"], tuple[object, ...]]:
        return type(self), self.parts


class UnreachableError(ApiError):
    """The API gave no answer that could be used, however often it was asked. Trying again later can help."""

    def __init__(self, source: str, url: str, cause: str, limits: Limits) -> None:
        super().__init__(source, url, cause, limits)
        self.source, self.url, self.cause, self.limits = source, url, cause, limits

    def __str__(self) -> str:
        times = f" (asked {self.limits.retries + 1} times, {self.limits.retry_delay_seconds:g} s apart)"
        asked = times if self.limits.retries else ""
        return f"Source {self.source}: {self.url} cannot be read{asked}: {self.cause}. Try again later."


class AnswerError(ApiError):
    """The API answered, and not with what was expected. Trying again does not help."""

    def __init__(self, source: str, url: str, found: str, expected: str) -> None:
        super().__init__(source, url, found, expected)
        self.source, self.url, self.found, self.expected = source, url, found, expected

    def __str__(self) -> str:
        return f"Source {self.source}: {self.url}: found {self.found}; expected {self.expected}."


class _TransientError(Exception):
    """No answer this time."""


@dataclass
class Api:
    """The API of one source, asked within its limits. Asks for nothing before it is asked."""

    source: str
    limits: Limits
    say: Say
    client: httpx.Client
    ends: float
    bytes_left: int = field(default=0)

    def look(self, url: str, known: Validators) -> Head:
        """What stands above a page's content, which is not read.

        Args:
            known: the version that is known; a page that still is that version is `unchanged`

        Raises:
            UnreachableError: the API did not answer.
            AnswerError: it refused.
        """
        return self._repeated(url, lambda: self._look(url, known))

    def fetch(self, url: str, to: Path) -> Head:
        """Write a page's content, byte for byte as it came, to the path `to`.

        Raises:
            UnreachableError: the API did not answer.
            AnswerError: it refused, or the source became larger or slower than its limits allow.
        """
        return self._repeated(url, lambda: self._fetch(url, to))

    def _look(self, url: str, known: Validators) -> Head:
        with self._answer(url, known) as response:
            head = _head(response)
        unchanged = response.status_code == httpx.codes.NOT_MODIFIED or known.match(head.validators)
        return head.model_copy(update={"unchanged": unchanged})

    def _fetch(self, url: str, to: Path) -> Head:
        left = self.bytes_left
        with self._answer(url, Validators()) as response, to.open("wb") as target:
            for piece in response.iter_bytes(PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    found = f"more than {self.limits.source_bytes:,} bytes in all pages of the source"
                    raise self._too_much(url, found, "source_bytes")
                if time.monotonic() > self.ends:
                    raise self._too_slow(url)
                target.write(piece)
            self.bytes_left = left
            return _head(response)

    @contextmanager
    def _answer(self, url: str, known: Validators) -> Iterator[httpx.Response]:
        """An answer of which nothing but its head was read."""
        try:
            with self.client.stream("GET", url, headers=known.conditions) as response:
                self._check(url, response)
                yield response
        except httpx.InvalidURL as error:
            raise AnswerError(self.source, url, f"no usable URL ({error})", "a URL") from error
        except httpx.RequestError as error:
            raise _TransientError(_cause(error)) from error

    def _check(self, url: str, response: httpx.Response) -> None:
        status = f"{response.status_code} {response.reason_phrase}".strip()
        if response.status_code in TRANSIENT:
            raise _TransientError(f"it answers {status}")
        if response.status_code in {httpx.codes.OK, httpx.codes.NOT_MODIFIED}:
            return
        if response.is_redirect:
            elsewhere = response.headers["location"]
            raise AnswerError(
                self.source,
                url,
                f"{status}, see {elsewhere}",
                "the page; write its new URL into the configuration",
            )
        raise AnswerError(self.source, url, status, "200 OK")

    def _repeated(self, url: str, question: Callable[[], Answer]) -> Answer:
        left = self.limits.retries
        while True:
            if time.monotonic() > self.ends:
                raise self._too_slow(url)
            try:
                return question()
            except _TransientError as error:
                if not left:
                    raise UnreachableError(self.source, url, str(error), self.limits) from error
                pause = min(self.limits.retry_delay_seconds, max(self.ends - time.monotonic(), 0))
                self.say(f"{self.source}: {url}: {error}; asked again in {pause:g} s ({left} more times)")
                time.sleep(pause)
                left -= 1

    def _too_slow(self, url: str) -> AnswerError:
        found = f"that the source takes longer than {self.limits.source_seconds:g} seconds"
        return self._too_much(url, found, "source_seconds")

    def _too_much(self, url: str, found: str, limit: str) -> AnswerError:
        return AnswerError(self.source, url, found, f"less; or a larger {limit} in the configuration")


@contextmanager
def opened(source: str, limits: Limits, say: Say) -> Iterator[Api]:
    """The API of one source; its time begins now."""
    times = httpx.Timeout(limits.silence_seconds, connect=limits.connect_seconds)
    headers = {"Accept": "application/json", "User-Agent": "larder"}
    ends = time.monotonic() + limits.source_seconds
    with httpx.Client(timeout=times, headers=headers, verify=_trusted()) as client:
        yield Api(source, limits, say, client, ends, limits.source_bytes)


@cache
def _trusted() -> ssl.SSLContext:
    """Whose certificates are believed; to read them takes longer than a request."""
    return httpx.create_ssl_context()


def _head(response: httpx.Response) -> Head:
    given = response.headers
    validators = Validators(etag=given.get("etag"), last_modified=given.get("last-modified"))
    return Head(validators=validators, next_url=response.links.get("next", {}).get("url"))


def _cause(error: httpx.RequestError) -> str:
    kinds = {
        httpx.ConnectError: "it cannot be connected to",
        httpx.TimeoutException: "it took too long to answer",
    }
    said = " ".join(str(error).split())[:LONGEST_CAUSE]
    kind = next((text for kind, text in kinds.items() if isinstance(error, kind)), "its answer broke off")
    return f"{kind} ({re.sub('[.]+$', '', said) or type(error).__name__})"
