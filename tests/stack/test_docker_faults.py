"""What becomes of a build while parts of the stack in containers are killed, away or full, for real."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployed import ENDED, Deployed, in_docker, outcomes, until

pytestmark = in_docker
AWAY_SECONDS = float(os.environ.get("LARDER_TEST_AWAY_SECONDS", "15"))
CRASHED_SECONDS = 120
"""Within which a run whose process is gone has ended."""
BUILD_SECONDS = 12
PRODUCTS_AT_ONCE = 24


@pytest.fixture
def well(deployed: Deployed) -> Iterator[Deployed]:
    """The stack, with all of it up before and after."""
    deployed.compose("up", "--detach", "--wait")
    yield deployed
    deployed.compose("up", "--detach", "--wait")


def started(deployed: Deployed, recipe: Path, *words: str) -> subprocess.Popen[str]:
    """A build on the worker that somebody follows."""
    return subprocess.Popen(
        deployed.command(recipe, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=deployed.environment,
        cwd=deployed.checkout,
    )


def answered(following: subprocess.Popen[str]) -> dict[str, Any]:
    """What the follower answered."""
    printed, said = following.communicate()
    assert printed, said
    answer: dict[str, Any] = json.loads(printed)
    return answer


def state_of(deployed: Deployed, recipe: Path) -> str:
    return str(deployed.run_of(recipe).get("state_name"))


def await_moment(deployed: Deployed, recipe: Path, moment: str) -> None:
    """Wait until a run is so far."""
    if moment == "one second after Running":
        until("Running", lambda: state_of(deployed, recipe) == "Running", pause=0.05)
        time.sleep(1)
        return
    reached = {"Pending": ("Pending", "Submitting", "Running"), "Submitting": ("Submitting", "Running")}
    until(moment, lambda: state_of(deployed, recipe) in reached[moment], pause=0.05)


def assert_nothing_is_redone(deployed: Deployed, recipe: Path) -> None:
    """The next build makes what is missing and nothing else."""
    finished = deployed.results(recipe)
    again = deployed.build(recipe)
    assert again["state"] == "completed", again
    redone = {stage["result"] for stage in again["stages"] if stage["outcome"] != "reused"}
    assert not redone & finished


@pytest.mark.parametrize("how", ["killed", "restarted", "made anew"])
@pytest.mark.parametrize("moment", ["Pending", "Submitting", "one second after Running"])
def test_a_worker_that_goes_at_any_moment(moment: str, how: str, well: Deployed) -> None:
    recipe = well.recipe(seconds=60)
    run_id = well.start_run(recipe)
    await_moment(well, recipe, moment)
    acts = {
        "killed": ("kill", "worker"),
        "restarted": ("restart", "--timeout", "1", "worker"),
        "made anew": ("up", "--detach", "--force-recreate", "--no-deps", "--timeout", "1", "worker"),
    }
    well.compose(*acts[how])
    began = time.monotonic()
    run = until("the end of the run", lambda: well.ended_run_of(recipe), CRASHED_SECONDS)
    print(f"{moment}, {how}: {run['state_name']} after {time.monotonic() - began:.0f} s")
    assert run["id"] == run_id
    assert run["state_name"] == "Crashed"
    assert "process of this run on worker" in run["state"]["message"]
    tasks = {"flow_runs": {"id": {"any_": [run_id]}}}
    until(
        "the end of its tasks",
        lambda: all(task["state_type"] in ENDED for task in well.ask("task_runs/filter", tasks)),
        CRASHED_SECONDS,
    )


@pytest.mark.parametrize("service", ["worker", "prefect-server", "prefect-services"])
def test_a_service_killed_during_a_build(service: str, well: Deployed) -> None:
    recipe = well.recipe(seconds=BUILD_SECONDS)
    following = started(well, recipe)
    until("plan and load", lambda: len(well.results(recipe)) >= 2)
    well.compose("kill", service)
    well.compose("start", service)
    began = time.monotonic()
    run = until("the end of the run", lambda: well.ended_run_of(recipe))
    print(f"{service} killed: {run['state_name']} after {time.monotonic() - began:.0f} s")
    answer = answered(following)
    assert answer["state"] == ("failed" if service == "worker" else "completed"), answer
    well.compose("up", "--detach", "--wait")
    assert_nothing_is_redone(well, recipe)


@pytest.mark.parametrize("service", ["postgres", "redis", "minio"])
def test_a_service_that_is_away_during_a_build(service: str, well: Deployed) -> None:
    recipe = well.recipe(seconds=AWAY_SECONDS)
    following = started(well, recipe)
    until("plan and load", lambda: len(well.results(recipe)) >= 2)
    well.compose("stop", "--timeout", "1", service)
    time.sleep(AWAY_SECONDS)
    well.compose("start", service)
    began = time.monotonic()
    answer = answered(following)
    print(
        f"{service} away for {AWAY_SECONDS:.0f} s: {answer['state']} {time.monotonic() - began:.0f} s later"
    )
    assert answer["state"] == "completed", answer
    assert following.returncode == 0
    assert answer["package"]["files"]
    well.compose("up", "--detach", "--wait")
    assert set(outcomes(well.build(recipe)).values()) == {"reused"}


def test_a_build_goes_on_after_down_and_up(well: Deployed) -> None:
    recipe = well.recipe(seconds=60)
    well.start_run(recipe)
    until("plan and load", lambda: len(well.results(recipe)) >= 2)
    assert well.setup("down").returncode == 0
    begun = well.setup("--docker")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    run = until("the end of the run", lambda: well.ended_run_of(recipe), CRASHED_SECONDS)
    assert run["state_name"] == "Crashed"
    assert_nothing_is_redone(well, recipe.with_name(shortened(recipe)))


def shortened(recipe: Path) -> str:
    """The same recipe with a build that takes no time, in the same file."""
    recipe.write_text(recipe.read_text().replace("build: 60", "build: 0"))
    return recipe.name


def test_many_products_at_once_on_one_worker(well: Deployed) -> None:
    recipes = [well.recipe() for _ in range(PRODUCTS_AT_ONCE)]
    began = time.monotonic()
    for recipe in recipes:
        well.start_run(recipe)
    names = {"flow_runs": {"name": {"any_": [recipe.stem for recipe in recipes]}}, "limit": 200}
    most = 0

    def all_ended() -> bool:
        nonlocal most
        runs = well.ask("flow_runs/filter", names)
        most = max(most, sum(run["state_type"] in {"PENDING", "RUNNING"} for run in runs))
        return sum(run["state_type"] in ENDED for run in runs) == PRODUCTS_AT_ONCE

    until("the end of all", all_ended, 900)
    print(f"{PRODUCTS_AT_ONCE} products at once: {time.monotonic() - began:.0f} s, {most} at a time")
    assert {run["state_name"] for run in well.ask("flow_runs/filter", names)} == {"Completed"}
    assert most <= 8
    worker = well.compose("ps", "--quiet", "worker").strip()
    shown = "{{.RestartCount}} {{.State.OOMKilled}}"
    done = well.run("docker", "inspect", "--format", shown, worker)
    assert done.stdout.split() == ["0", "false"]


FILLING = """
name: {product}
product: {product}
version: v1
inputs:
  datasets: [{{id: bpl_libraries, version: 24Q4, file_type: csv}}]
stage_config:
  builds.build:
    tables: [filled]
    commands: [{{name: fill, run: "{command}"}}]
exports:
  datasets: [{{name: filled, format: csv}}]
"""


def filling(deployed: Deployed, command: str) -> Path:
    recipe = deployed.recipe()
    recipe.write_text(FILLING.format(product=recipe.stem, command=command))
    return recipe


@pytest.mark.parametrize("folder", ["/tmp", "."])
def test_a_command_that_fills_a_folder_fails_by_itself(folder: str, well: Deployed) -> None:
    command = f"yes 0123456789 > {folder}/filling"
    answer = well.build(filling(well, command), "--real")
    assert answer["state"] == "failed", answer
    assert answer["error"]["stage"] == "command"
    left = well.compose("exec", "-T", "worker", "sh", "-c", "find / -name filling -xdev 2>/dev/null || true")
    assert not left.strip()
    assert well.build(well.recipe())["state"] == "completed"


def test_a_scratch_folder_without_room_fails_builds_until_there_is_some(well: Deployed) -> None:
    filled = "/var/lib/larder/scratch/filled"
    size = well.compose(
        "exec", "-T", "worker", "sh", "-c", "df -P -B1 /var/lib/larder/scratch | tail -1"
    ).split()
    well.compose("exec", "-T", "worker", "fallocate", "--length", str(int(size[3]) - 2**20), filled)
    try:
        answer = well.build(filling(well, "true"), "--real")
        doctor = well.setup("doctor")
    finally:
        well.compose("exec", "-T", "worker", "rm", "--force", filled)
    assert answer["state"] == "failed", answer
    assert doctor.returncode == 1
    assert "FAILED  disk" in doctor.stdout
    assert well.build(well.recipe())["state"] == "completed"
