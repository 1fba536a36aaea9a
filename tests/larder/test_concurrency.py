"""One execution per key, however many ask at once and whoever dies meanwhile."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
from flows.build.recipe.schema import Recipe
from larder.orchestration.page import ended_run
from larder.outcomes import listening
from larder.pipeline import pipeline
from larder.settings import Settings, settings
from larder.stage import gather
from tests.processes import building
from tests.recipes import Bucket
from tests.services import Store
from tests.tiny import Executed, drawn

pytestmark = pytest.mark.usefixtures("quick")

LEASE_SECONDS = 1
SLACK_SECONDS = 3
RECIPE = """
name: Green
product: green
version: 24Q4
inputs:
  datasets:
    - {id: parks, version: "1", file_type: csv, source: made_up}
exports:
  datasets:
    - {name: parks, format: csv}
simulate:
  seconds: {}
"""
STAGES = ("plan", "load parks", "build", "package")
EXECUTED = dict.fromkeys(STAGES, "executed")
REUSED = dict.fromkeys(STAGES, "reused")


@pytest.fixture(params=["files", "redis"])
def leased(request: pytest.FixtureRequest, stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A stack whose leases, of one second, are kept in files or in Redis."""
    if request.param == "redis":
        use_redis(request, monkeypatch)
    return stack


@pytest.fixture
def redis_leased(
    request: pytest.FixtureRequest, stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A stack whose leases are kept in Redis."""
    use_redis(request, monkeypatch)
    return stack


def use_redis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_REDIS_URL", request.getfixturevalue("valkey").url)
    monkeypatch.setenv("LARDER_LEASE_SECONDS", str(LEASE_SECONDS))


@pytest.fixture
def recipe() -> Recipe:
    return parse_recipe(RECIPE, "a test")


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    assert answer["state"] == "completed", answer
    return {
        f"{step['stage']} {step['dataset']}" if step["dataset"] else step["stage"]: step["outcome"]
        for step in answer["stages"]
    }


def build_here(recipe: Recipe) -> dict[str, Any]:
    """Build in this process."""
    with listening(lambda step: None) as audience:
        published = build(recipe)
    return build.report.document(ended_run(audience.runs[-1], published, None))


def executions(*answers: dict[str, Any]) -> Counter[str]:
    """How often each stage was executed in all of these builds."""
    return Counter(
        title for answer in answers for title, outcome in outcomes(answer).items() if outcome == "executed"
    )


def test_two_processes_execute_each_stage_once_between_them(leased: Settings, recipe: Recipe) -> None:
    with building(recipe) as first, building(recipe) as second:
        answers = first.end(), second.end()
    assert executions(*answers) == Counter(STAGES)
    assert sorted(answer["package"]["publish"] for answer in answers) == ["published", "unchanged"]


def test_a_process_waits_for_the_stage_that_another_executes(leased: Settings, recipe: Recipe) -> None:
    with building(recipe, hold_at="load parks") as first:
        first.until("load parks", "running")
        with building(recipe) as second:
            second.until("plan", "reused")
            first.go_on()
            answers = first.end(), second.end()
    assert [outcomes(answer)["load parks"] for answer in answers] == ["executed", "reused"]
    assert executions(*answers) == Counter(STAGES)


def test_twenty_threads_execute_a_stage_once_between_them(leased: Settings, executed: Executed) -> None:
    @pipeline
    def ten_at_once() -> None:
        gather([drawn.submit(3) for _ in range(10)])

    with ThreadPoolExecutor(2) as threads:
        for flow in [threads.submit(copy_context().run, ten_at_once) for _ in range(2)]:
            flow.result()
    assert executed() == ["draw"]


@pytest.mark.parametrize(
    ("leased", "stage"), [*(("files", stage) for stage in STAGES), ("redis", "build")], indirect=["leased"]
)
def test_what_a_killed_process_left_undone_is_taken_over(
    leased: Settings, recipe: Recipe, stage: str
) -> None:
    with building(recipe, hold_at=stage) as killed:
        killed.until(stage, "running")
        killed.process.kill()
        killed.process.join()
    began = time.monotonic()
    at = STAGES.index(stage)
    assert outcomes(build_here(recipe)) == {**EXECUTED, **dict.fromkeys(STAGES[:at], "reused")}
    patience = LEASE_SECONDS if settings().redis_url else 0
    assert time.monotonic() - began < patience + SLACK_SECONDS
    assert outcomes(build_here(recipe)) == REUSED


def test_scratch_of_dead_runs_goes_at_the_next_start_and_of_live_runs_stays(
    stack: Settings, recipe: Recipe
) -> None:
    with building(recipe, hold_at="build") as live:
        live.until("build", "running")
        lives = scratch_of(stack)
        with building(of_product("grey", recipe), hold_at="plan") as killed:
            killed.until("plan", "running")
        assert len(scratch_of(stack)) == len(lives) + 1 == 2
        build_here(of_product("blue", recipe))
        assert scratch_of(stack) == lives
        live.go_on()
        assert outcomes(live.end()) == EXECUTED
    assert scratch_of(stack) == set()


@pytest.mark.parametrize(
    ("leased", "stage"), [("redis", "load parks"), ("redis", "package")], indirect=["leased"]
)
def test_a_process_stopped_for_longer_than_its_lease_does_no_harm(
    leased: Settings, recipe: Recipe, bucket: str, s3: Store, stage: str
) -> None:
    found = Bucket(s3.client, bucket)
    with building(recipe, hold_at=stage) as stopped:
        stopped.until(stage, "running")
        os.kill(stopped.process.pid or 0, signal.SIGSTOP)
        answer = build_here(recipe)
        assert outcomes(answer)[stage] == "executed"
        assert answer["package"]["publish"] == "published"
        made, names = found.package("green", "24Q4"), found.names()
        os.kill(stopped.process.pid or 0, signal.SIGCONT)
        stopped.go_on()
        late = stopped.end()
    assert outcomes(late)[stage] == "executed"
    assert late["package"] == {**answer["package"], "publish": "unchanged"}
    assert (found.package("green", "24Q4"), found.names()) == (made, names)
    again = build_here(recipe)
    assert outcomes(again) == REUSED
    assert again["package"]["publish"] == "unchanged"


def of_product(name: str, recipe: Recipe) -> Recipe:
    """The same recipe for another product."""
    return recipe.model_copy(update={"product": name})


def scratch_of(stack: Settings) -> set[str]:
    """The scratch folders of a home."""
    return {folder.name for folder in stack.scratch.iterdir()}
