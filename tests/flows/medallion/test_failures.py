"""What fails, what goes on, and what comes of it when it is run again."""

import pytest

from tests.flows.medallion.workflows import SITES, VISITS, Team

pytestmark = pytest.mark.usefixtures("quick")
BAD = {
    "empty": ("visits.csv", "", "it is empty"),
    "header only": ("visits.csv", "visit_id,site_id,visitors\n", "it has a header and no rows"),
    "wrong encoding": ("visits.csv", "visit_id,site_id,visitors\n1,1,\xe9\n".encode("latin-1"), "UTF-8"),
    "ragged": ("visits.csv", f"{VISITS}4,1\n", "line 5 has 2 in place of 3 columns"),
    "key that is no column": ("visits.csv", "site_id,visitors\n1,1\n", "there is no column visit_id"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_fails_with_words_and_nothing_is_lost(team: Team, case: str) -> None:
    assert team.run().exit_code == 0
    before = team.everything()
    name, content, said = BAD[case]
    team.land("visits", name, content)
    answer = team.run()
    assert answer.exit_code == 1
    assert said in answer.document["error"]["message"]
    silver = {name: content for name, content in team.everything().items() if not name.startswith("bronze/")}
    assert silver == {name: content for name, content in before.items() if not name.startswith("bronze/")}
    team.land("visits", "visits.csv", VISITS)
    assert team.run().exit_code == 0
    assert team.everything() == before


def test_a_failed_job_stops_only_those_that_need_it(team: Team) -> None:
    team.workflow["jobs"] |= {"trees": {}, "reports": {"depends_on": ["visits"]}}
    team.land("trees", "trees.csv", "tree_id\n1\n")
    team.land("reports", "reports.csv", "report_id\n1\n")
    team.land("sites", "sites.csv", f"{SITES}3\n")
    answer = team.run()
    assert answer.exit_code == 1
    assert "sites.csv cannot be read: line 4" in answer.document["error"]["message"]
    assert team.published("gold", "trees") == ["metrics.parquet", "published.json"]
    assert team.published("bronze", "visits") == ["0001-visits.csv.parquet", "published.json"]
    assert not team.published("silver", "visits")
    assert not team.published("silver", "reports")
    team.land("sites", "sites.csv", SITES)
    again = team.run()
    assert again.exit_code == 0, again.said
    assert again.outcomes["bronze visits/visits.csv"] == again.outcomes["gold trees"] == "reused"


def test_a_job_without_files_says_where_to_put_one(team: Team) -> None:
    team.workflow["jobs"]["trees"] = {}
    answer = team.run()
    assert answer.exit_code == 1
    assert "No file lies at landing/parks/trees/*: put one there." in answer.document["error"]["message"]
    assert team.published("gold", "visits")


def test_a_rule_that_fails_leaves_the_published_rows(team: Team) -> None:
    team.job("visits")["load_mode"] = "append"
    team.job("visits")["rules"].append({"range": {"column": "visitors", "max": 100}, "on_failure": "fail"})
    assert team.run().exit_code == 0
    team.land("visits", "more.csv", "visit_id,site_id,visitors\n4,1,400\n")
    assert team.run().exit_code == 1
    assert len(team.table("silver", "visits")) == 3
    team.land("visits", "more.csv", "visit_id,site_id,visitors\n4,1,40\n")
    assert team.run().exit_code == 0
    assert team.table("silver", "visits", columns="visitors") == [(10,), (20,), (30,), (40,)]


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_rows_add_up_over_runs_also_after_failures(team: Team, mode: str) -> None:
    team.job("visits")["load_mode"] = mode
    assert team.run().exit_code == 0
    team.bucket.delete(f"landing/{team.id}/visits/visits.csv")
    team.land("visits", "tuesday.csv", "visit_id,site_id,visitors\n3,1,33\n4,1,40\n")
    for stage in ("land", "bronze", "silver"):
        assert team.run(fail_at=stage).exit_code == 1
    for _ in range(2):
        assert team.run().exit_code == 0
        there = team.table("silver", "visits", columns="visit_id, visitors")
        old = [(3, 30)] if mode == "append" else []
        assert there == [(1, 10), (2, 20), *old, (3, 33), (4, 40)]
    team.bucket.delete(f"silver/{team.id}/visits/published.json")
    assert team.run().exit_code == 0
    assert team.table("silver", "visits", columns="visit_id, visitors") == there
