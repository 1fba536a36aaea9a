"""Asks servers: redirects are followed within the boundary, credentials stay with the host they are for."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from flows.ingest.credentials import Credentials
from flows.ingest.errors import ForbiddenError, SourceError, SourceUnreachable
from flows.ingest.page_links import DEFAULT_PORTS
from flows.ingest.safe_connection import Boundary, client
from flows.ingest.schema import Access, Request

Answer = TypeVar("Answer")
Say = Callable[[str], None]

MOST_REDIRECTS = 10
MOST_PAUSE_SECONDS = 60.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_MODIFIED = 304
RANGE_NOT_SATISFIABLE = 416
USEFUL = frozenset({NOT_MODIFIED, RANGE_NOT_SATISFIABLE})
"""Statuses that answer a condition or a range."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that a server may take back."""


@dataclass(frozen=True)
class Web:
    """All that lies within one category's boundary."""

    access: Access
    credentials: Credentials = field(default_factory=Credentials)
    say: Say = print
    permit: Callable[[str], None] = field(default=lambda _url: None)
    """Called with each URL before it is asked for; raises ForbiddenError where robots.txt forbids it."""
    boundary: Boundary | None = None
    certificates: ssl.SSLContext | None = None

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    @contextmanager
    def answer(
        self, request: Request, headers: Mapping[str, str] | None = None, url: str | None = None
    ) -> Iterator[httpx.Response]:
        """The answer to a request, its body not yet read. A redirect is followed, a failure raised.

        Args:
            request: what is asked for; its secrets go to the host of its own URL alone
            headers: sent too
            url: asked for in place of the request's URL, as the next page of an API

        Raises:
            ForbiddenError: if a host, an address or robots.txt does not allow it.
            SourceError: if the server says no.
            SourceUnreachable: if it fails, or does not answer.
        """
        target = self._with_parameters(request, url or request.url)
        visited = {target}
        while True:
            own = self.credentials.filled(request.headers) if keeps_secrets(request.url, target) else {}
            with self._asked(target, {**(headers or {}), **own}) as response:
                location = response.headers.get("location") if response.status_code in REDIRECTS else None
                if location is None:
                    self._require_success(response)
                    yield response
                    return
            target = self._redirected(request, target, location)
            if target in visited or len(visited) > MOST_REDIRECTS:
                found = (
                    "redirects in a loop" if target in visited else f"more than {MOST_REDIRECTS} redirects"
                )
                raise SourceError(self.shown(request.url), f"the server answers with {found}.")
            visited.add(target)

    def patiently(self, ask: Callable[[], Answer]) -> Answer:
        """What `ask` returns, asked again where a server failed, each time after a longer pause."""
        limits = self.access.limits
        for number in range(1, limits.tries + 1):
            try:
                return ask()
            except SourceUnreachable as error:
                if number == limits.tries:
                    raise
                self.pause(error, number)
        raise AssertionError("There is at least one try.")

    def pause(self, error: SourceUnreachable, number: int) -> None:
        """Say what failed at try `number`, and wait before the next one."""
        asked = error.retry_after_seconds or 0
        seconds = min(MOST_PAUSE_SECONDS, max(asked, self.access.limits.pause_seconds * 2 ** (number - 1)))
        self.say(f"{error}; try {number + 1} of {self.access.limits.tries} in {seconds:g} s")
        time.sleep(seconds)

    def shown(self, url: str) -> str:
        """A URL as people may read it."""
        return self.credentials.hide(url)

    @contextmanager
    def _asked(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        self._boundary.require_host(urlsplit(url).hostname or "", self.shown(url))
        self.permit(url)
        try:
            with self._client.stream("GET", url, headers=dict(headers)) as response:
                self._client.cookies.clear()
                yield response
        except ForbiddenError as error:
            raise ForbiddenError(self.shown(url), error.cause) from error
        except httpx.TimeoutException as error:
            raise SourceUnreachable(self.shown(url), f"nothing came for {_limit(error, self)}") from error
        except (httpx.HTTPError, ssl.SSLError) as error:
            cause = self.credentials.hide(str(error) or type(error).__name__)
            raise SourceUnreachable(self.shown(url), cause) from error
        except httpx.InvalidURL as error:
            raise SourceError(self.shown(url), f"it is no URL ({error}).") from error

    @cached_property
    def _boundary(self) -> Boundary:
        return self.boundary or Boundary.of(self.access)

    @cached_property
    def _client(self) -> httpx.Client:
        return client(self._boundary, self.access.limits.answer_seconds, self.certificates)

    def _with_parameters(self, request: Request, url: str) -> str:
        """A URL of the same host with the request's parameters; those that it has already count."""
        if not request.parameters or not keeps_secrets(request.url, url):
            return url
        whole = httpx.URL(url)
        missing = {
            name: value
            for name, value in self.credentials.filled(request.parameters).items()
            if name not in whole.params
        }
        return str(whole.copy_merge_params(missing))

    def _redirected(self, request: Request, url: str, location: str) -> str:
        try:
            target = urljoin(url, location).partition("#")[0]
            parts = urlsplit(target)
            parts.port  # noqa: B018
        except ValueError as error:
            raise SourceError(self.shown(url), f"it redirects to {location!r}, which is no URL.") from error
        place = f"it redirects to {self.shown(target)}"
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
            raise ForbiddenError(
                self.shown(url), f"{place}; only http and https without a login are followed."
            )
        if urlsplit(url).scheme == "https" and parts.scheme == "http":
            raise ForbiddenError(
                self.shown(url), f"{place}, from https to http, where anybody can read along."
            )
        if not keeps_secrets(request.url, target) and self.credentials.stands_in(target):
            raise ForbiddenError(self.shown(url), f"{place}, which would send a credential to another host.")
        return target

    def _require_success(self, response: httpx.Response) -> None:
        status, url = response.status_code, self.shown(str(response.url))
        said = f"the server says {status} {response.reason_phrase}".rstrip()
        if status in PASSING:
            raise SourceUnreachable(url, said, _retry_after_seconds(response.headers.get("retry-after")))
        if (
            status != NOT_MODIFIED
            and not response.is_success
            and status != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
        ):
            raise SourceError(url, f"{said}. Check its URL, parameters and secrets.")


def keeps_secrets(own: str, target: str) -> bool:
    """Whether what is meant for one URL's host may be sent to another URL: same host, port and scheme.

    From http to https on their usual ports is the same host too.
    """
    one, other = _origin(own), _origin(target)
    upgraded = one[0] == other[0] and one[1:] == ("http", 80) and other[1:] == ("https", 443)
    return one == other or upgraded


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return (parts.hostname or "").lower(), parts.scheme, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def _limit(error: httpx.TimeoutException, web: Web) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "too long while it was connected to"
    return f"{web.access.limits.answer_seconds:g} seconds"


def _retry_after_seconds(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
