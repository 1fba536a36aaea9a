"""Runs whose process is gone end, whatever the moment at which it went; others are left alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed, Pending, Running, Scheduled, Submitting

from larder.keepers import FileKeeper
from stack import lost_runs
from stack.claims import Claims, all_files, folder
from stack.lost_runs import LostRuns

pytestmark = pytest.mark.usefixtures("quick")


@flow
def anything() -> None:
    """Never runs."""


@task
def something() -> None:
    """Never runs either."""


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as one:
        yield one


@pytest.fixture
def living() -> Iterator[subprocess.Popen[str]]:
    """A process that lives until the test ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def watcher(prefect_server: str, tmp_path: Path) -> LostRuns:
    """Looks for lost runs of a home of its own, and belongs to no worker."""
    return LostRuns(prefect_server, tmp_path)


def run_in(client: SyncPrefectClient, state: State) -> FlowRun:
    run = client.create_flow_run(anything)
    client.set_flow_run_state(run.id, state, force=True)
    return run


def state_of(client: SyncPrefectClient, run: FlowRun) -> str:
    found = client.read_flow_run(run.id).state
    assert found is not None
    return str(found.name)


def left_by_a_worker(home: Path, run: FlowRun, pid: int | None) -> None:
    """What a worker that was killed had written down."""
    claims = Claims(home, "gone")
    claims.claim(str(run.id))
    if pid is not None:
        claims.began(str(run.id), pid)
    claims.lock.close()


def ended_pid() -> int:
    """The id of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("state", "has_process", "becomes"),
    [
        (Scheduled(), False, "Scheduled"),
        (Pending(), False, "Crashed"),
        (Submitting(), False, "Crashed"),
        (Pending(), True, "Crashed"),
        (Running(), True, "Crashed"),
        (State(type=StateType.CANCELLING), True, "Cancelled"),
        (Completed(), True, "Completed"),
    ],
    ids=lambda value: value.name if isinstance(value, State) else None,
)
def test_a_run_that_a_killed_worker_had_taken(
    state: State,
    has_process: bool,
    becomes: str,
    client: SyncPrefectClient,
    watcher: LostRuns,
    tmp_path: Path,
) -> None:
    run = run_in(client, state)
    left_by_a_worker(tmp_path, run, ended_pid() if has_process else None)
    watcher.look()
    assert state_of(client, run) == becomes
    assert not list(all_files(folder(tmp_path)))


def test_a_run_whose_process_outlived_its_worker_goes_on(
    client: SyncPrefectClient, watcher: LostRuns, tmp_path: Path, living: subprocess.Popen[str]
) -> None:
    run = run_in(client, Running())
    left_by_a_worker(tmp_path, run, living.pid)
    watcher.look()
    assert state_of(client, run) == "Running"
    living.communicate("\n")
    watcher.look()
    assert state_of(client, run) == "Crashed"


def test_a_run_that_another_worker_took_since_is_left_to_it(
    client: SyncPrefectClient, watcher: LostRuns, tmp_path: Path
) -> None:
    run = run_in(client, Pending())
    left_by_a_worker(tmp_path, run, ended_pid())
    alive = Claims(tmp_path, "alive")
    alive.claim(str(run.id))
    watcher.look()
    assert state_of(client, run) == "Pending"
    assert list(all_files(folder(tmp_path))) == [alive.file]


def test_a_worker_sees_that_a_process_of_its_own_is_gone(
    client: SyncPrefectClient, prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, starting = run_in(client, Running()), run_in(client, Pending())
    own = Claims(tmp_path, "own")
    own.claim(str(starting.id))
    own.claim(str(run.id))
    own.began(str(run.id), ended_pid())
    looking = LostRuns(prefect_server, tmp_path, own)
    looking.look()
    assert state_of(client, run) == "Running", "Prefect's own worker is asked first"
    monkeypatch.setattr(lost_runs, "GRACE", -lost_runs.GRACE)
    looking.look()
    assert state_of(client, run) == "Crashed"
    assert state_of(client, starting) == "Pending"
    assert list(own.held()) == [str(starting.id)]


def test_a_run_without_a_worker_is_known_by_its_scratch_folder(
    client: SyncPrefectClient, watcher: LostRuns, tmp_path: Path
) -> None:
    lost, going_on = run_in(client, Running()), run_in(client, Running())
    for run in (lost, going_on):
        (tmp_path / "scratch" / str(run.id)).mkdir(parents=True)
    keeper = FileKeeper(tmp_path / "leases" / "scratch")
    keeper.take(str(going_on.id), "its process")
    watcher.look()
    assert state_of(client, lost) == "Crashed"
    assert state_of(client, going_on) == "Running"
    keeper.give(str(going_on.id), "its process")


def test_tasks_that_were_going_on_end_with_their_run(
    client: SyncPrefectClient, watcher: LostRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "GRACE", -lost_runs.GRACE)
    crashed, completed, going_on = (run_in(client, Running()) for _ in range(3))
    tasks = {
        run.id: client.create_task_run(
            something, run.id, dynamic_key=uuid4().hex, state=Running(), name="something"
        )
        for run in (crashed, completed, going_on)
    }
    client.set_flow_run_state(crashed.id, State(type=StateType.CRASHED), force=True)
    client.set_flow_run_state(completed.id, Completed(), force=True)
    watcher.look()

    def became(run: FlowRun) -> str:
        found = client.read_task_run(tasks[run.id].id).state
        assert found is not None
        return str(found.name)

    assert became(crashed) == "Crashed"
    assert became(going_on) == "Running"
    assert became(completed) in {"Completed", "Crashed"}


def test_old_metrics_that_nobody_collects_are_dropped(
    watcher: LostRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "KEPT_METRICS", 2)
    (tmp_path / "metrics").mkdir()
    for number in range(4):
        (tmp_path / "metrics" / f"{number}.json").write_text("[]")
    watcher.look()
    assert len(list((tmp_path / "metrics").iterdir())) == 2
