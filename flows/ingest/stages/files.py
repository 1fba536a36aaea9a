"""Files: what a source says of one now, and its bytes."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from flows.ingest.credentials import Credentials, Secrets
from flows.ingest.download import Facts, look_at
from flows.ingest.download import download as download_file
from flows.ingest.robots import obeying, read_robots
from flows.ingest.schema import Access, FileSource, Request
from flows.ingest.web import Say, Web
from larder.artifacts import File, Output, Uncounted

Known = Callable[[Request], str | None]
"""The validator of the version of a source that the archive has; None where it has none that is whole."""


@dataclass(frozen=True)
class Visit:
    """Who asks, when, with which secrets, knowing what."""

    run: str
    at: datetime
    secrets: Secrets
    known: Known


class Seen(Output):
    """What a source said of itself in this run."""

    validator: str | None
    """ETag, or Last-Modified, of what is there now; None where the server says neither."""
    unchanged: bool
    """Whether that is what the archive has."""
    at: Annotated[datetime, Uncounted]
    """When it was asked."""
    run: Annotated[str, Uncounted]
    """Which run asked."""


class Received(Output):
    """What a source gave."""

    file: File
    name: str
    """Its name, made safe."""
    original_name: str
    url: str
    """Where it was found, after redirects, without secrets."""
    content_type: str | None
    validator: str | None
    """Of these bytes: another one than was announced, if they changed in between."""
    headers: Annotated[Mapping[str, str], Uncounted]
    """What the server said of it, without secrets."""
    run: Annotated[str, Uncounted]
    """Which run fetched it."""
    rows: int | None = None


def look(
    source: Request, *, access: Access, robots: Mapping[str, str] | None, visit: Visit, say: Say = print
) -> Seen:
    """Ask a source whether it still is what the archive has.

    Args:
        source: what is asked for
        access: where may be connected to
        robots: the text of each robots.txt that is obeyed, by its URL; None where none has to be
        visit: who asks, when, with which secrets, knowing what
        say: told of each try that failed
    """
    if not source.conditional:
        return Seen(validator=None, unchanged=False, at=visit.at, run=visit.run)
    validator = visit.known(source)
    with closing(web_of(source, access, robots, visit, say)) as web:
        facts = look_at(web, source, validator)
    now = validator if facts is None else facts.validator
    return Seen(validator=now, unchanged=now is not None and now == validator, at=visit.at, run=visit.run)


def download(  # noqa: PLR0913
    source: FileSource,
    announced: str | None,
    *,
    access: Access,
    robots: Mapping[str, str] | None,
    visit: Visit,
    say: Say = print,
    scratch: Path,
) -> Received:
    """Fetch the version of a file that its source announced, or what is there in its place by now.

    Args:
        source: what is asked for
        announced: the validator that the source gave; names this version in the key
        access, robots, visit, say: as for `look`
        scratch: where it goes
    """
    coming = scratch / "coming"
    with closing(web_of(source, access, robots, visit, say)) as web:
        facts = download_file(web, source, coming, source.content_types)
    if announced not in (None, facts.validator):
        say(f"{source.name} changed after it was looked at; the newer file is taken")
    name = source.called or facts.name
    return received(facts, coming.rename(scratch / name), name, visit)


def web_of(source: Request, access: Access, robots: Mapping[str, str] | None, visit: Visit, say: Say) -> Web:
    """The web as one source may use it."""
    web = Web(access, Credentials.of(source, visit.secrets), say)
    if robots is None:
        return web
    return Web(access, web.credentials, say, obeying(robots, lambda url: read_robots(web, url)))


def received(facts: Facts, file: Path, name: str, visit: Visit, rows: int | None = None) -> Received:
    """What a stage returns of a file that came."""
    return Received(
        file=file,
        name=name,
        original_name=facts.original_name,
        url=facts.url,
        content_type=facts.headers.get("content-type"),
        validator=facts.validator,
        headers=facts.headers,
        run=visit.run,
        rows=rows,
    )
