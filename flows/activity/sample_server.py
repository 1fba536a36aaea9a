"""A small API of made-up users and posts: paged, with ETag and Last-Modified, and it fails when told to.

`larder activity serve` serves it.
"""

import hashlib
import itertools
import json
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from flows.activity.samples import Row, made_up_posts, made_up_users

HOST, PORT = "127.0.0.1", 8423
USERS, POSTS = 12, 120
PAGE_RECORDS = 25
WEB_PAGE = b"<!DOCTYPE html>\n<html><body><h1>Please log in</h1></body></html>\n"


class Fault(StrEnum):
    """What is wrong with an answer."""

    UNAVAILABLE = "unavailable"
    """503, with no content."""
    TRUNCATED = "truncated"
    """Half of the JSON."""
    BROKEN_OFF = "broken-off"
    """Half of the JSON, where all of it is announced."""
    HTML = "html"
    """A web page in place of JSON."""
    ENDLESS_PAGES = "endless-pages"
    """Behind each page there is another one."""
    ENDLESS_CONTENT = "endless-content"
    """One page that does not end."""


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    announced_bytes: int | None = None
    """How long the content is said to be, where that is not how long it is."""
    endless: bool = False


@dataclass
class SampleApi:
    """What the API holds and how it answers. May be changed while it is served."""

    users: list[Row] = field(default_factory=lambda: made_up_users(USERS))
    posts: list[Row] = field(default_factory=lambda: made_up_posts(POSTS, USERS))
    etags: bool = True
    last_modified: datetime | None = datetime(2025, 1, 1, tzinfo=UTC)
    edition: int = 0
    """Counts in every ETag: another edition of the same content has other headers."""
    requests: list[tuple[str, int]] = field(default_factory=list)
    """Each request, and the status of its answer."""
    _faults: Iterator[Fault] = field(default_factory=lambda: iter(()))
    _faulty_path: str | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, fault: Fault, times: int | None = 1, path: str | None = None) -> None:
        """Give the next answers a fault.

        Args:
            times: how many answers; None for all from now on, 0 for none
            path: `/users` or `/posts`; None for both
        """
        with self._guard:
            self._faults = itertools.repeat(fault) if times is None else itertools.repeat(fault, times)
            self._faulty_path = path

    def reply(self, target: str, headers: Mapping[str, str]) -> Reply:
        """The answer to a request."""
        reply = self._reply(target, headers)
        self.requests.append((target, reply.status))
        return reply

    def _reply(self, target: str, headers: Mapping[str, str]) -> Reply:
        parts = urlsplit(target)
        rows = {"/users": self.users, "/posts": self.posts}.get(parts.path)
        if rows is None:
            return Reply(404)
        fault = self._next_fault(parts.path)
        match fault:
            case Fault.UNAVAILABLE:
                return Reply(503)
            case Fault.HTML:
                return Reply(200, {"Content-Type": "text/html"}, WEB_PAGE)
        page = self._page(rows, parts.path, dict(parse_qsl(parts.query)), headers, fault)
        half = page.content[: len(page.content) // 2]
        match fault:
            case Fault.TRUNCATED:
                return Reply(200, page.headers, half)
            case Fault.BROKEN_OFF:
                return Reply(200, page.headers, half, announced_bytes=len(page.content))
            case Fault.ENDLESS_CONTENT:
                return Reply(200, page.headers, endless=True)
        return Reply(304, page.headers) if self._is_known(headers, page.headers) else page

    def _page(
        self,
        rows: Sequence[Row],
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        fault: Fault | None,
    ) -> Reply:
        number, size = int(query.get("page", 1)), int(query.get("per_page", PAGE_RECORDS))
        content = json.dumps(rows[(number - 1) * size : number * size], indent=1).encode()
        given = {"Content-Type": "application/json"}
        if number * size < len(rows) or fault is Fault.ENDLESS_PAGES:
            after = urlencode({**query, "page": number + 1})
            given["Link"] = f'<http://{headers["Host"]}{path}?{after}>; rel="next"'
        if self.etags:
            counted = f"{self.edition} {given.get('Link')}".encode() + content
            given["ETag"] = f'"{hashlib.sha256(counted).hexdigest()[:20]}"'
        if self.last_modified:
            given["Last-Modified"] = format_datetime(self.last_modified, usegmt=True)
        return Reply(200, given, content)

    def _next_fault(self, path: str) -> Fault | None:
        with self._guard:
            return next(self._faults, None) if self._faulty_path in {None, path} else None

    def _is_known(self, asked: Mapping[str, str], given: Mapping[str, str]) -> bool:
        if known := asked.get("If-None-Match"):
            return known == given.get("ETag")
        since = asked.get("If-Modified-Since")
        return bool(since and self.last_modified and self.last_modified <= parsedate_to_datetime(since))


class Answering(BaseHTTPRequestHandler):
    """Answers as the server's API says, and says nothing else."""

    protocol_version = "HTTP/1.1"
    wbufsize = 2**16
    server: "SampleServer"

    def do_GET(self) -> None:
        """Answer one request."""
        reply = self.server.api.reply(self.path, dict(self.headers.items()))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 304 and not reply.endless:
            self.send_header("Content-Length", str(reply.announced_bytes or len(reply.content)))
        self.end_headers()
        self.close_connection = reply.endless or reply.announced_bytes is not None
        pieces: Iterable[bytes] = itertools.repeat(b" " * 2**16) if reply.endless else [reply.content]
        with suppress(OSError):
            for piece in pieces:
                self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SampleServer(ThreadingHTTPServer):
    """Serves one API."""

    daemon_threads = True

    def __init__(self, api: SampleApi, host: str, port: int) -> None:
        super().__init__((host, port), Answering)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go away, and all of what is wrong here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


@contextmanager
def serving(api: SampleApi, port: int = 0, host: str = HOST) -> Iterator[str]:
    """The URL under which an API is served, by threads of this process."""
    with SampleServer(api, host, port) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server.url
        finally:
            server.shutdown()


def serve(api: SampleApi, port: int = PORT, host: str = HOST) -> None:
    """Serve an API until this process is interrupted."""
    with SampleServer(api, host, port) as server, suppress(KeyboardInterrupt):
        print(f"Serving {server.url}/users and {server.url}/posts; end it with Ctrl-C.", flush=True)
        server.serve_forever()
