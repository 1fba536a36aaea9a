"""Builds through the deployment, and follows the run to its end."""

import time
from typing import Any, TextIO
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import ArtifactSort, TaskRunSort
from prefect.exceptions import ObjectNotFound
from rich.console import Console
from rich.live import Live
from rich.table import Table

from flows import report
from flows.server import ServerMissing, api_url, run_page
from flows.shown import REPORT_TYPE

DEPLOYMENT = "build/build"
POLL_SECONDS = 0.5
SILENCE_SECONDS = 120
SHOWN = {"Completed": "executed", "Cached": "reused", "Pending": "waiting"}


def run_on_worker(options: dict[str, Any], out: TextIO) -> dict[str, Any]:
    """Build on a worker, with a live view of the stages; the document that says what it came to.

    Raises:
        ServerMissing: there is no server, or it has no deployment.
    """
    api_url()
    parameters = {**options, "recipe": options["recipe"].model_dump(mode="json")}
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound as error:
            said = f"The Prefect server has no deployment {DEPLOYMENT}. Run ./setup.sh, which makes it."
            raise ServerMissing(said) from error
        run_id = client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id
        print(f"Prefect UI: {run_page(str(run_id))}", file=out, flush=True)
        try:
            run = _follow(client, run_id, Console(file=out, highlight=False))
        except KeyboardInterrupt:
            print("The run goes on without being followed; the UI shows it.", file=out)
            raise
        answer = _report(client, run) or _without_report(run, options["recipe"].product)
    for stage in answer["stages"]:
        print(report.stage_line(stage), file=out)
    return answer


def _follow(client: SyncPrefectClient, run_id: UUID, console: Console) -> FlowRun:
    began: set[UUID] = set()
    answered = time.monotonic()
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        while True:
            try:
                run = client.read_flow_run(run_id)
                tasks = _tasks(client, run_id)
                answered = time.monotonic()
            except httpx.TransportError:
                if time.monotonic() - answered > SILENCE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            if run.state and run.state.is_final():
                return run
            if console.is_terminal:
                live.update(_view(run, tasks))
            else:
                _say_running(tasks, began, console)
            time.sleep(POLL_SECONDS)


def _tasks(client: SyncPrefectClient, run_id: UUID) -> list[TaskRun]:
    return client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
        sort=TaskRunSort.EXPECTED_START_TIME_ASC,
    )


def _say_running(tasks: list[TaskRun], began: set[UUID], console: Console) -> None:
    for task in tasks:
        if task.id not in began and task.state and task.state.is_running():
            began.add(task.id)
            console.print(f"{task.name}: running")


def _view(run: FlowRun, tasks: list[TaskRun]) -> Table:
    table = Table(box=None, show_header=False)
    if not tasks:
        table.add_row(f"[dim]{run.name}: waiting for a worker ({run.state_name})[/dim]")
    ended = [task for task in tasks if task.state and task.state.is_final()]
    others = [task for task in tasks if task not in ended]
    for task in [*ended[-12:], *others[:12]]:
        name = task.state_name or ""
        table.add_row(
            task.name, SHOWN.get(name, name.lower()), f"{task.estimated_run_time.total_seconds():.1f} s"
        )
    if len(tasks) > len(ended[-12:]) + len(others[:12]):
        table.add_row(f"[dim]{len(ended)} of {len(tasks)} have ended[/dim]")
    return table


def _report(client: SyncPrefectClient, run: FlowRun) -> dict[str, Any] | None:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), type=ArtifactFilterType(any_=[REPORT_TYPE])
        ),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return found[0].data if found and isinstance(found[0].data, dict) else None


def _without_report(run: FlowRun, product: str) -> dict[str, Any]:
    said = run.state.message if run.state else None
    message = f"The run ended {run.state_name} and left no report: {said or 'see its logs in the UI'}"
    answer = report.refusal(RuntimeError(message), product)
    return {**answer, "state": "failed", "flow_run_id": str(run.id)}
