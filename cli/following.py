"""Runs through the deployment, and follows the run to its end."""

import time
from typing import Any, TextIO
from uuid import uuid4

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.asked import Asked
from cli.server import Server, ServerMissing
from larder import report
from larder.parameters import plain

POLL_SECONDS = 0.5
SILENCE_SECONDS = 120
LONG_SECONDS = 1.0
"""A stage that takes longer than this is said to run."""
SHOWN_ROWS = 24
PAGE = 200
STATES = {"Completed": "executed", "Cached": "reused", "Pending": "waiting"}


def run_on_worker(asked: Asked, out: TextIO) -> dict[str, Any]:
    """Run a pipeline on a worker, with a live view of the stages; the document that says what it came to.

    Raises:
        ServerMissing: there is no server, or it has no deployment.
    """
    server = Server()
    name = asked.pipeline.deployment_name
    deployment = server.ask(f"deployments/name/{name}")
    if deployment is None:
        raise ServerMissing(f"The Prefect server has no deployment {name}. Run ./setup.sh, which makes it.")
    run_id = _create_run(server, deployment["id"], asked.options)
    print(f"Prefect UI: {server.run_page(run_id)}", file=out, flush=True)
    try:
        run = _follow(server, run_id, Console(file=out, highlight=False))
    except KeyboardInterrupt:
        print("The run goes on without being followed; the UI shows it.", file=out)
        raise
    answer = _report(server, run_id) or _without_report(run, asked)
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


def _follow(server: Server, run_id: str, console: Console) -> dict[str, Any]:
    said: set[str] = set()
    answered = time.monotonic()
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        while True:
            try:
                run: dict[str, Any] = server.ask(f"flow_runs/{run_id}")
                tasks = _tasks(server, run_id)
                answered = time.monotonic()
            except httpx.HTTPError as error:
                if time.monotonic() - answered > SILENCE_SECONDS:
                    raise ServerMissing(
                        f"The server at {server.url} does not answer any more: {error}. The run may go on."
                    ) from error
                time.sleep(POLL_SECONDS)
                continue
            if run["state"] and run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                return run
            if console.is_terminal:
                live.update(_view(run, tasks))
            else:
                _say_long_ones(tasks, said, console)
            time.sleep(POLL_SECONDS)


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


def _view(run: dict[str, Any], tasks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, show_header=False)
    if not tasks:
        table.add_row(f"[dim]{run['name']}: {run['state_name'].lower()}, waiting for a worker[/dim]")
    busy = [task for task in tasks if task["state_type"] == "RUNNING"]
    ended = [task for task in tasks if task["state_name"] in STATES or task["state_type"] == "FAILED"]
    for task in [*ended[-SHOWN_ROWS:], *busy][-SHOWN_ROWS:]:
        state = STATES.get(task["state_name"], task["state_name"].lower())
        table.add_row(task["name"], state, f"{task['estimated_run_time']:.1f} s")
    if len(tasks) > SHOWN_ROWS:
        table.add_row(f"[dim]{len(ended)} of {len(tasks)} have ended[/dim]")
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


def _without_report(run: dict[str, Any], asked: Asked) -> dict[str, Any]:
    said = (run["state"] or {}).get("message") or "see its logs in the UI"
    message = f"The run ended {run['state_name']} and left no report: {said}"
    answer = asked.refusal(RuntimeError(message))
    return {**answer, "state": "failed", "flow_run_id": run["id"]}
