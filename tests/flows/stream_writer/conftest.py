"""Streams and a bucket for the runs of the pipeline."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.stream_writer.flow import CONFIGURATIONS
from larder.settings import Settings
from tests.flows.stream_writer.runs import Written
from tests.flows.stream_writer.world import World
from tests.services import Valkey


@pytest.fixture
def written(stack: Settings, valkey: Valkey, quick: None, monkeypatch: pytest.MonkeyPatch) -> Written:
    """One stream of its own, which nobody trims, and an empty bucket."""
    monkeypatch.setenv("LARDER_STREAMS_URL", valkey.url)
    shipped = CONFIGURATIONS.read("default")
    compaction = shipped.compaction.model_copy(update={"settled_minutes": 0, "keep_hours": 0})
    changes = {"streams": (f"s{uuid.uuid4().hex[:8]}_posts",), "trim": False, "compaction": compaction}
    return Written(valkey.url, shipped.model_copy(update=changes))


@pytest.fixture
def world(valkey: Valkey, tmp_path: Path) -> Iterator[World]:
    """A stream of its own, and an empty bucket in memory."""
    one = World(valkey.url, f"s{uuid.uuid4().hex}", tmp_path)
    yield one
    one.redis.delete(one.name)
