"""What runs came to, stream by stream, left in a folder for the metrics of the worker that ran them."""

import logging
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter

from flows.stream_writer.told import Told
from larder import metrics
from larder.settings import Settings

log = logging.getLogger(__name__)


class Row(BaseModel):
    """What became of one stream in one run."""

    stream: str
    group: str
    batches: int
    messages: int
    written: int
    quarantined: int
    lost: int
    files: int
    trimmed: int
    largest_batch: int
    length: int
    pending: int
    lag: int | None


ROWS = TypeAdapter(list[Row])
SUFFIX = ".streams"
MOST_FILES = 1000
"""How many runs' figures wait for somebody to collect them."""


def leave(now: Settings, group: str, told: Told) -> None:
    """Write one file with what a run came to; none where nobody collects them."""
    collected = metrics.folder(now)
    if not collected.is_dir() or sum(1 for _ in collected.glob(f"*{SUFFIX}")) >= MOST_FILES:
        return
    rows = [
        Row(
            stream=name,
            group=group,
            lost=len(one.lost),
            **one.model_dump(exclude={"lost", "left"}),
            **one.left.model_dump(),
        )
        for name, one in told.streams.items()
        if one.left is not None
    ]
    written = collected / f"{uuid4().hex}.new"
    try:
        written.write_bytes(ROWS.dump_json(rows))
        written.rename(written.with_suffix(SUFFIX))
    except OSError as error:
        log.warning("What became of the streams is not counted in the metrics: %s", error)
