"""What became of a run's stages, left in a folder for the metrics of the worker that ran it."""

import logging
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter

from larder.outcomes import Step
from larder.run import Run
from larder.settings import Settings

log = logging.getLogger(__name__)


class Row(BaseModel):
    """What became of one stage of one run."""

    pipeline: str
    product: str
    stage: str
    outcome: str
    seconds: float
    """That it took now."""
    saved_seconds: float
    """What a reused result took when it was made."""
    stored_bytes: int
    """Of the artifacts that it put into the bucket."""


ROWS = TypeAdapter(list[Row])


def folder(now: Settings) -> Path:
    """Where they are left, if somebody made it to collect them there."""
    return now.home / "metrics"


def leave(run: Run) -> None:
    """Write one file with what the run's stages came to; none where nobody collects them."""
    collected = folder(run.settings)
    if not collected.is_dir():
        return
    product = str(run.labels.get("product", ""))
    rows = [_row(run.pipeline, product, step) for step in run.outcomes.in_order if step.outcome is not None]
    written = collected / f"{uuid4().hex}.new"
    try:
        written.write_bytes(ROWS.dump_json(rows))
        written.rename(written.with_suffix(".json"))
    except OSError as error:
        log.warning("What became of the stages is not counted in the metrics: %s", error)


def _row(pipeline: str, product: str, step: Step) -> Row:
    return Row(
        pipeline=pipeline,
        product=product,
        stage=step.stage,
        outcome=str(step.outcome),
        seconds=step.seconds or 0,
        saved_seconds=step.saved_seconds or 0,
        stored_bytes=step.stored_bytes or 0,
    )
