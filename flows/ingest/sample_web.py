"""A small web of made-up files, an API and pages, which can be told to misbehave.

    larder ingest serve

serves it. `POST /tell` with `{"path": "/files/branches.csv", "status": 503, "times": 2}` tells it what to do
with the next requests of a path; the fields are those of `Told`. `{"path": …, "change": true}` changes it.
"""

import gzip
import hashlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import Field, ValidationError

from larder.artifacts import Frozen

HOST = "127.0.0.1"
PORT = 8350
RECORDS = 25
PAGE_RECORDS = 10
FIRST_MODIFIED = 1_704_067_200
"""Seconds since 1970 at which all files were first written: the first of January 2024."""


class Told(Frozen):
    """What happens to the next requests of a path, in place of its ordinary answer or to it."""

    path: str
    times: int = Field(1, ge=1)
    status: int | None = None
    """Answered with this status and no content."""
    retry_after: str | None = None
    location: str | None = None
    """Redirected there."""
    cut_after: int | None = Field(None, ge=0)
    """The connection ends after so many bytes of what was asked for."""
    stall_seconds: float | None = Field(None, ge=0, le=600)
    """Nothing is sent for so long, after the headers and the bytes before `cut_after`."""
    headers: dict[str, str | None] = {}
    """Sent too; null for a header that is left out."""
    body: str | None = None
    """Sent in place of the content."""
    bomb_bytes: int | None = Field(None, ge=1)
    """So many zeros, packed."""
    change_first: bool = False
    """The file changes before it is answered with."""


class SampleWeb(http.server.ThreadingHTTPServer):
    """The server. `changes` counts how often each path changed, `log` what was asked for."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__((HOST, port), _Answers)
        self.changes: dict[str, int] = {}
        self.log: list[tuple[str, dict[str, str]]] = []
        self._told: list[Told] = []
        self._lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def tell(self, path: str, **what: Any) -> None:
        """Say what happens to the next requests of a path."""
        told = Told(path=path, **what)
        with self._lock:
            self._told += [told] * told.times

    def change(self, path: str) -> None:
        """Give a path other content."""
        with self._lock:
            self.changes[path] = self.changes.get(path, 0) + 1

    def reset(self) -> None:
        """Make it what it was at first."""
        with self._lock:
            self.changes.clear()
            self.log.clear()
            self._told.clear()

    def next_told(self, path: str) -> Told | None:
        """What was said of the next request of a path; it is then done."""
        with self._lock:
            found = next((told for told in self._told if told.path == path), None)
            if found:
                self._told.remove(found)
            return found

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(urlsplit(target).path == path for target, _ in self.log)


@contextmanager
def serving(port: int = 0) -> Iterator[SampleWeb]:
    """The sample web, answering until the block ends."""
    with SampleWeb(port) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            web.released.set()
            web.shutdown()


def content_of(path: str, query: dict[str, str], changes: int, url: str) -> tuple[bytes, str] | None:
    """The content of a path after so many changes, and its content type; None where there is none."""
    match path.strip("/").split("/"):
        case ["files", name] if name.endswith(".csv"):
            return _branches(changes).encode(), "text/csv; charset=utf-8"
        case ["files", name]:
            return (f"{name} {changes}\n" * 20_000).encode(), "application/octet-stream"
        case ["api", style]:
            return _api_page(style, query, changes, url)
        case ["pages", name]:
            return _page(name, changes).encode(), "text/html; charset=utf-8"
        case ["robots.txt"]:
            return b"User-agent: *\nDisallow: /private/\nDisallow: /pages/closed\n", "text/plain"
        case _:
            return None


def _branches(changes: int) -> str:
    lines = [
        f"{number},Branch {number},{number * 37 % 1000},2026-01-{number % 28 + 1:02}" for number in range(40)
    ]
    more = [f"{100 + number},New branch {number},,2026-02-01" for number in range(changes)]
    return "\n".join(["id,name,visitors,opened", *lines, *more]) + "\n"


def _api_page(style: str, query: dict[str, str], changes: int, url: str) -> tuple[bytes, str] | None:
    start = int(query.get("offset") or query.get("cursor") or 0)
    size = int(query.get("limit") or PAGE_RECORDS)
    records = [
        {"id": number, "title": f"Book {number}", "price": 1.10} for number in range(RECORDS + changes)
    ]
    shown, end = records[start : start + size], start + size
    more = end if end < len(records) else None
    document: Any
    match style:
        case "whole":
            document = {"books": records}
        case "link_header" | "offset":
            document = shown
        case "next_field":
            document = {"books": shown, "next": f"{url}/api/next_field?offset={more}" if more else None}
        case "cursor":
            document = {"meta": {"cursor": more and str(more)}, "books": shown}
        case _:
            return None
    text = json.dumps(document, indent=1).replace('"price": 1.1', '"price": 1.10')
    return text.encode(), "application/json"


def _page(name: str, changes: int) -> str:
    return f"""<!DOCTYPE html>
<html><head><title>{name.title()} of the library, {changes}</title></head><body>
<p>Our <a href="/files/branches.csv">branches</a>, our <a href="../files/report {name}.csv">report</a>,
<a href="visit">how to visit</a>, <a href="visit#bus">by bus</a>, <a href="#top">up</a>,
<a href="mailto:books@example.org">write</a>, <a href="https://example.org/partners">partners</a>.</p>
</body></html>
"""


class _Answers(http.server.BaseHTTPRequestHandler):
    server: SampleWeb
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Take what is told."""
        try:
            told = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if told.keys() == {"path", "change"}:
                self.server.change(told["path"])
            else:
                self.server.tell(**told)
            self._send(HTTPStatus.NO_CONTENT, b"")
        except (ValueError, TypeError, AttributeError, ValidationError) as error:
            self._send(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())

    def do_GET(self) -> None:
        """Answer with what a path holds, or with what was told."""
        self.server.log.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
        parts = urlsplit(self.path)
        told = self.server.next_told(parts.path) or Told(path=parts.path)
        if told.change_first:
            self.server.change(parts.path)
        if told.status is not None or told.location is not None:
            extra = {"Location": told.location, "Retry-After": told.retry_after}
            self._send(told.status or HTTPStatus.FOUND, b"", extra | told.headers)
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        changes = self.server.changes.get(parts.path, 0)
        found = content_of(parts.path, query, changes, self.server.url)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, b"")
            return
        self._answer(told, *found, changes, query)

    def _answer(self, told: Told, content: bytes, kind: str, changes: int, query: dict[str, str]) -> None:
        if told.body is not None:
            content = told.body.encode()
        headers: dict[str, str | None] = {"Content-Type": kind, **self._named(query)}
        if told.bomb_bytes is not None:
            content, headers["Content-Encoding"] = gzip.compress(bytes(told.bomb_bytes)), "gzip"
        headers |= {
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
            "Last-Modified": formatdate(FIRST_MODIFIED + 60 * changes, usegmt=True),
            "Accept-Ranges": "bytes",
            **self._link(query, changes),
            **told.headers,
        }
        status, content = self._chosen(content, headers)
        self._send(status, content, headers, told)

    def _named(self, query: dict[str, str]) -> dict[str, str | None]:
        """`?as=NAME` names a file by Content-Disposition, in both spellings where it is not plain."""
        if "as" not in query:
            return {}
        name = query["as"]
        starred = "" if name.isascii() else f"; filename*=UTF-8''{quote(name)}"
        plain = name.encode("ascii", "replace").decode().replace('"', '\\"')
        return {"Content-Disposition": f'attachment; filename="{plain}"{starred}'}

    def _link(self, query: dict[str, str], changes: int) -> dict[str, str | None]:
        end = int(query.get("offset") or 0) + PAGE_RECORDS
        if not self.path.startswith("/api/link_header") or end >= RECORDS + changes:
            return {}
        return {"Link": f'</api/link_header?offset={end}>; rel="next"'}

    def _chosen(self, content: bytes, headers: dict[str, str | None]) -> tuple[int, bytes]:
        """All of the content, nothing if it did not change, or the range that is asked for."""
        etag, modified = headers.get("ETag"), headers.get("Last-Modified")
        asked = self.headers
        if (etag and asked.get("If-None-Match") == etag) or (
            modified and asked.get("If-Modified-Since") == modified
        ):
            return HTTPStatus.NOT_MODIFIED, b""
        wanted, condition = asked.get("Range", ""), asked.get("If-Range")
        if not wanted.startswith("bytes=") or headers.get("Accept-Ranges") is None:
            return HTTPStatus.OK, content
        if condition not in (None, etag, modified):
            return HTTPStatus.OK, content
        first = int(wanted.removeprefix("bytes=").partition("-")[0])
        if first >= len(content):
            return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b""
        headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return HTTPStatus.PARTIAL_CONTENT, content[first:]

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str | None] | None = None,
        told: Told | None = None,
    ) -> None:
        self.send_response(status)
        for name, text in (headers or {}).items():
            if text is not None:
                self.send_header(name, text)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        end = told.cut_after if told and told.cut_after is not None else len(content)
        self.wfile.write(content[:end])
        self.wfile.flush()
        if told and told.stall_seconds is not None:
            self.server.released.wait(told.stall_seconds)
        if end < len(content) or (told and told.stall_seconds is not None):
            self.close_connection = True


def serve(port: int = PORT) -> None:
    """Serve the sample web until it is interrupted."""
    with serving(port) as web, suppress(KeyboardInterrupt):
        print(f"The sample web answers at {web.url}; POST {web.url}/tell tells it what to do.", flush=True)
        threading.Event().wait()
