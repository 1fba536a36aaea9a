"""What a run shows in the Prefect UI: progress while inputs load, and a page at its end."""

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.actions import ArtifactCreate
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture

from flows.build import report
from flows.build.publish import Published
from flows.build.recipe.lock import Lock
from larder.run import Outcome, Run, current_run
from larder.orchestration import gather, run_client

PROGRESS_SECONDS = 1.0


def gather_shown(futures: Iterable[PrefectFuture[Any]]) -> list[Any]:
    """As `gather`, with a progress artifact while inputs are really loaded."""
    waiting, run = list(futures), current_run()
    shown: UUID | None = None
    for future in waiting:
        while not _ended(future):
            shown = _progress(run, len(waiting), shown)
    if shown:
        update_progress_artifact(shown, 100.0)
    return gather(waiting)


def _ended(future: PrefectFuture[Any]) -> bool:
    try:
        future.result(timeout=PROGRESS_SECONDS, raise_on_failure=False)
    except TimeoutError:
        return False
    return True


def _progress(run: Run, inputs: int, shown: UUID | None) -> UUID | None:
    loads = [step for step in run.in_order if step.stage == "load"]
    ended = sum(step.outcome is not None for step in loads)
    if shown is None and all(step.outcome is Outcome.REUSED for step in loads):
        return None
    percent, said = 100 * ended / inputs, f"{ended} of {inputs} inputs of {run.labels['product']} are there"
    if shown is None:
        key = _slug(f"{run.labels['product']}-load")
        return cast(UUID, create_progress_artifact(percent, key=key, description=said))
    update_progress_artifact(shown, percent, description=said)
    return shown


def show(run: Run, value: object, error: Exception | None) -> None:
    """Put the page about a run, and the document that followers read, beside the flow run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    client, flow_run = run_client(context), context.flow_run
    try:
        for artifact in _artifacts(run, value, error, for_followers=flow_run.deployment_id is not None):
            client.create_artifact(artifact.model_copy(update={"flow_run_id": flow_run.id}))
    except Exception:  # noqa: BLE001
        get_run_logger().log(logging.WARNING, "The run's page could not be put into the UI.", exc_info=True)


def _artifacts(
    run: Run, value: object, error: Exception | None, *, for_followers: bool
) -> Iterator[ArtifactCreate]:
    published = value if isinstance(value, Published) else None
    product, version = run.labels.get("product", "build"), run.labels.get("version", "")
    links = report.object_links(run.settings.object_url)
    yield ArtifactCreate(
        type="markdown",
        key=_slug(f"{product}-build"),
        description=f"{product} {version}".strip(),
        data=report.markdown(run.in_order, _lock(run), published, error, links),
    )
    if for_followers:
        said = "The same as JSON, for programs"
        warnings = {step.title: list(step.warnings) for step in run.in_order if step.warnings}
        document = {**report.of_run(run, published, error), **({"warnings": warnings} if warnings else {})}
        yield ArtifactCreate(type=report.UI_TYPE, description=said, data=document)


def _lock(run: Run) -> Lock | None:
    return next((found.value for found in run.found.values() if isinstance(found.value, Lock)), None)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
