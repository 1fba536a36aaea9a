"""The pipeline: of each source download → archive, for every category; then what is made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flows.ingest import definitions
from flows.ingest.archive import ARCHIVE, Archived
from flows.ingest.departments import DEPARTMENTS, chosen
from flows.ingest.errors import CategoriesFailedError, SourcesFailedError
from flows.ingest.manifest import Origin
from flows.ingest.outcome import Brought
from flows.ingest.report import IngestReport
from flows.ingest.schema import (
    Access,
    Apis,
    ArchivedSource,
    Category,
    CsvProfiles,
    Department,
    Files,
    LinkCounts,
    Pages,
    PageSource,
)
from flows.ingest.stages.files import Received
from flows.ingest.stages.pages import LINKS_NAME, Links, followed, html_of
from larder.action import action
from larder.forecast import EndsHereError
from larder.pipeline import pipeline
from larder.published import PUBLISH_FOLDER, PublishedFolder
from larder.refusal import RefusedError
from larder.stage import Pending, StageFailed, about, gather, stage

robots, links = stage(definitions.ROBOTS), stage(definitions.LINKS)
download, read, take = stage(definitions.DOWNLOAD), stage(definitions.READ), stage(definitions.TAKE)
count, profile = stage(definitions.COUNT), stage(definitions.PROFILE)
archive, publish = action(ARCHIVE), action(PUBLISH_FOLDER)


@dataclass(frozen=True)
class Coming:
    """One file on its way."""

    origin: Origin
    received: Pending[Received]
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Came:
    """What the sources of a category came to so far."""

    done: list[Archived] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)

    def archive_each(self, coming: Iterable[Coming]) -> None:
        """Archive each as soon as it is there; one that fails does not stop the others."""
        for one in list(coming):
            origin = one.origin
            try:
                self.done.append(archive(origin, one.received, one.beside, label=origin.label))
            except (StageFailed, RefusedError) as error:
                self.failed[origin.request.name] = error


@pipeline(name="ingest", report=IngestReport(), configurations=DEPARTMENTS)
def ingest(configuration: Department, category: str | None = None) -> list[Brought]:
    """Bring in what a department's sources give, and make of it what is configured.

    A category that fails does not stop the others.

    Args:
        configuration: the department, or its id
        category: the one category to run; all where None
    """
    about(department=configuration.id)
    done: list[Brought] = []
    failed: dict[str, Exception] = {}
    for step, name, part in chosen(configuration, category):
        try:
            done.append(run_category(configuration.id, step, name, part))
        except Exception as error:  # noqa: BLE001
            failed[name] = error
    raise_unless_empty(configuration.id, failed, done)
    return done


@pipeline(name="ingest-category", run_name="{department} {step} {name}", report=IngestReport())
def run_category(department: str, step: str, name: str, part: Category) -> Brought:
    """Bring in one category, or make what it makes of others.

    Args:
        department, step, name: whose category, and which
        part: its configuration
    """
    about(department=department, step=step, category=name)
    match part:
        case LinkCounts():
            return Brought(name, published=counted(department, step, name, part))
        case CsvProfiles():
            return Brought(name, published=profiled(department, step, name, part))
        case Files():
            came = files(department, name, part)
        case Apis():
            came = apis(department, name, part)
        case Pages():
            came = pages(department, name, part)
    if came.failed:
        count = len(came.done) + len(came.failed)
        raise SourcesFailedError(name, came.failed, count, [Brought(name, came.done)])
    return Brought(name, came.done)


def files(department: str, category: str, part: Files) -> Came:
    """Files, each fetched if it is not the one that the archive has."""
    came = Came()
    origins = [Origin(department=department, category=category, request=source) for source in part.sources]
    came.archive_each([coming(origin, part.access) for origin in origins])
    return came


def apis(department: str, category: str, part: Apis) -> Came:
    """APIs, each as one file."""
    came = Came()
    origins = [Origin(department=department, category=category, request=source) for source in part.sources]
    came.archive_each(
        [
            Coming(origin, read.submit(origin.request, access=part.access, label=origin.label))
            for origin in origins
        ]
    )
    return came


def pages(department: str, category: str, part: Pages) -> Came:
    """Web pages with their links, and then the files that are followed."""
    came = Came()
    asked = [
        (page, Origin(department=department, category=category, request=html_of(page)))
        for page in part.sources
    ]
    rules = {
        page.name: robots.submit(origin.request, access=part.access, label=origin.label).rules
        for page, origin in asked
    }
    html = {page.name: coming(origin, part.access, rules[page.name]) for page, origin in asked}
    found = {
        page.name: links.submit(
            html[page.name].received.file,
            html[page.name].received.url,
            html[page.name].received.content_type,
            page.follow,
            label=origin.label,
        )
        for page, origin in asked
    }
    came.archive_each(replace(html[name], beside={LINKS_NAME: found[name].file}) for name in html)
    for page in part.sources:
        if page.follow and page.name not in came.failed:
            origins = followed_origins(department, category, page, found[page.name].result())
            came.archive_each([coming(origin, part.access, rules[page.name]) for origin in origins])
    return came


def followed_origins(department: str, category: str, page: PageSource, leads: Links) -> list[Origin]:
    """The files that a page links to and that are brought in too."""
    return [
        Origin(
            department=department,
            category=category,
            request=followed(page, link),
            page_url=leads.url,
            link_title=link.title,
        )
        for link in leads.followed
    ]


def coming(origin: Origin, access: Access, rules: Any = None) -> Coming:
    """A file on its way."""
    fetched = download.submit(origin.request, access=access, robots=rules, label=origin.label)
    return Coming(origin, fetched)


def counted(department: str, step: str, name: str, part: LinkCounts) -> PublishedFolder:
    """How often archived pages link to each host."""
    taken = take.map(part.inputs, LINKS_NAME, label=[f"{name}/{one.label}" for one in part.inputs])
    counts = count([one.file for one in gather(taken)], label=name)
    return publish(
        f"{step}/{department}/{name}", {"link_counts.csv": counts.file}, made_of(part.inputs), label=name
    )


def profiled(department: str, step: str, name: str, part: CsvProfiles) -> PublishedFolder:
    """What the columns of archived CSV files hold."""
    labels = [f"{name}/{one.label}" for one in part.inputs]
    taken = gather(take.map(part.inputs, None, label=labels))
    profiles = gather(profile.map([one.file for one in taken], label=labels))
    tables = {
        f"{one.category}.{one.source}.csv": made.file for one, made in zip(part.inputs, profiles, strict=True)
    }
    return publish(f"{step}/{department}/{name}", tables, made_of(part.inputs), label=name)


def made_of(inputs: Sequence[ArchivedSource]) -> dict[str, Any]:
    """What a published document says of where it comes from."""
    return {"inputs": [one.label for one in inputs]}


def raise_unless_empty(department: str, failed: Mapping[str, Exception], done: Sequence[Brought]) -> None:
    """Say what failed. A forecast that could not look into what is not there yet has not failed."""
    for error in failed.values():
        if isinstance(error, EndsHereError):
            raise error
    if failed:
        raise CategoriesFailedError(department, failed, len(done) + len(failed), done)
