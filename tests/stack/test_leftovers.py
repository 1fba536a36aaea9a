"""The tests themselves leave nothing running, however they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from larder.settings import CHECKOUT
from stack.daemon import start_time
from tests.processes import CONTEXT

ENOUGH_SECONDS = 500


def eventually(said: str, happens: Callable[[], bool]) -> None:
    """Wait until something happens."""
    until = time.monotonic() + ENOUGH_SECONDS
    while not happens():
        assert time.monotonic() < until, said
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running(number: signal.Signals, tmp_path: Path) -> None:
    written = tmp_path / "pids"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LARDER_", "PREFECT_"))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n0",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/stack/left_running.py",
    ]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env={**kept, "LARDER_TEST_PIDS": str(written)}, stdout=subprocess.DEVNULL
    ) as tests:
        eventually("servers", lambda: written.exists() or tests.poll() is not None)
        servers = [(pid, start_time(pid)) for pid in map(int, written.read_text().split()[1:])]
        tests.send_signal(number)
    assert all(started for _, started in servers)
    for pid, started in servers:
        eventually(f"the end of {pid}", lambda pid=pid, started=started: start_time(pid) != started)  # type: ignore[misc]


def threads_of_parent(told: Callable[[int], None]) -> None:
    """Tell how many threads the process has that was forked."""
    told(len(list(Path(f"/proc/{os.getppid()}/task").iterdir())))


def test_the_process_that_is_forked_has_one_thread() -> None:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=threads_of_parent, args=(theirs.send,))
    process.start()
    assert ours.recv() == 1
    process.join()
