"""Ends the runs whose process is gone, which Prefect itself would show as running for ever.

Prefect hears of a run's end from its process, and of that one's end from the worker that started it. Where
both are killed, or a worker between taking a run and starting it, nobody is left to say so. So each worker
writes down what it takes (`stack.claims`), and looks after what a worker that is gone left behind.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from stack import claims, registration
from stack.claims import Claimed, Claims

LOOK_SECONDS = 5
HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 15
"""How long Prefect itself has to say what became of a process, and of the tasks of a run that ended."""
OPEN = ("PENDING", "RUNNING", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
MOST = 200
NEVER = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass
class LostRuns:
    """Looks, again and again, for runs whose process is gone."""

    api_url: str
    own: Claims
    gone_since: dict[str, datetime] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    """Of the own runs those whose engine sends heartbeats by itself."""
    flow_names: dict[str, str] = field(default_factory=dict)
    beat: datetime = NEVER

    def watch(self, ended: threading.Event) -> None:
        """Look until the event comes. A server that does not answer is asked again."""
        while not ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except OSError as error:
                log.warning("Prefect's server does not answer, lost runs are looked for later: %s", error)

    def look(self) -> None:
        """See to all runs once.

        Raises:
            OSError: the server does not answer.
        """
        self._see_to_own_runs()
        for file in claims.all_files(self.own.folder):
            if file != self.own.file:
                with claims.left_behind(file) as is_left:
                    if is_left:
                        self._see_to_others_runs(file)
        self._see_to_tasks()

    def _see_to_own_runs(self) -> None:
        held = self.own.held()
        if datetime.now(UTC) - self.beat > timedelta(seconds=HEARTBEAT_SECONDS):
            self.beat = datetime.now(UTC)
            self._send_heartbeats([name for name, process in held.items() if process and process.is_alive])
        for run_id, process in held.items():
            if process is None or process.is_alive or not self._is_long_gone(run_id):
                continue
            self._end(run_id, self.own)
            self.own.forget(run_id)
            self.running.discard(run_id)
            del self.gone_since[run_id]

    def _see_to_others_runs(self, file: Path) -> None:
        left = claims.read(file)
        if left is None:
            claims.remove(file)
            return
        alive = {name: process for name, process in left.runs.items() if process and process.is_alive}
        for run_id in left.runs.keys() - alive.keys() - self._claimed_by_the_living():
            self._end(run_id, left)
        if alive:
            claims.write(file, Claimed(worker=left.worker, runs=alive))
        else:
            claims.remove(file)

    def _claimed_by_the_living(self) -> set[str]:
        found = set(self.own.held())
        for file in claims.all_files(self.own.folder):
            with claims.left_behind(file) as is_left:
                other = None if is_left or file == self.own.file else claims.read(file)
            found |= set(other.runs) if other else set()
        return found

    def _is_long_gone(self, run_id: str) -> bool:
        now = datetime.now(UTC)
        return now - self.gone_since.setdefault(run_id, now) > timedelta(seconds=GRACE_SECONDS)

    def _end(self, run_id: str, claimed: Claims | Claimed) -> None:
        """End a run whose process is gone, if it has not ended and no other worker has taken it since."""
        run = registration.ask(self.api_url, "flow_runs/{}", run_id)
        if run is None or run["state_type"] not in OPEN:
            return
        if run["labels"].get("prefect.worker.name", claimed.worker) != claimed.worker:
            return
        started = claimed.runs.get(run_id) is not None
        happened = "was killed or ended" if started else "was never started"
        message = f"The process of this run on worker {claimed.worker} {happened}. Run it again, or retry it."
        state = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
        self._set_state("flow_runs/{}/set_state", run_id, state, message)
        log.warning("Flow run %s (%s) is %s: %s", run["name"], run_id, state.lower(), message)

    def _see_to_tasks(self) -> None:
        """End the task runs that were going on when their flow run ended."""
        before = datetime.now(UTC) - timedelta(seconds=GRACE_SECONDS)
        asked = {
            "task_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
            "flow_runs": {
                "state": {"type": {"any_": list(ENDED)}},
                "end_time": {"before_": before.isoformat()},
            },
            "limit": MOST,
        }
        for task in registration.ask(self.api_url, "task_runs/filter", body=asked) or ():
            self._set_state(
                "task_runs/{}/set_state",
                task["id"],
                "CRASHED",
                "Its flow run ended, or its attempt did, and nothing was heard of this task's end.",
            )

    def _set_state(self, path: str, run_id: str, state: str, message: str) -> None:
        content = {"type": state, "name": state.capitalize(), "message": message}
        registration.ask(self.api_url, path, run_id, body={"state": content})

    def _send_heartbeats(self, run_ids: list[str]) -> None:
        """Say of runs that are starting that they live; their engine does so itself once it runs."""
        events = [
            event for run_id in run_ids if run_id not in self.running for event in self._heartbeat(run_id)
        ]
        if events:
            registration.ask(self.api_url, "events", body=events)

    def _heartbeat(self, run_id: str) -> Iterator[dict[str, Any]]:
        run = registration.ask(self.api_url, "flow_runs/{}", run_id)
        if run is None or run["state_type"] != "PENDING":
            self.running.add(run_id)
            return
        flow_id = run["flow_id"]
        if flow_id not in self.flow_names:
            self.flow_names[flow_id] = registration.ask(self.api_url, "flows/{}", flow_id)["name"]
        yield {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {
                "prefect.resource.id": f"prefect.flow-run.{run_id}",
                "prefect.resource.name": run["name"],
            },
            "related": [
                {
                    "prefect.resource.id": f"prefect.flow.{flow_id}",
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": self.flow_names[flow_id],
                }
            ],
        }
