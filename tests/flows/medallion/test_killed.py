"""Runs killed in a stage, and two runs at once: nothing is redone, lost or doubled."""

import pytest

from flows.medallion.workflow.schema import Workflow
from tests.flows.medallion.workflows import Team
from tests.processes import running

pytestmark = pytest.mark.usefixtures("quick")
FLOW = ("flows.medallion.flow", "medallion")
TUESDAY = "visit_id,site_id,visitors\n3,1,33\n4,1,40\n"
STAGES = ("land visits/tuesday.csv", "bronze visits/tuesday.csv", "silver visits", "gold visits")


@pytest.mark.parametrize(("mode", "old"), [("append", [(3, 30)]), ("merge", [])])
def test_a_run_that_is_killed_in_a_stage_is_finished_by_the_next(
    team: Team, mode: str, old: list[tuple[int, int]]
) -> None:
    team.job("visits")["load_mode"] = mode
    assert team.run().exit_code == 0
    team.bucket.delete(f"landing/{team.id}/visits/visits.csv")
    team.land("visits", "tuesday.csv", TUESDAY)
    arguments = {"configuration": Workflow.model_validate(team.workflow)}
    for stage in STAGES:
        with running(*FLOW, arguments, [stage]) as held:
            held.until(stage, "running")
    answer = team.run()
    assert answer.exit_code == 0, answer.said
    assert answer.outcomes["gold visits"] == "executed"
    assert {answer.outcomes[stage] for stage in STAGES[:-1]} == {"reused"}
    expected = [(1, 10), (2, 20), *old, (3, 33), (4, 40)]
    assert team.table("silver", "visits", columns="visit_id, visitors") == expected
    published = team.everything()
    assert team.run(force=("land", "infer", "columns", "bronze", "silver", "gold")).exit_code == 0
    assert team.everything() == published


def test_of_two_runs_at_once_each_stage_is_executed_by_one(team: Team) -> None:
    team.job("visits")["load_mode"] = "merge"
    arguments = {"configuration": Workflow.model_validate(team.workflow)}
    with running(*FLOW, arguments, ["silver visits"]) as first:
        first.until("silver visits", "running")
        with running(*FLOW, arguments) as second:
            second.until("silver sites", "reused")
            first.go_on()
            documents = [first.end(), second.end()]
    assert [one["state"] for one in documents] == ["completed", "completed"], documents
    ran = [
        (step["stage"], step["name"])
        for one in documents
        for step in one["stages"]
        if step["outcome"] == "executed"
    ]
    assert len(ran) == len(set(ran))
    assert len(team.table("silver", "visits")) == 3


def test_a_run_that_was_overtaken_takes_nothing_back(team: Team) -> None:
    team.job("visits")["load_mode"] = "append"
    arguments = {"configuration": Workflow.model_validate(team.workflow)}
    with running(*FLOW, arguments, ["gold visits"]) as slow:
        slow.until("gold visits", "running")
        team.land("visits", "tuesday.csv", TUESDAY)
        with running(*FLOW, arguments) as fast:
            assert fast.end()["state"] == "completed"
        slow.go_on()
        document = slow.end()
    assert document["state"] == "completed", document["error"]
    gold = next(one for one in document["published"] if "/gold/parks/visits/" in one["uri"])
    assert gold["publish"] == "kept"
    assert len(team.table("silver", "visits")) == 5
