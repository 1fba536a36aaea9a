"""Runs through the deployment, and follows the run to its end."""

import time
from dataclasses import dataclass, field, replace
from typing import Any, TextIO
from uuid import uuid4

import httpx
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from cli.asked import Asked, foresee
from cli.exits import errors_of_the_world
from cli.server import Server, ServerMissing
from larder import report
from larder.connection import open_store
from larder.forecast import Entry
from larder.outcomes import Outcome, Step
from larder.parameters import plain
from larder.refusal import RefusedError
from larder.report import Ended
from larder.settings import settings

POLL_SECONDS = 0.5
LONG_WAIT_SECONDS = 5.0
"""A wait that lasts longer than this is said."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LONG_SECONDS = 1.0
"""A stage that takes longer than this is said to run."""
SHOWN_ROWS = 24
PAGE = 200
STATES = {"Completed": "executed", "Cached": "reused", "Pending": "waiting"}


def run_on_worker(asked: Asked, out: TextIO) -> dict[str, Any]:
    """Run a pipeline on a worker, with a live view of the stages; the document that says what it came to.

    Raises:
        ServerMissing: there is no server, it has no deployment, or it lost the run.
    """
    server = Server()
    name = asked.pipeline.deployment_name
    deployment = server.ask(f"deployments/name/{name}")
    if deployment is None:
        raise ServerMissing(f"The Prefect server has no deployment {name}. Run ./setup.sh, which makes it.")
    run_id = _create_run(server, deployment["id"], asked.options)
    print(f"Prefect UI: {server.run_page(run_id)}", file=out, flush=True)
    try:
        run = Following(server, run_id, Console(file=out, highlight=False)).to_its_end()
    except KeyboardInterrupt:
        print("The run goes on without being followed; the UI shows it.", file=out)
        raise
    answer = _report(server, run_id) or from_the_bucket(asked, run, out) or _without_report(run, asked)
    warnings = answer.pop("warnings", {})
    for stage in answer["stages"]:
        print(report.stage_line(stage, warnings.get(report.title_of(stage), ())), file=out)
    return answer


def _create_run(server: Server, deployment_id: str, options: dict[str, Any]) -> str:
    asked = {"parameters": plain(options), "idempotency_key": uuid4().hex}
    try:
        return str(server.ask(f"deployments/{deployment_id}/create_flow_run", asked)["id"])
    except httpx.HTTPError as error:
        raise ServerMissing(f"The Prefect server at {server.url} did not take the run: {error}.") from error


@dataclass
class Following:
    """One run, looked at until it ends."""

    server: Server
    run_id: str
    console: Console
    said: set[str] = field(default_factory=set)
    """Long tasks, and what was waited for, that were said already."""
    answered: float = field(default_factory=time.monotonic)
    changed: float = field(default_factory=time.monotonic)
    waiting_for: str = ""

    def to_its_end(self) -> dict[str, Any]:
        """Show the run until it has ended; the run.

        Raises:
            ServerMissing: the server does not answer any more, or the run is gone.
        """
        with Live(console=self.console, transient=True, refresh_per_second=4) as live:
            while True:
                try:
                    run, tasks = self._read()
                    if run["state"] and run["state"]["type"] in ENDED:
                        return run
                    self._show(run, tasks, live)
                except httpx.HTTPError as error:
                    self._wait_for_the_server(error, live)
                time.sleep(POLL_SECONDS)

    def _read(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        run: dict[str, Any] | None = self.server.ask(f"flow_runs/{self.run_id}")
        if run is None:
            raise ServerMissing(
                f"Run {self.run_id} was deleted while it was followed. What it finished is kept; run again."
            )
        tasks = _tasks(self.server, self.run_id)
        self.answered = time.monotonic()
        return run, tasks

    def _wait_for_the_server(self, error: httpx.HTTPError, live: Live) -> None:
        silent = time.monotonic() - self.answered
        if silent > settings().store_seconds:
            raise ServerMissing(
                f"The server at {self.server.url} has not answered for {silent:.0f} s: {error}. The run may "
                "go on."
            ) from error
        self._say(f"the server does not answer ({_cause(error)}); the run goes on", live)

    def _show(self, run: dict[str, Any], tasks: list[dict[str, Any]], live: Live) -> None:
        at_work = any(task["state_type"] == "RUNNING" for task in tasks)
        self._say("" if at_work else waits_for(self.server, run), live, tasks)
        if not self.console.is_terminal:
            _say_long_ones(tasks, self.said, self.console)

    def _say(self, text: str, live: Live, tasks: list[dict[str, Any]] | None = None) -> None:
        """Say what is waited for: at once where somebody watches, else once it lasts."""
        now = time.monotonic()
        if text != self.waiting_for:
            self.waiting_for, self.changed = text, now
        if self.console.is_terminal:
            live.update(_view(tasks or [], text))
        elif text and now - self.changed > LONG_WAIT_SECONDS and text not in self.said:
            self.said.add(text)
            self.console.print(f"waiting: {text}", markup=False)


def waits_for(server: Server, run: dict[str, Any]) -> str:
    """What a run in which no stage is at work waits for, in a few words."""
    match run["state"]["type"] if run["state"] else "SCHEDULED":
        case "PENDING":
            worker = run["labels"].get("prefect.worker.name")
            return f"worker {worker} starts its process" if worker else "a worker takes it"
        case "RUNNING":
            return "the next stage begins"
        case "SCHEDULED":
            return _waits_for_a_worker(server, run)
        case other:
            return f"it is {other.lower()}"


def _waits_for_a_worker(server: Server, run: dict[str, Any]) -> str:
    pool = run["work_pool_name"]
    workers = server.ask(f"work_pools/{pool}/workers/filter", {}) or []
    if not any(worker["status"] == "ONLINE" for worker in workers):
        return f"no worker of work pool {pool} is online (see ./setup.sh doctor)"
    going_on = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
    return f"a worker with room for it; {server.ask('flow_runs/count', going_on)} runs are going on"


def _cause(error: httpx.HTTPError) -> str:
    return str(error.response.status_code) if isinstance(error, httpx.HTTPStatusError) else str(error)


def _tasks(server: Server, run_id: str) -> list[dict[str, Any]]:
    asked = {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": PAGE}
    tasks: list[dict[str, Any]] = []
    while page := server.ask("task_runs/filter", {**asked, "offset": len(tasks)}):
        tasks += page
        if len(page) < PAGE:
            break
    return tasks


def _say_long_ones(tasks: list[dict[str, Any]], said: set[str], console: Console) -> None:
    for task in tasks:
        long = task["estimated_run_time"] > LONG_SECONDS
        if long and task["state_type"] == "RUNNING" and task["id"] not in said:
            said.add(task["id"])
            console.print(f"{task['name']}: running")


def _view(tasks: list[dict[str, Any]], waiting_for: str) -> Table:
    table = Table(box=None, show_header=False)
    busy = [task for task in tasks if task["state_type"] == "RUNNING"]
    ended = [task for task in tasks if task["state_name"] in STATES or task["state_type"] == "FAILED"]
    for task in [*ended[-SHOWN_ROWS:], *busy][-SHOWN_ROWS:]:
        state = STATES.get(task["state_name"], task["state_name"].lower())
        table.add_row(task["name"], state, f"{task['estimated_run_time']:.1f} s")
    if len(tasks) > SHOWN_ROWS:
        table.add_row(f"[dim]{len(ended)} of {len(tasks)} have ended[/dim]")
    if waiting_for:
        table.add_row(f"[dim]waiting: {escape(waiting_for)}[/dim]")
    return table


def _report(server: Server, run_id: str) -> dict[str, Any] | None:
    asked = {
        "artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": [report.UI_TYPE]}},
        "sort": "CREATED_DESC",
        "limit": 1,
    }
    found = server.ask("artifacts/filter", asked)
    if not found:
        return None
    answer: dict[str, Any] = found[0]["data"]
    return answer


def from_the_bucket(asked: Asked, run: dict[str, Any], out: TextIO) -> dict[str, Any] | None:
    """What a run came to that could not tell the server: if all that was asked for is there, it completed."""
    if asked.how.force or asked.how.fail_at:
        return None
    try:
        foreseen = foresee(asked)
    except RefusedError:
        return None
    except errors_of_the_world():
        return None
    if not foreseen.nothing_to_do:
        return None
    if run["state"]["type"] != "COMPLETED":
        said = f"The server says {run['state_name']}, but all that the run was to make is in the bucket."
        print(said, file=out)
    stages = [entry for entry in foreseen.entries if not entry.is_action]
    shown = zip(foreseen.steps(open_store(settings())), stages, strict=True)
    steps = [_made_by(run["id"], step, entry) for step, entry in shown]
    ended = Ended(asked.pipeline.name, run["id"], foreseen.labels, steps, foreseen.value, None)
    return asked.pipeline.report.document(ended)


def _made_by(run_id: str, step: Step, entry: Entry) -> Step:
    made = entry.persisted.result.made if entry.persisted else None
    if made is None or made.flow_run != run_id:
        return step
    return replace(step, outcome=Outcome.EXECUTED, seconds=made.seconds, saved_seconds=None)


def _without_report(run: dict[str, Any], asked: Asked) -> dict[str, Any]:
    said = (run["state"] or {}).get("message") or "see its logs in the UI"
    message = f"The run ended {run['state_name']} and left no report: {said}"
    answer = asked.refusal(RuntimeError(message))
    return {**answer, "state": "failed", "flow_run_id": run["id"]}
