"""What a run came to: one JSON document for programs, one Markdown page for people."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO
from urllib.parse import quote

from flows.build.explain import Forecast, Will
from flows.build.options import title
from flows.build.publish import Published, Publishing
from flows.build.recipe.lock import Lock
from larder.refusal import RefusedError
from larder.run import Outcome, Run, Step

UI_TYPE = "result"
"""The type of the one UI artifact that holds the document, for those who follow a run from outside."""
Link = Callable[[str, str], str]
"""From an object's URI and a short text to Markdown."""
SHOWN_STAGES = ("plan", "load", "model", "command", "build", "package")


def document(  # noqa: PLR0913
    *,
    flow_run_id: str | None,
    product: str | None,
    version: str | None,
    recipe_hash: str | None,
    steps: Iterable[Step],
    published: Published | None,
    error: Exception | None,
) -> dict[str, Any]:
    """The document that `larder build --json` prints."""
    refused = isinstance(error, RefusedError)
    return {
        "state": "refused" if refused else "failed" if error or published is None else "completed",
        "flow_run_id": flow_run_id,
        "product": product,
        "version": version,
        "recipe_hash": recipe_hash,
        "stages": [_stage(step) for step in steps if step.stage in SHOWN_STAGES],
        "package": _package(published) if published and not error else None,
        "error": _error(error) if error else None,
    }


def of_run(run: Run, published: Published | None, error: Exception | None) -> dict[str, Any]:
    """The document of a run, as far as it came."""
    labels = {name: str(value) for name, value in run.labels.items()}
    return document(
        flow_run_id=run.id,
        product=labels.get("product"),
        version=labels.get("version"),
        recipe_hash=labels.get("recipe_hash"),
        steps=run.in_order,
        published=published,
        error=error,
    )


def refusal(error: Exception, product: str | None = None) -> dict[str, Any]:
    """The document of a build that never began."""
    return document(
        flow_run_id=None,
        product=product,
        version=None,
        recipe_hash=None,
        steps=(),
        published=None,
        error=error,
    )


def line(step: Step) -> str:
    """One line about a step as it begins, and one as it ends."""
    if step.outcome is None:
        return f"{step.title}: running ({step.reason})"
    return stage_line(_stage(step), step.warnings)


def title_of(stage: Mapping[str, Any]) -> str:
    """The stage and its label, of a stage of the document."""
    return title(stage["stage"], stage["dataset"])


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


def say_end(answer: Mapping[str, Any], out: TextIO, errors: TextIO) -> None:
    """Say what a build came to: the package, or what went wrong."""
    if answer["error"]:
        print(f"{answer['state'].capitalize()}: {answer['error']['message']}", file=errors)
        return
    package = answer["package"]
    size = sum(file["bytes"] for file in package["files"])
    print(
        f"{answer['product']} {answer['version']}: {package['publish']}, {len(package['files'])} files, "
        f"{size:,} bytes",
        file=out,
    )
    if package["publish"] == Publishing.KEPT:
        print("A real build published this version; a simulated one does not replace it.", file=out)
    print(f"Package: {package['uri']}", file=out)


def say_forecasts(forecasts: Sequence[Forecast], out: TextIO) -> None:
    """A line about each stage, and how many would run."""
    width = max(len(forecast.title) for forecast in forecasts)
    for forecast in forecasts:
        print(f"{forecast.title:<{width}}  {forecast.will:<7}  {forecast.reason}", file=out)
    times = Counter(forecast.will for forecast in forecasts)
    said = f"{times[Will.RUN]} would run, {times[Will.REUSE]} would be reused"
    unknown = f", {times[Will.UNKNOWN]} depend on what comes out" if times[Will.UNKNOWN] else ""
    print(f"{said}{unknown}.", file=out)


def _stage(step: Step) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "dataset": step.label,
        "key": step.key,
        "outcome": step.outcome,
        "seconds": None if step.seconds is None else round(step.seconds, 3),
        "result": step.result,
        "reason": step.reason,
    }


def _package(published: Published) -> dict[str, Any]:
    return {
        "uri": published.uri,
        "publish": published.publish,
        "files": [
            {"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in published.files
        ],
    }


def _error(error: Exception) -> dict[str, Any]:
    return {
        "stage": getattr(error, "stage", None),
        "key": getattr(error, "key", None),
        "message": str(error) or type(error).__name__,
    }


def markdown(
    steps: Iterable[Step], lock: Lock | None, published: Published | None, error: Exception | None, link: Link
) -> str:
    """The page that the Prefect UI shows at the end of a run."""
    steps = list(steps)
    parts = [_heading(published, error), _stages(steps, link)]
    if warned := [f"- {step.title}: {_cell(warning)}" for step in steps for warning in step.warnings]:
        parts.append("## Warnings\n\n" + "\n".join(warned))
    if lock is not None:
        parts.append(_versions(lock))
    if published is not None:
        parts.append(_files(published, link))
    return "\n\n".join(parts) + "\n"


def _heading(published: Published | None, error: Exception | None) -> str:
    if error is not None or published is None:
        return f"# Failed\n\n{_cell(error or 'The run did not come to its end.')}"
    name = f"{published.document.product} {published.document.version}"
    kind = "simulated package" if published.document.simulated else "package"
    said = {
        "published": f"The {kind} is new, or other than before.",
        "unchanged": f"The {kind} is what it was.",
        "repaired": f"The {kind} was damaged and is whole again.",
        "kept": "A real build published this version; a simulated one does not replace it.",
    }[published.publish]
    return f"# {name}: {published.publish}\n\n{said}"


def _stages(steps: Iterable[Step], link: Link) -> str:
    rows = [
        (
            step.title,
            step.outcome or "did not end",
            _cell(step.error or step.reason or ""),
            "" if step.seconds is None else f"{step.seconds:.1f}",
            "" if step.rows is None else f"{step.rows:,}",
            "" if step.bytes is None else f"{step.bytes:,}",
            link(step.result, (step.key or "")[:8]) if step.result else "",
        )
        for step in steps
    ]
    return _table(("stage", "outcome", "why", "seconds", "rows", "bytes", "result"), rows)


def _versions(lock: Lock) -> str:
    rows = [
        (entry.name, entry.dataset.id, entry.dataset.version, entry.dataset.file_type)
        for entry in lock.inputs
    ]
    return "## Versions\n\n" + _table(("input", "dataset", "version", "file type"), rows)


def _files(published: Published, link: Link) -> str:
    rows = [
        (
            link(published.uri.rsplit("/", 1)[0] + "/" + file.name, file.name),
            f"{file.bytes:,}",
            f"`{file.sha256:.12}`",
        )
        for file in published.files
    ]
    return f"## Package\n\n{link(published.uri, 'package.json')}\n\n" + _table(
        ("file", "bytes", "sha256"), rows
    )


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _cell(text: object) -> str:
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
