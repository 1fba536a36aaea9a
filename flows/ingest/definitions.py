"""The stages of an ingestion: their functions, what counts in their keys, and where their results lie."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from flows.ingest.archive import validator_of
from flows.ingest.manifest import folder_of, request_digest
from flows.ingest.schema import Access, ArchivedSource, Request
from flows.ingest.stages import analysis, apis, archived, files, pages, processing
from flows.ingest.stages.files import Visit
from flows.ingest.taking import DepartmentArchive
from larder.definition import Context, Definition

CATEGORY = "ingest/{department}/{category}"
FOLDER = f"{CATEGORY}/{{source.name}}"
HOW = frozenset({"access", "robots"})
"""Where may be connected to and how far a source may go; what comes is the same."""


UNCOUNTED = (
    "flows.ingest.credentials",
    "flows.ingest.errors",
    "flows.ingest.robots",
    "flows.ingest.safe_connection",
    "flows.ingest.schema",
    "flows.ingest.web",
)
"""How servers are reached and what a configuration may hold; what comes of it is the same."""


def visit_of(context: Context) -> Visit:
    """Who asks: this run, now, with the values in Secret blocks."""
    return Visit(context.run_id, datetime.now(UTC), secret)


def secret(name: str) -> str:
    """The value in a Secret block."""
    from larder.orchestration.secrets import read_secret

    return read_secret(name)


def announced_of(context: Context, arguments: Mapping[str, object]) -> str | None:
    """Which version a source says that it has, asked with the version that the archive has."""
    source, access = cast(Request, arguments["source"]), cast(Access, arguments["access"])
    robots = cast(Mapping[str, str] | None, arguments.get("robots"))
    folder = folder_of(str(context.labels["department"]), str(context.labels["category"]), source.name)
    known = validator_of(context.store, folder, request_digest(source))
    return files.announced(source, known, access, robots, visit_of(context))


def robots_of(context: Context, arguments: Mapping[str, object]) -> str:
    """What the robots.txt of a source's host says."""
    source, access = cast(Request, arguments["source"]), cast(Access, arguments["access"])
    return pages.robots_text(source, access, visit_of(context))


def archive_of(context: Context) -> DepartmentArchive:
    """What the run's department has brought in."""
    return DepartmentArchive(context.store, str(context.labels["department"]))


def latest_of(context: Context, arguments: Mapping[str, object]) -> str | None:
    """The digest of what a source last gave, or of what lies beside it."""
    source, beside = cast(ArchivedSource, arguments["source"]), cast(str | None, arguments["beside"])
    return archive_of(context).sha256(source, beside)


def unannounced(arguments: Mapping[str, object]) -> bool:
    """Whether a source does not say which version it has: then each run fetches it."""
    return arguments["announced"] is None


ROBOTS = Definition(
    stage="robots",
    function=pages.robots,
    folder=FOLDER,
    labelled=True,
    uncounted=UNCOUNTED,
    outside_key=HOW,
    seen={"text": robots_of},
)
DOWNLOAD = Definition(
    stage="download",
    function=files.download,
    folder=FOLDER,
    labelled=True,
    outside_key=HOW,
    seen={"announced": announced_of},
    supplied={"visit": visit_of},
    once_per_run=unannounced,
    uncounted=UNCOUNTED,
    libraries=("httpx",),
)
READ = Definition(
    stage="read",
    function=apis.read,
    folder=FOLDER,
    labelled=True,
    outside_key=HOW,
    seen={"announced": announced_of},
    supplied={"visit": visit_of},
    once_per_run=unannounced,
    uncounted=UNCOUNTED,
    libraries=("httpx",),
)
LINKS = Definition(stage="links", function=pages.links, folder=CATEGORY, labelled=True)
TAKE = Definition(
    stage="take",
    function=archived.take,
    folder=CATEGORY,
    labelled=True,
    seen={"sha256": latest_of},
    supplied={"archive": archive_of},
)
COUNT = Definition(stage="count", function=processing.count_links, folder=CATEGORY, labelled=True)
PROFILE = Definition(
    stage="profile", function=analysis.profile, folder=CATEGORY, labelled=True, libraries=("duckdb",)
)
