"""A reverse proxy before a store: it counts the calls, refuses chosen ones, and alters what is read."""

import http.client
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, NamedTuple
from urllib.parse import unquote, urlsplit

from stack.ports import HOST

PIECE = 2**16
NOT_FORWARDED = {"connection", "expect", "transfer-encoding", "keep-alive"}
PAGE = b"<html><body>Not <b>found<br></body>"


class Kind(StrEnum):
    """How a call is refused."""

    UNAVAILABLE = "503"
    BROKEN = "500"
    FORBIDDEN = "403"
    CHANGED = "412"
    """As if the object were another than the one that was asked for."""
    LOST = "404 in HTML"
    PAGE = "200 in HTML"
    CLOSED = "closed"
    """The store never sees the call."""
    TRUNCATED = "truncated"
    """The store did what was asked, and half of its answer arrives."""


PASSING_REFUSALS = (Kind.UNAVAILABLE, Kind.BROKEN, Kind.LOST, Kind.CLOSED, Kind.TRUNCATED)
"""What a store does that will answer again."""
REFUSALS = (Kind.FORBIDDEN, *PASSING_REFUSALS)
ANSWERS = {
    Kind.UNAVAILABLE: (503, "SlowDown"),
    Kind.BROKEN: (500, "InternalError"),
    Kind.FORBIDDEN: (403, "AccessDenied"),
    Kind.CHANGED: (412, "PreconditionFailed"),
    Kind.LOST: (404, None),
    Kind.PAGE: (200, None),
}


class Times(StrEnum):
    """How often a call is refused."""

    ONCE = "once"
    REPEATS = "repeats"
    """It, and every call of the same method and path."""
    EVER_AFTER = "ever after"


class Call(NamedTuple):
    """One call of the store."""

    method: str
    path: str
    """With the query."""


Rule = Callable[[list[Call]], Kind | None]
"""How the last of these calls, which are all since the proxy began to count, is refused."""


def allow(calls: list[Call]) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class Refusal:
    """A rule that refuses one call, counted from 1."""

    number: int
    kind: Kind
    times: Times = Times.ONCE

    def __call__(self, calls: list[Call]) -> Kind | None:
        if len(calls) < self.number:
            return None
        again = {
            Times.ONCE: len(calls) == self.number,
            Times.REPEATS: calls[-1] == calls[self.number - 1],
            Times.EVER_AFTER: True,
        }
        return self.kind if again[self.times] else None


@dataclass
class Proxy:
    """The store as a client of `url` sees it."""

    upstream: str
    url: str = ""
    rule: Rule = allow
    calls: list[Call] = field(default_factory=list)
    refused: list[Call] = field(default_factory=list)
    altered: Callable[[str], bool] = lambda path: False
    """Says of an object's path whether the first byte of what is read of it becomes another."""
    alterations: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, rule: Rule = allow) -> None:
        """Count anew."""
        with self.guard:
            self.calls, self.refused, self.rule = [], [], rule
            self.altered, self.alterations = lambda path: False, []

    def met(self, call: Call) -> Kind | None:
        """Count a call; how it is to be refused."""
        with self.guard:
            self.calls.append(call)
            kind = self.rule(self.calls)
            if kind:
                self.refused.append(call)
            return kind

    def alters(self, call: Call) -> bool:
        """Whether the answer to a call becomes another."""
        name = unquote(urlsplit(call.path).path)
        if call.method != "GET" or "?list-type" in call.path or not self.altered(name):
            return False
        self.alterations.append(name)
        return True


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A running proxy before the store at this URL."""
    proxy = Proxy(upstream)
    server = Server((HOST, 0), Handler)
    server.proxy = proxy
    proxy.url = f"http://{HOST}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield proxy
    server.shutdown()
    server.server_close()


class Server(ThreadingHTTPServer):
    """One thread for each connection; they die with the process."""

    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """Relays one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *arguments: object) -> None:
        """Silence."""

    def relay(self) -> None:
        """Refuse a call, or pass it on."""
        proxy, call = self.server.proxy, Call(self.command, self.path)
        kind = proxy.met(call)
        if kind is Kind.CLOSED:
            self.close_connection = True
        elif kind in ANSWERS:
            self.refuse(*ANSWERS[kind])
        else:
            target = urlsplit(proxy.upstream)
            upstream = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
            with closing(upstream):
                self.forward(upstream)
                self.answer(upstream.getresponse(), proxy.alters(call), truncate=kind is Kind.TRUNCATED)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815

    def refuse(self, status: int, code: str | None) -> None:
        """Answer in the store's place."""
        for _ in self.body():
            pass
        page = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else PAGE
        self.send_response(status)
        self.send_header("Content-Type", "application/xml" if code else "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    def forward(self, upstream: http.client.HTTPConnection) -> None:
        """Pass the call on as it is: its signature names the proxy's own host."""
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in NOT_FORWARDED:
                upstream.putheader(name, value)
        upstream.endheaders()
        for piece in self.body():
            upstream.send(piece)

    def body(self) -> Iterator[bytes]:
        """What the client sends."""
        left = int(self.headers.get("Content-Length") or 0)
        while left and (piece := self.rfile.read(min(left, PIECE))):
            left -= len(piece)
            yield piece

    def answer(self, answer: http.client.HTTPResponse, alters: bool, *, truncate: bool) -> None:
        """Pass the store's answer back."""
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in NOT_FORWARDED:
                self.send_header(name, value)
        content: IO[bytes] | http.client.HTTPResponse = answer
        size = answer.length or 0
        if answer.chunked:
            whole = answer.read()
            content, size = io.BytesIO(whole), len(whole)
            self.send_header("Content-Length", str(size))
        if truncate:
            self.close_connection = True
        if truncate and not size:
            self.wfile.write(b"HTTP/1.1 2")
            return
        self.end_headers()
        left = size // 2 if truncate else size
        while left and (piece := content.read(min(left, PIECE))):
            left -= len(piece)
            self.wfile.write(bytes([piece[0] ^ 1]) + piece[1:] if alters else piece)
            alters = False
