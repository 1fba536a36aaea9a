"""What a run came to: one JSON document for programs, lines and one Markdown page for people."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from larder.outcomes import Outcome, Step, title
from larder.published import PublishedFolder, published_in
from larder.refusal import RefusedError

UI_TYPE = "result"
"""The type of the one UI artifact that holds the document, for those who follow a run from outside."""
Link = Callable[[str, str], str]
"""From an object's URI and a short text to Markdown."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended, as far as a report tells of it."""

    pipeline: str
    flow_run_id: str | None
    labels: Mapping[str, object]
    steps: Sequence[Step]
    value: Any = None
    """What the pipeline's body returned."""
    error: Exception | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    """What stages returned, by title."""

    @property
    def state(self) -> str:
        """`completed`, `failed` or `refused`."""
        if isinstance(self.error, RefusedError):
            return "refused"
        return "failed" if self.error is not None else "completed"

    def label(self, name: str) -> str | None:
        """What the run is about."""
        value = self.labels.get(name)
        return None if value is None else str(value)


@dataclass(frozen=True)
class Page:
    """One more page in the UI, beside that of the run."""

    key: str
    """At most 255 lower-case letters, digits and dashes; the UI keeps the versions of one key together."""
    description: str
    text: str
    """Markdown."""


class Sections(Protocol):
    """Further sections of a pipeline's page."""

    def __call__(self, ended: Ended, link: Link) -> Iterable[str]:
        """Markdown, a section each."""


def no_sections(ended: Ended, link: Link) -> Iterable[str]:  # noqa: ARG001
    """None."""
    return ()


class Report:
    """How a pipeline says what a run came to. A pipeline with words of its own derives from it."""

    def __init__(self, sections: Sections = no_sections) -> None:
        self.sections = sections

    def document(self, ended: Ended) -> dict[str, Any]:
        """The document that `--json` prints."""
        done = ended.state == "completed"
        folders = published_in(ended.value) if done else ()
        return {
            "state": ended.state,
            "flow_run_id": ended.flow_run_id,
            "pipeline": ended.pipeline,
            "about": {name: str(value) for name, value in ended.labels.items()},
            "stages": [stage_document(step) for step in ended.steps],
            "published": [folder_document(folder) for folder in folders] if done else None,
            "error": error_document(ended.error) if ended.error else None,
        }

    def end(self, document: Mapping[str, Any]) -> Iterator[str]:
        """What the command says at the end of a run that completed."""
        for folder in document["published"]:
            size = sum(file["bytes"] for file in folder["files"])
            yield f"{folder['uri']}: {folder['publish']}, {len(folder['files'])} files, {size:,} bytes"
        if not document["published"]:
            yield f"{document['pipeline']}: completed"

    def nothing_to_do(self, document: Mapping[str, Any]) -> str:
        """What the command says where there was nothing to do."""
        return f"{document['pipeline']}: nothing to do"

    def key(self, ended: Ended) -> str:
        """What the UI calls the page, of lower-case letters, digits and dashes."""
        return ended.pipeline

    def page(self, ended: Ended, link: Link) -> str:
        """The page that the Prefect UI shows at the end of a run, in Markdown."""
        parts = [self.heading(ended), stages_table(ended.steps, link)]
        warned = [f"- {step.title}: {cell(one)}" for step in ended.steps for one in step.warnings]
        if warned:
            parts.append("## Warnings\n\n" + "\n".join(warned))
        parts += self.sections(ended, link)
        for folder in published_in(ended.value):
            parts.append(files_table(folder, link))
        return "\n\n".join(parts) + "\n"

    def further_pages(self, ended: Ended, link: Link) -> Iterable[Page]:  # noqa: ARG002
        """Pages beside that of the run: none, unless a pipeline has some."""
        return ()

    def heading(self, ended: Ended) -> str:
        """How the page begins."""
        if ended.error is not None:
            return f"# Failed\n\n{cell(ended.error)}"
        return f"# {ended.pipeline}: completed\n\n{saved(ended.steps)}"


def step_document(step: Step, label: str) -> dict[str, Any]:
    """One stage of the document; `label` is what its label is called there."""
    return {
        "stage": step.stage,
        label: step.label,
        "key": step.key,
        "outcome": step.outcome,
        "seconds": None if step.seconds is None else round(step.seconds, 3),
        "result": step.result,
        "reason": step.reason,
    }


def stage_document(step: Step) -> dict[str, Any]:
    """The same, for pipelines whose documents may grow: with its rows."""
    return {**step_document(step, "name"), "rows": step.rows}


def title_of(stage: Mapping[str, Any]) -> str:
    """The stage and its label, of a stage of a document."""
    return title(stage["stage"], stage.get("dataset") or stage.get("name"))


def folder_document(folder: PublishedFolder) -> dict[str, Any]:
    """One published folder of the document."""
    files = [
        {"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in folder.document.files
    ]
    return {"uri": folder.uri, "publish": folder.publish, "files": files}


def error_document(error: Exception) -> dict[str, Any]:
    """The error of the document."""
    return {
        "stage": getattr(error, "stage", None),
        "key": getattr(error, "key", None),
        "message": str(error) or type(error).__name__,
    }


def line(step: Step) -> str:
    """One line about a step as it begins, and one as it ends."""
    if step.outcome is None:
        return f"{step.title}: running ({step.reason})"
    return stage_line(step_document(step, "name"), step.warnings)


def stage_line(stage: Mapping[str, Any], warnings: Sequence[str] = ()) -> str:
    """One line about a stage of the document, and one for each warning of a stage that ran."""
    key = f" {stage['key'][:8]}" if stage["key"] else ""
    seconds = stage["seconds"]
    took = f" in {seconds:.1f} s" if seconds is not None and stage["outcome"] != Outcome.REUSED else ""
    because = f" ({stage['reason']})" if stage["reason"] else ""
    said = f"{title_of(stage)}: {stage['outcome'] or 'did not end'}{key}{took}{because}"
    if warnings and stage["outcome"] == Outcome.REUSED:
        return f"{said} ({len(warnings)} warning{'s' if len(warnings) > 1 else ''})"
    return "\n".join([said, *(f"  warning: {warning}" for warning in warnings)])


def saved(steps: Iterable[Step]) -> str:
    """How much time results that were there already have saved."""
    seconds = [step.saved_seconds for step in steps if step.saved_seconds is not None]
    if not seconds:
        return "Everything was made in this run."
    return f"{len(seconds)} stages were reused, which saved {sum(seconds):.1f} s of work."


def stages_table(steps: Iterable[Step], link: Link) -> str:
    """The stages of a page."""
    rows = [
        (
            step.title,
            step.outcome or "did not end",
            cell(step.error or step.reason or ""),
            "" if step.seconds is None else f"{step.seconds:.1f}",
            "" if step.rows is None else f"{step.rows:,}",
            "" if step.bytes is None else f"{step.bytes:,}",
            link(step.result, (step.key or "")[:8]) if step.result else "",
        )
        for step in steps
    ]
    return table(("stage", "outcome", "why", "seconds", "rows", "bytes", "result"), rows)


def files_table(folder: PublishedFolder, link: Link) -> str:
    """The files of a published folder, for a page."""
    above = folder.uri.rsplit("/", 1)[0]
    rows = [
        (link(f"{above}/{file.name}", file.name), f"{file.bytes:,}", f"`{file.sha256:.12}`")
        for file in folder.document.files
    ]
    head = f"## {folder.document.folder}: {folder.publish}\n\n{link(folder.uri, 'published.json')}"
    return f"{head}\n\n{table(('file', 'bytes', 'sha256'), rows)}"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(str(one) for one in line) + " |" for line in lines)


def cell(text: object) -> str:
    """Text that breaks no table and is taken for no markup."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def object_links(template: str | None) -> Link:
    """How a page names an object: a link where a template says to where, else its URI alone."""

    def link(uri: str, text: str) -> str:
        bucket, _, name = uri.removeprefix("s3://").partition("/")
        if template is None:
            return f"{text} `{uri}`"
        folder = quote(name.rpartition("/")[0], safe="")
        url = template.format(bucket=bucket, folder=folder, name=quote(name, safe=""))
        return f'[{text}]({url} "{uri}")'

    return link
