"""What an ingestion came to: a summary, and a page for each file that is new."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flows.ingest.archive import Archived, Change
from flows.ingest.errors import CategoriesFailedError, SourcesFailedError
from flows.ingest.names import page_key
from flows.ingest.outcome import Brought
from larder.report import Ended, Link, Page, Report, cell, files_table, folder_document, table

FRESH = (Change.NEW, Change.RETURNED)


class IngestReport(Report):
    """The document, lines and pages of a department's run, or of one category's."""

    def __init__(self) -> None:
        super().__init__(sections)

    def document(self, ended: Ended) -> dict[str, Any]:
        """The document that `--json` prints: beside the stages, each file, and each category that failed."""
        document = super().document(ended)
        made = [one.published for one in brought_in(ended) if one.published is not None]
        document["published"] = [folder_document(one) for one in made]
        document["files"] = [file_document(one) for one in archived_in(ended)]
        document["failed"] = failures(ended.error)
        return document

    def end(self, document: Mapping[str, Any]) -> Iterator[str]:
        """How many files are new, and which."""
        files = document["files"]
        fresh = [one for one in files if one["change"] in FRESH]
        for one in fresh:
            yield f"{one['change']}: {one['uri']} ({one['bytes']:,} bytes)"
        for folder in document["published"]:
            yield f"{folder['uri']}: {folder['publish']}"
        yield f"{len(files)} files archived, {len(fresh)} of them new or back"

    def key(self, ended: Ended) -> str:
        """One page for each department, and for each of its categories."""
        names = (ended.label(name) for name in ("department", "step", "category"))
        return page_key("ingest", *(name for name in names if name))

    def heading(self, ended: Ended) -> str:
        """What came, or what failed."""
        about = " ".join(filter(None, map(ended.label, ("department", "step", "category"))))
        files = archived_in(ended)
        fresh = sum(one.change in FRESH for one in files)
        said = f"{len(files)} files are archived, {fresh} of them new or back."
        if ended.error is not None:
            return f"# {about}: failed\n\n{said}\n\n{failed_table(ended.error)}"
        return f"# {about}: completed\n\n{said}"

    def further_pages(self, ended: Ended, link: Link) -> Iterable[Page]:
        """A page for each file that is new, by the run of its category."""
        if ended.label("category") is None:
            return
        for one in archived_in(ended):
            if one.change is Change.NEW:
                yield Page(file_key(one), f"New: {one.manifest.name}", file_page(one, link))


def file_key(archived: Archived) -> str:
    """What the UI calls the page of a file; each source's each content has its own."""
    manifest = archived.manifest
    return page_key("ingest", manifest.department, manifest.category, manifest.source, manifest.sha256)


def file_page(archived: Archived, link: Link) -> str:
    """All that a manifest says, for people."""
    manifest = archived.manifest
    above = archived.file.uri.rsplit("/", 1)[0]
    file, beside = link(f"{above}/{manifest.name}", manifest.name), link(f"{above}/manifest.json", "manifest")
    shown = manifest.model_dump(mode="json", exclude={"headers", "request", "schema_version"})
    rows = [(name, cell(value)) for name, value in shown.items() if value is not None]
    headers = [(cell(name), cell(value)) for name, value in manifest.headers.items()]
    return "\n\n".join(
        [
            f"# {cell(manifest.name)}",
            f"{file}, {beside}",
            table(("field", "value"), rows),
            "## Headers",
            table(("header", "value"), headers),
        ]
    )


def sections(ended: Ended, link: Link) -> Iterable[str]:
    """The files of a run, and what was made of them."""
    files = archived_in(ended)
    if files:
        rows = [
            (
                f"{one.manifest.category}/{one.manifest.source}",
                one.change,
                link(f"{one.file.uri.rsplit('/', 1)[0]}/{one.manifest.name}", one.manifest.name),
                f"{one.manifest.bytes:,}",
                f"`{one.manifest.sha256:.12}`",
                cell(one.manifest.source_url),
            )
            for one in files
        ]
        head = ("source", "change", "file", "bytes", "sha256", "from")
        yield "## Files\n\n" + table(head, rows)
    for one in brought_in(ended):
        if one.published is not None:
            yield files_table(one.published, link)


def archived_in(ended: Ended) -> list[Archived]:
    """The files that a run has archived, whatever became of the others."""
    return [archived for one in brought_in(ended) for archived in one.archived]


def brought_in(ended: Ended) -> Sequence[Brought]:
    """What the categories of a run came to, as far as they came."""
    match ended.value or ended.error:
        case Brought() as one:
            return [one]
        case list() as several:
            return [one for one in several if isinstance(one, Brought)]
        case SourcesFailedError() | CategoriesFailedError() as error:
            return [one for one in error.done if isinstance(one, Brought)]
        case _:
            return []


def failures(error: Exception | None) -> list[dict[str, str]]:
    """What failed, by category or source."""
    if not isinstance(error, SourcesFailedError | CategoriesFailedError):
        return []
    return [{"name": name, "message": str(one)} for name, one in error.failures.items()]


def failed_table(error: Exception) -> str:
    """What failed, for a page."""
    failed = failures(error)
    if not failed:
        return cell(error)
    return table(("failed", "why"), [(one["name"], cell(one["message"])) for one in failed])


def file_document(archived: Archived) -> dict[str, Any]:
    """One file of the document."""
    manifest = archived.manifest
    return {
        "category": manifest.category,
        "source": manifest.source,
        "change": archived.change,
        "name": manifest.name,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "uri": f"{archived.file.uri.rsplit('/', 1)[0]}/{manifest.name}",
    }
