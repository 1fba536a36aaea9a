"""How a run stands, as the Prefect server tells it: for people and, as JSON, for other programs' screens."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from cli.server import Server
from larder.refusal import Problem, RefusedError
from larder.report import UI_TYPE

PAGE = 200
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
STAGE_STATES = {"Completed": "executed", "Cached": "reused", "NotReady": "waiting", "Pending": "waiting"}
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


def newest_runs(
    server: Server, pipeline: str | None = None, state: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """The newest runs, each as `summary` gives it.

    Args:
        pipeline: the name of its flow; all where None
        state: as `completed`; all where None
    """
    asked: dict[str, Any] = {"sort": "EXPECTED_START_TIME_DESC", "limit": limit}
    if pipeline:
        asked["flows"] = {"name": {"any_": [pipeline]}}
    if state:
        asked["flow_runs"] = {"state": {"type": {"any_": [state.upper()]}}}
    runs = server.ask("flow_runs/filter", asked)
    names = _flow_names(server, {run["flow_id"] for run in runs})
    return [summary(run, names.get(run["flow_id"], "")) for run in runs]


def run_called(server: Server, text: str) -> dict[str, Any]:
    """The newest run that a person means: by its id, the beginning of its id, or its name.

    Raises:
        RefusedError: there is none.
    """
    asked = {"sort": "EXPECTED_START_TIME_DESC", "limit": PAGE}
    for run in server.ask("flow_runs/filter", asked):
        if run["id"].startswith(text.lower()) or run["name"] == text:
            return dict(run)
    try:
        found = server.ask(f"flow_runs/{text}")
    except httpx.HTTPError:
        found = None
    if found is None:
        expected = "a run's id, the beginning of it, or its name: see `larder runs`"
        raise RefusedError("larder status", Problem("run", repr(text), expected))
    return dict(found)


def summary(run: Mapping[str, Any], pipeline: str) -> dict[str, Any]:
    """One run: `run`, `name`, `pipeline`, `state`, `message`, `began`, `ended`, `seconds`, `attempt`."""
    return {
        "run": run["id"],
        "name": run["name"],
        "pipeline": pipeline,
        "state": _state(run),
        "message": (run["state"] or {}).get("message"),
        "began": run["start_time"],
        "ended": run["end_time"],
        "seconds": round(run["estimated_run_time"], 1),
        "attempt": run["run_count"],
    }


def status(server: Server, run: Mapping[str, Any]) -> dict[str, Any]:
    """A run with its stages: the summary, and `progress`, `stages`, `failures`, `document`.

    `stages` holds for each task run its `stage` (with its name), `state`, `seconds` and, once the run has
    ended, `rows` and `reason`; `failures` what failed and why; `document` is what `--json` of the run prints.
    """
    names = _flow_names(server, {run["flow_id"]})
    document = _document(server, run["id"])
    told = {_title(stage): stage for stage in (document or {}).get("stages", [])}
    stages = [_stage(task, told) for task in tasks_of(server, run["id"])]
    ended = sum(stage["state"] not in {"running", "waiting"} for stage in stages)
    return {
        **summary(run, names.get(run["flow_id"], "")),
        "progress": {"ended": ended, "known": len(stages)},
        "stages": stages,
        "failures": [stage for stage in stages if stage["state"] in {"failed", "crashed"}],
        "document": document,
    }


def has_ended(run: Mapping[str, Any]) -> bool:
    """Whether a run has come to its end."""
    return bool(run["state"]) and run["state"]["type"] in ENDED


def tasks_of(server: Server, run_id: str) -> list[dict[str, Any]]:
    """The task runs of a run, in the order in which they began."""
    asked = {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": PAGE}
    tasks: list[dict[str, Any]] = []
    while page := server.ask("task_runs/filter", {**asked, "offset": len(tasks)}):
        tasks += page
        if len(page) < PAGE:
            break
    return tasks


def log_lines(server: Server, run_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
    """The log of a run from its line `after` on: `time`, `level`, `message`."""
    asked = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "limit": PAGE}
    while page := server.ask("logs/filter", {**asked, "offset": after}):
        for line in page:
            level = LEVELS.get(line["level"], str(line["level"]))
            yield {"time": line["timestamp"], "level": level, "message": line["message"]}
        after += len(page)
        if len(page) < PAGE:
            return


def _state(run: Mapping[str, Any]) -> str:
    return str(run["state_name"] or "scheduled").lower()


def _stage(task: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    more = told.get(task["name"], {})
    name = task["state_name"] or "Pending"
    return {
        "stage": task["name"],
        "state": more.get("outcome") or STAGE_STATES.get(name, name.lower()),
        "seconds": round(task["estimated_run_time"], 1),
        "rows": more.get("rows"),
        "reason": more.get("reason"),
        "message": (task["state"] or {}).get("message"),
    }


def _title(stage: Mapping[str, Any]) -> str:
    label = stage.get("dataset") or stage.get("name")
    return f"{stage['stage']} {label}" if label else str(stage["stage"])


def _document(server: Server, run_id: str) -> dict[str, Any] | None:
    asked = {
        "artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": [UI_TYPE]}},
        "sort": "CREATED_DESC",
        "limit": 1,
    }
    found = server.ask("artifacts/filter", asked)
    return dict(found[0]["data"]) if found else None


def _flow_names(server: Server, ids: set[str]) -> dict[str, str]:
    if not ids:
        return {}
    flows = server.ask("flows/filter", {"flows": {"id": {"any_": sorted(ids)}}, "limit": PAGE})
    return {flow["id"]: flow["name"] for flow in flows}
