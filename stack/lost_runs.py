"""Ends the runs whose process is gone, which Prefect itself would show as running for ever.

Prefect hears of a run's end from its process, and of that one's end from the worker that started it. Where
both are killed, or a worker between taking a run and starting it, nobody is left to say so. So each worker
writes down what it takes (`stack.claims`), and what is left behind is looked for again and again: by each
worker, and in containers by a service of its own, which is there also while no worker is.

    python -m stack.lost_runs
"""

import logging
import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from larder.keepers import FileKeeper
from larder.settings import settings
from stack import claims, registration
from stack.claims import Claimed, Claims

LOOK_SECONDS = 5
GRACE = timedelta(seconds=15)
"""How long Prefect itself has to say what became of a process, and of the tasks of a run that ended."""
OPEN = ("PENDING", "RUNNING", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
WORKER_LABEL = "prefect.worker.name"
MOST = 200
KEPT_METRICS = 1000
"""How many runs' metrics wait for somebody to collect them."""
WATCHED = Path("/tmp/watched")  # noqa: S108
"""Touched after each look, for the health check."""

log = logging.getLogger(__name__)


@dataclass
class LostRuns:
    """Looks for runs whose process is gone."""

    api_url: str
    home: Path
    own: Claims | None = None
    """What the worker that looks has taken itself."""
    gone_since: dict[str, datetime] = field(default_factory=dict)
    seen_to: set[str] = field(default_factory=set)
    """Scratch folders whose run is known to have ended."""

    def watch(self, ended: threading.Event) -> None:
        """Look until the event comes. A server that does not answer is asked again."""
        while not ended.wait(LOOK_SECONDS):
            try:
                self.look()
                WATCHED.touch()
            except OSError as error:
                log.warning("Prefect's server does not answer, lost runs are looked for later: %s", error)

    def look(self) -> None:
        """See to all runs once.

        Raises:
            OSError: the server does not answer.
        """
        if self.own is not None:
            self._see_to_own_runs(self.own)
        for file in claims.all_files(self.folder):
            if self.own is None or file != self.own.file:
                with claims.left_behind(file) as is_left:
                    if is_left:
                        self._see_to_others_runs(file)
        self._see_to_runs_without_worker()
        self._see_to_tasks()
        self._drop_old_metrics()

    @property
    def folder(self) -> Path:
        """Where workers write down what they take."""
        return claims.folder(self.home)

    def _see_to_own_runs(self, own: Claims) -> None:
        for run_id, process in own.held().items():
            if process is None or process.is_alive or not self._is_long_gone(run_id):
                continue
            self._end(run_id, own)
            own.forget(run_id)
            del self.gone_since[run_id]

    def _see_to_others_runs(self, file: Path) -> None:
        left = claims.read(file)
        if left is None:
            claims.remove(file)
            return
        alive = {name: process for name, process in left.runs.items() if process and process.is_alive}
        for run_id in left.runs.keys() - alive.keys() - self._claimed_by_the_living(but=file):
            self._end(run_id, left)
        if alive:
            claims.write(file, Claimed(worker=left.worker, runs=alive))
        else:
            claims.remove(file)

    def _see_to_runs_without_worker(self) -> None:
        """Runs that somebody started in a process of his own leave a scratch folder that nobody holds."""
        keeper, holder = FileKeeper(self.home / "leases" / "scratch"), uuid4().hex
        for folder in self._scratch_folders() - self.seen_to:
            if not keeper.take(folder, holder):
                continue
            try:
                self._end_unclaimed(folder[:36])
                self.seen_to.add(folder)
            finally:
                keeper.give(folder, holder)

    def _scratch_folders(self) -> set[str]:
        scratch = self.home / "scratch"
        found = {one.name for one in scratch.iterdir()} if scratch.is_dir() else set()
        return {name for name in found if _is_run_id(name[:36])}

    def _end_unclaimed(self, run_id: str) -> None:
        run = registration.ask(self.api_url, "flow_runs/{}", run_id)
        if run is not None and run["state_type"] in OPEN and WORKER_LABEL not in run["labels"]:
            self._crash(run, "The process of this run was killed or ended. Run it again.")

    def _claimed_by_the_living(self, but: Path) -> set[str]:
        found = set(self.own.held()) if self.own else set()
        for file in claims.all_files(self.folder):
            if file == but:
                continue
            with claims.left_behind(file) as is_left:
                other = None if is_left else claims.read(file)
            found |= set(other.runs) if other else set()
        return found

    def _is_long_gone(self, run_id: str) -> bool:
        now = datetime.now(UTC)
        return now - self.gone_since.setdefault(run_id, now) > GRACE

    def _end(self, run_id: str, claimed: Claims | Claimed) -> None:
        """End a run whose process is gone, if it has not ended and no other worker has taken it since."""
        run = registration.ask(self.api_url, "flow_runs/{}", run_id)
        if run is None or run["state_type"] not in OPEN:
            return
        if run["labels"].get(WORKER_LABEL, claimed.worker) != claimed.worker:
            return
        happened = "was killed or ended" if claimed.runs.get(run_id) else "was never started"
        message = f"The process of this run on worker {claimed.worker} {happened}. Retry it, or run it again."
        self._crash(run, message)

    def _crash(self, run: dict[str, Any], message: str) -> None:
        state = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
        self._set_state("flow_runs/{}/set_state", run["id"], state, message)
        log.warning("Flow run %s (%s) is %s: %s", run["name"], run["id"], state.lower(), message)

    def _see_to_tasks(self) -> None:
        """End the task runs that were going on when their flow run ended."""
        before = datetime.now(UTC) - GRACE
        ended = {"state": {"type": {"any_": list(ENDED)}}, "end_time": {"before_": before.isoformat()}}
        going_on = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
        asked = {"task_runs": going_on, "flow_runs": ended, "limit": MOST}
        tasks = registration.ask(self.api_url, "task_runs/filter", body=asked) or []
        runs: dict[str, dict[str, Any]] = {}
        for task in tasks:
            run_id = task["flow_run_id"]
            if run_id not in runs:
                runs[run_id] = registration.ask(self.api_url, "flow_runs/{}", run_id) or {}
            self._set_state("task_runs/{}/set_state", task["id"], *_end_of_task(task, runs[run_id]))

    def _set_state(self, path: str, run_id: str, state: str, message: str) -> None:
        content = {"type": state, "name": state.capitalize(), "message": message}
        registration.ask(self.api_url, path, run_id, body={"state": content})

    def _drop_old_metrics(self) -> None:
        files = sorted((self.home / "metrics").glob("*.json"), key=lambda file: file.lstat().st_mtime)
        for file in files[:-KEPT_METRICS]:
            file.unlink(missing_ok=True)


def _end_of_task(task: dict[str, Any], run: dict[str, Any]) -> tuple[str, str]:
    last_attempt = task.get("flow_run_run_count") == run.get("run_count")
    if run.get("state_type") == "COMPLETED" and last_attempt:
        return "COMPLETED", "Its flow run completed; what it said of its own end was lost."
    return "CRASHED", "Its flow run, or its attempt, ended before it did."


def _is_run_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def main() -> None:
    """Looks until the process is ended."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    LostRuns(os.environ["PREFECT_API_URL"], settings().home).watch(threading.Event())


if __name__ == "__main__":
    main()
