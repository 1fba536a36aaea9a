"""`larder runs`, `larder status RUN` and `larder logs RUN`, for every pipeline."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from cli import run_status
from cli.exits import EXIT_CODES, errors_of_the_world
from cli.pipelines import pipeline_names
from cli.server import Server
from larder.refusal import RefusedError

PAUSE_SECONDS = 1.0
STATES = ("completed", "failed", "crashed", "cancelled", "running", "pending", "scheduled")


def _pipelines(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    return [name for name in pipeline_names() if name.startswith(incomplete)]


@click.command(epilog="Example: larder runs --state failed --json")
@click.option("--pipeline", help="Of one pipeline alone: the name of its flow.", shell_complete=_pipelines)
@click.option("--state", type=click.Choice(STATES), help="In one state alone.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def runs(pipeline: str | None, state: str | None, limit: int, as_json: bool) -> int:
    """List the newest runs of all pipelines."""

    def show(server: Server) -> int:
        found = run_status.newest_runs(server, pipeline, state, limit)
        if as_json:
            print(json.dumps(found, indent=2))
            return 0
        for one in found:
            began = (one["began"] or "not begun")[:19].replace("T", " ")
            print(f"{one['run'][:8]}  {began}  {one['state']:<10}  {one['pipeline']}  {one['name']}")
        if not found:
            print("There are no runs yet.")
        return 0

    return _answered(show)


@click.command(epilog="Exit code: 1 if the run failed, else 0. Example: larder status 3f2a --follow")
@click.argument("run")
@click.option("--follow", is_flag=True, help="Until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def status(run: str, follow: bool, as_json: bool) -> int:
    """Say how a run stands. RUN is its id, the beginning of it, or its name."""

    def show(server: Server) -> int:
        found = run_status.run_called(server, run)
        told: set[tuple[str, str]] = set()
        while True:
            document = run_status.status(server, found)
            if not as_json:
                _tell(document, told)
            if not follow or run_status.has_ended(found):
                break
            time.sleep(PAUSE_SECONDS)
            found = run_status.run_called(server, found["id"])
        if as_json:
            print(json.dumps(document, indent=2))
        else:
            progress = document["progress"]
            print(
                f"{document['name']}: {document['state']}, {progress['ended']} of {progress['known']} stages"
            )
        return EXIT_CODES["failed"] if document["state"] in {"failed", "crashed"} else 0

    return _answered(show)


@click.command(epilog="Example: larder logs 3f2a --follow")
@click.argument("run")
@click.option("--follow", is_flag=True, help="Until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
def logs(run: str, follow: bool, as_json: bool) -> int:
    """Print the log of a run. RUN is its id, the beginning of it, or its name."""

    def show(server: Server) -> int:
        found = run_status.run_called(server, run)
        printed = 0
        while True:
            ended = run_status.has_ended(found)
            for line in run_status.log_lines(server, found["id"], printed):
                printed += 1
                print(
                    json.dumps(line)
                    if as_json
                    else f"{line['time'][:19]} {line['level']:<7} {line['message']}"
                )
            if not follow or ended:
                return 0
            time.sleep(PAUSE_SECONDS)
            found = run_status.run_called(server, found["id"])

    return _answered(show)


def _tell(document: Mapping[str, Any], told: set[tuple[str, str]]) -> None:
    for stage in document["stages"]:
        if (stage["stage"], stage["state"]) in told:
            continue
        told.add((stage["stage"], stage["state"]))
        rows = f", {stage['rows']:,} rows" if stage["rows"] is not None else ""
        why = f" ({stage['reason'] or stage['message']})" if stage["state"] == "failed" else ""
        print(f"{stage['stage']}: {stage['state']} in {stage['seconds']:.1f} s{rows}{why}", flush=True)


def _answered(show: Callable[[Server], int]) -> int:
    import httpx

    elsewhere: tuple[type[Exception], ...] = (*errors_of_the_world(), httpx.HTTPError)
    try:
        return show(Server())
    except RefusedError as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["refused"]
    except elsewhere as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["failed"]
