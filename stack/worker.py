"""The place where builds run: Prefect's process worker, which writes down the runs that it takes.

python -m stack.worker NAME [--health]
"""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskStatus
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from larder.settings import SettingsError, settings
from stack.claims import Claims
from stack.lost_runs import LostRuns
from stack.servers import POOL

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

RUN_BYTES = 256 * 2**20
"""What a run takes before its data: the interpreter with all that is imported."""
MEMORY_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
RUNS_VARIABLE = "LARDER_WORKER_RUNS"


class Worker(ProcessWorker):
    """Prefect's process worker, which claims a run before it takes it and notes the process of it."""

    def __init__(self, claims: Claims, **options: Any) -> None:
        super().__init__(**options)
        self.claims = claims

    @classmethod
    def __dispatch_key__(cls) -> str:
        return "larder-process"

    async def _submit_run(self, flow_run: "FlowRun") -> None:
        """Take a run. Interrupted, the claim stays: nobody else knows that the run was taken."""
        self.claims.claim(str(flow_run.id))
        await super()._submit_run(flow_run)
        self.claims.forget(str(flow_run.id), unless_begun=True)

    async def run(
        self,
        flow_run: "FlowRun",
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Start a run's process, wait for its end, and note both."""
        noted = _Noted(self.claims, str(flow_run.id), task_status)
        return await super().run(flow_run, configuration, noted)


class _Noted:
    """Notes the process id that Prefect is told, then tells it."""

    def __init__(self, claims: Claims, run_id: str, told: TaskStatus[int] | None) -> None:
        self.claims, self.run_id, self.told = claims, run_id, told

    def started(self, value: int | None = None) -> None:
        """Note it."""
        if value is not None:
            self.claims.began(self.run_id, value)
        if self.told is not None:
            self.told.started(value)  # type: ignore[arg-type]


def most_runs() -> int:
    """How many runs a worker takes at once: as many as half of its memory holds, or as it was told.

    Raises:
        SettingsError: it was told no number.
    """
    given = os.environ.get(RUNS_VARIABLE, "").strip()
    if not given:
        return max(1, memory_bytes() // 2 // RUN_BYTES)
    if not given.isdigit() or int(given) == 0:
        raise SettingsError(RUNS_VARIABLE, f"found {given!r}, expected a number from 1 on")
    return int(given)


def memory_bytes() -> int:
    """What the container may use, or what the machine has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in MEMORY_FILES:
        with contextlib.suppress(OSError, ValueError):
            return min(machine, int(file.read_text()))
    return machine


def main() -> None:
    """Is the worker until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.worker")
    parser.add_argument("name", nargs="?", default=socket.gethostname(), help="of the worker")
    parser.add_argument("--health", action="store_true", help="answer at port 8080 whether it polls")
    asked = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")
    home = settings().home
    claims = Claims(home, asked.name)
    ended = threading.Event()
    lost = LostRuns(os.environ["PREFECT_API_URL"], home, claims)
    threading.Thread(target=lost.watch, args=(ended,), daemon=True, name="lost runs").start()
    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    worker = Worker(claims, work_pool_name=POOL, name=asked.name, limit=most_runs())
    print(f"Takes {most_runs()} runs at once.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(worker.start(with_healthcheck=asked.health))
    ended.set()


if __name__ == "__main__":
    main()
