"""Files: which version a source says that it has, and its bytes."""

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from flows.ingest.credentials import Credentials, Secrets
from flows.ingest.download import Facts, look_at
from flows.ingest.download import download as download_file
from flows.ingest.errors import SourceError, SourceUnreachable
from flows.ingest.robots import obeying, read_robots
from flows.ingest.schema import Access, FileSource, Request
from flows.ingest.web import Say, Web
from larder.artifacts import File, Output, Uncounted

LOGGER = logging.getLogger(__name__)
TRIES_TO_LOOK = 2


@dataclass(frozen=True)
class Visit:
    """Who asks, when, and with which secrets."""

    run: str
    at: datetime
    secrets: Secrets


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
    """ETag, or Last-Modified, of these bytes."""
    announced: Annotated[str | None, Uncounted]
    """What the source said before; another one, if the file changed in between."""
    headers: Annotated[Mapping[str, str], Uncounted]
    """What the server said of it, without secrets."""
    run: Annotated[str, Uncounted]
    """Which run fetched it."""
    at: Annotated[datetime, Uncounted]
    """When it was asked for."""
    rows: int | None = None


def announced(
    source: Request, known: str | None, access: Access, robots: Mapping[str, str] | None, visit: Visit
) -> str | None:
    """Which version a source says that it has: its ETag, or Last-Modified. Nothing of it is fetched.

    None where it says neither, is not to be trusted, or does not answer: then it has to be fetched to know.

    Args:
        source: what is asked for
        known: the version that the archive has
        access: where may be connected to
        robots: the text of each robots.txt that is obeyed, by its URL; None where none has to be
        visit: who asks, when, and with which secrets
    """
    if not source.tells_its_version:
        return None
    few = access.model_copy(update={"limits": access.limits.model_copy(update={"tries": TRIES_TO_LOOK})})
    try:
        with closing(web_of(source, few, robots, visit, LOGGER.info)) as web:
            facts = look_at(web, source, known)
    except (SourceError, SourceUnreachable) as error:
        LOGGER.info("%s; it is asked for as a whole", error)
        return None
    return known if facts is None else facts.validator


def download(  # noqa: PLR0913
    source: FileSource,
    *,
    announced: str | None,
    access: Access,
    robots: Mapping[str, str] | None,
    visit: Visit,
    say: Say = print,
    scratch: Path,
) -> Received:
    """Fetch the version of a file that its source announced, or what is there in its place by now.

    Args:
        source: what is asked for
        announced: the version that the source says that it has; names it in the key
        access, robots, visit: as for `announced`
        say: told of each try that failed
        scratch: where it goes
    """
    coming = scratch / "coming"
    with closing(web_of(source, access, robots, visit, say)) as web:
        facts = download_file(web, source, coming, source.content_types)
    if announced not in (None, facts.validator):
        say(f"{source.name} changed after it was looked at; the newer file is taken")
    name = source.called or facts.name
    return received(facts, coming.rename(scratch / name), name, visit, announced)


def web_of(source: Request, access: Access, robots: Mapping[str, str] | None, visit: Visit, say: Say) -> Web:
    """The web as one source may use it."""
    web = Web(access, Credentials.of(source, visit.secrets), say)
    if robots is None:
        return web
    return Web(access, web.credentials, say, obeying(robots, lambda url: read_robots(web, url)))


def received(  # noqa: PLR0913, PLR0917
    facts: Facts, file: Path, name: str, visit: Visit, announced: str | None, rows: int | None = None
) -> Received:
    """What a stage returns of a file that came."""
    return Received(
        file=file,
        name=name,
        original_name=facts.original_name,
        url=facts.url,
        content_type=facts.headers.get("content-type"),
        validator=facts.validator,
        announced=announced,
        headers=facts.headers,
        run=visit.run,
        at=visit.at,
        rows=rows,
    )
