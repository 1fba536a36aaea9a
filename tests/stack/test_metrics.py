"""What the worker and Prefect's API tell Prometheus, read from the ports where they tell it."""

import os
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled
from prometheus_client.parser import text_string_to_metric_families

from larder import metrics
from larder.outcomes import listening
from larder.settings import Settings
from larder.stage import StageFailed
from stack import exporter
from stack.ports import HOST, free_ports
from tests.tiny import Executed, tiny

pytestmark = pytest.mark.usefixtures("quick")

Samples = Callable[..., float]


def scrape(port: int) -> Samples:
    """What stands at a port: asked by name and labels, the sum of the samples that have them."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=30) as response:
        text = response.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def asked(name: str, **labels: str) -> float:
        found = [one.value for one in samples if one.name == name and labels.items() <= one.labels.items()]
        assert found, f"no {name} {labels}"
        return sum(found)

    return asked


@pytest.fixture
def stages_port(stack: Settings, prefect_server: str) -> int:
    """Where the metrics of stages are served."""
    metrics.folder(stack).mkdir()
    return exporter.serve_metrics(prefect_server, None, metrics.folder(stack), 0)


def test_what_became_of_stages_is_counted(stages_port: int, stack: Settings, executed: Executed) -> None:
    tiny()
    first = scrape(stages_port)
    assert first("larder_stages_total", stage="draw", outcome="executed") == 0
    assert first("larder_stages_total") == 0
    tiny()
    second = scrape(stages_port)
    assert second("larder_stages_total", outcome="executed") == 3
    assert second("larder_stages_total", outcome="reused") == 0
    assert second("larder_stored_bytes_total") > 0
    assert second("larder_saved_seconds_total") == 0
    third = scrape(stages_port)
    assert third("larder_stages_total", outcome="executed") == 3
    assert third("larder_stages_total", outcome="reused") == 3
    assert third("larder_stored_bytes_total", outcome="reused") == 0
    assert third("larder_stored_bytes_total") == second("larder_stored_bytes_total")
    saved, spent = (
        third("larder_saved_seconds_total"),
        third("larder_stage_seconds_total", outcome="executed"),
    )
    assert 0 < saved <= spent
    assert not list(metrics.folder(stack).iterdir())


def test_a_failed_stage_is_counted(
    stages_port: int, stack: Settings, executed: Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_LOG", "/nowhere/at/all")
    with pytest.raises(StageFailed):
        tiny()
    scrape(stages_port)
    assert scrape(stages_port)("larder_stages_total", stage="draw", outcome="failed") == 1


def test_a_file_that_cannot_be_read_is_left_out(stages_port: int, stack: Settings) -> None:
    (metrics.folder(stack) / "broken.json").write_text("{")
    row = '[{"pipeline": "p", "product": "a", "stage": "load", "outcome": "reused", "seconds": 1, '
    row += '"saved_seconds": 3.5}]'
    (metrics.folder(stack) / "short.json").write_text(row)
    (metrics.folder(stack) / "whole.json").write_text(row.replace("3.5}", '3.5, "stored_bytes": 0}'))
    scrape(stages_port)
    assert scrape(stages_port)("larder_saved_seconds_total", product="a") == 3.5


def test_only_ordinary_files_are_read(stages_port: int, stack: Settings, tmp_path: Path) -> None:
    row = '[{"pipeline": "p", "product": "linked", "stage": "load", "outcome": "reused", "seconds": 1, '
    row += '"saved_seconds": 3, "stored_bytes": 0}]'
    (tmp_path / "elsewhere").write_text(row)
    (metrics.folder(stack) / "link.json").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(metrics.folder(stack) / "pipe.json")
    scrape(stages_port)
    with pytest.raises(AssertionError, match="no larder_stages_total"):
        scrape(stages_port)("larder_stages_total", product="linked")
    assert (tmp_path / "elsewhere").exists()


def test_nothing_is_left_where_nobody_collects_it(stack: Settings, executed: Executed) -> None:
    tiny()
    assert not metrics.folder(stack).exists()


def test_metrics_that_cannot_be_written_does_not_fail_the_run(stack: Settings, executed: Executed) -> None:
    metrics.folder(stack).symlink_to("/proc")
    with listening(lambda step: None) as audience:
        assert tiny().rows == 1
    assert [step.outcome for step in audience.runs[-1].outcomes.in_order] == ["executed"] * 3


@pytest.fixture
def exporter_port(prefect_server: str, tmp_path: Path) -> int:
    """Where the metrics of the tests' Prefect server are served."""
    port = exporter.serve_metrics(prefect_server, None, tmp_path, 0)
    scrape(port)
    return port


def test_runs_are_counted_by_the_state_in_which_they_end(exporter_port: int) -> None:
    name = f"flow-{uuid4().hex[:8]}"

    @flow(name=name)
    def fails_at(bad: int) -> None:
        for number in range(3):
            if number == bad:
                raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fails_at(0)
    scrape(exporter_port)
    fails_at(7)
    with pytest.raises(ValueError, match="bad"):
        fails_at(1)
    scrape(exporter_port)
    for _ in range(2):
        found = scrape(exporter_port)
        assert found("prefect_flow_run_seconds_count", pipeline=name, deployment="", state="FAILED") == 2
        assert found("prefect_flow_run_seconds_count", pipeline=name, deployment="", state="COMPLETED") == 1
        assert found("prefect_flow_run_seconds_count", pipeline=name, deployment="", state="CRASHED") == 0
    assert found("prefect_up") == 1
    assert found("prefect_task_runs", state="COMPLETED") >= 0


def test_a_queue_tells_how_much_waits_and_for_how_long(exporter_port: int) -> None:
    pool = f"pool-{uuid4().hex[:8]}"

    @flow(name=pool)
    def waits() -> None:
        """Never runs."""

    with get_client(sync_client=True) as client:
        client.request("POST", "/work_pools/", json={"name": pool, "type": "process"})
        flow_id = client.create_flow(waits)
        deployment = client.create_deployment(flow_id, "waits", work_pool_name=pool)
        before = scrape(exporter_port)
        assert before("prefect_queue_depth", work_pool=pool) == 0
        assert before("prefect_workers_online", work_pool=pool) == 0
        for minutes in (30, 10, -60):
            at = datetime.now(UTC) - timedelta(minutes=minutes)
            client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=at))
        client.request("POST", f"/work_pools/{pool}/workers/heartbeat", json={"name": "one"})
    after = scrape(exporter_port)
    assert after("prefect_queue_depth", work_pool=pool, work_queue="default") == 2
    assert 1800 <= after("prefect_queue_oldest_seconds", work_pool=pool) < 2400
    assert after("prefect_workers_online", work_pool=pool) == 1
    assert 0 <= after("prefect_worker_heartbeat_age_seconds", work_pool=pool, worker="one") < 60


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    port = exporter.serve_metrics(f"http://{HOST}:{free_ports(1)[0]}/api", "a:b", tmp_path, 0)
    assert scrape(port)("prefect_up") == 0
