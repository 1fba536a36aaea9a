"""Whole runs of a workflow."""

from tests.flows.medallion.workflows import Team


def test_a_workflow_comes_from_landing_to_gold_and_then_has_nothing_to_do(team: Team) -> None:
    first = team.run()
    assert first.exit_code == 0, first.said
    assert team.table("silver", "visits", columns="visit_id, site_id, visitors, _row_number") == [
        (1, 1, 10, 1),
        (2, 2, 20, 2),
        (3, 2, 30, 3),
    ]
    assert team.published("bronze", "sites") == ["0001-sites.csv.parquet", "published.json"]
    assert team.published("gold", "visits") == [
        *("by_site_id.parquet", "metrics.parquet", "published.json", "total.parquet"),
    ]
    again = team.run()
    assert again.document["flow_run_id"] is None, again.said
    assert set(again.outcomes.values()) == {"reused"}
    assert set(again.publish.values()) == {"unchanged"}
