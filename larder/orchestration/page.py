"""What a run shows in the Prefect UI: progress while stages are mapped, and a page at its end."""

import logging
import re
from collections.abc import Iterator
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.context import FlowRunContext

from larder.outcomes import title
from larder.pipeline import Pipeline
from larder.report import UI_TYPE, Ended, object_links
from larder.run import Run


def show(pipeline: Pipeline[..., Any], run: Run, value: Any, error: Exception | None) -> None:
    """Put the page about a run, and the document that followers read, beside the flow run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not isinstance(context.client, SyncPrefectClient):
        return
    try:
        for artifact in _artifacts(pipeline, run, value, error):
            context.client.create_artifact(artifact.model_copy(update={"flow_run_id": context.flow_run.id}))
    except Exception:  # noqa: BLE001
        get_run_logger().log(logging.WARNING, "The run's page could not be put into the UI.", exc_info=True)


def ended_run(run: Run, value: Any, error: Exception | None) -> Ended:
    """A run, as reports tell of it."""
    values = {
        title(persisted.result.stage, persisted.result.name): persisted.value
        for persisted in run.known.by_digest.values()
    }
    steps = run.outcomes.in_order
    return Ended(run.pipeline, run.info.id, dict(run.labels), steps, value, error, values)


def _artifacts(
    pipeline: Pipeline[..., Any], run: Run, value: Any, error: Exception | None
) -> Iterator[ArtifactCreate]:
    ended, link = ended_run(run, value, error), object_links(run.settings.object_url)
    report = pipeline.report
    yield ArtifactCreate(
        type="markdown",
        key=slug(report.key(ended)),
        description=f"{pipeline.name} {ended.state}",
        data=report.page(ended, link),
    )
    for page in report.further_pages(ended, link):
        yield ArtifactCreate(type="markdown", key=page.key, description=page.description, data=page.text)
    warnings = {step.title: list(step.warnings) for step in ended.steps if step.warnings}
    document = {**report.document(ended), **({"warnings": warnings} if warnings else {})}
    yield ArtifactCreate(type=UI_TYPE, description="The same as JSON, for programs", data=document)


def slug(text: str) -> str:
    """Text as a key of the UI: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
