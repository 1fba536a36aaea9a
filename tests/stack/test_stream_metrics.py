"""What runs of the stream writer leave is what Prometheus is told."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from flows.stream_writer import metrics
from flows.stream_writer.streams import Position
from flows.stream_writer.told import StreamTold, Told
from larder.settings import settings
from stack.stream_metrics import StreamRuns


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LARDER_HOME", str(tmp_path))
    return tmp_path / "metrics"


def leave(**counts: int) -> None:
    told = StreamTold(batches=1, left=Position(length=7, lag=counts.pop("lag", 3), pending=2), **counts)
    metrics.leave(settings(), "larder", Told(streams={"posts": told}))


def test_counters_rise_with_each_run_and_gauges_are_of_the_last(folder: Path) -> None:
    folder.mkdir()
    registry = CollectorRegistry()
    registry.register(StreamRuns(folder))
    labels = {"stream": "posts", "group": "larder"}
    leave(messages=10, written=9, quarantined=1, files=3, largest_batch=10)
    for _ in range(2):
        list(registry.collect())
    leave(messages=5, written=5, largest_batch=5, lag=0)
    for _ in range(2):
        list(registry.collect())
    values = {
        name: registry.get_sample_value(f"larder_stream_{name}", labels)
        for name in ("messages_total", "written_total", "quarantined_total", "lag", "pending")
    }
    assert values == {
        "messages_total": 15,
        "written_total": 14,
        "quarantined_total": 1,
        "lag": 0,
        "pending": 2,
    }
    assert registry.get_sample_value("larder_stream_largest_batch_bucket", {**labels, "le": "10"}) == 2
    assert not list(folder.iterdir())


def test_nothing_is_left_where_nobody_collects(folder: Path) -> None:
    leave(messages=1)
    assert not folder.exists()
    folder.mkdir()
    (folder / "half.new").write_text("")
    for number in range(metrics.MOST_FILES):
        (folder / f"{number}{metrics.SUFFIX}").touch()
    leave(messages=1)
    assert len(list(folder.iterdir())) == metrics.MOST_FILES + 1
