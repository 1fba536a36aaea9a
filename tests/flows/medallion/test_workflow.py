"""A workflow's configuration: what it may hold, and how it is told what is wrong."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from flows.medallion.asked import CONFIGURATIONS, asked_workflow
from flows.medallion.workflow.checks import in_order
from flows.medallion.workflow.schema import Workflow
from larder.refusal import RefusedError

GIVEN = {
    "workflow_id": "shop",
    "jobs": {
        "orders": {
            "primary_keys": "id",
            "rules": [{"foreign_key": {"column": "customer", "job": "customers"}}],
            "gold": {
                "models": {"total": "select count(*) as orders from silver join customers using (customer)"}
            },
        },
        "reports": {"depends_on": ["orders"]},
        "customers": {"primary_keys": ["id", "part"], "load_mode": "merge"},
        "countries": {},
    },
}
Change = Callable[[dict[str, Any]], object]


def read(change: Change = lambda _: None) -> Workflow:
    given: dict[str, Any] = copy.deepcopy(GIVEN)
    change(given["jobs"])
    return CONFIGURATIONS.parse(yaml.safe_dump(given, sort_keys=False), "shop.yml")


def test_a_foreign_key_implies_that_its_job_comes_first() -> None:
    jobs = read().jobs
    assert jobs["orders"].parents == ("customers",)
    order = in_order(jobs, jobs)
    assert order.index("customers") < order.index("orders") < order.index("reports")
    assert in_order(jobs, ["orders"]) == ["customers", "orders"]


WRONG: dict[str, tuple[Change, str]] = {
    "unknown option": (lambda jobs: jobs["orders"].update(primary_key="id"), "jobs.orders.primary_key"),
    "unknown job": (
        lambda jobs: jobs["orders"]["rules"][0]["foreign_key"].update(job="custmers"),
        "jobs.orders.rules[0].foreign_key.job (line 8): found the job custmers; expected one of",
    ),
    "unknown parent": (
        lambda jobs: jobs["reports"].update(depends_on=["ordrs"]),
        "jobs.reports.depends_on[0] (line 14): found the job ordrs; expected one of",
    ),
    "circle": (
        lambda jobs: jobs["customers"].update(depends_on=["reports"]),
        "found orders → customers → reports → orders; expected jobs that do not depend on themselves",
    ),
    "merge without key": (
        lambda jobs: jobs["countries"].update(load_mode="merge"),
        "found load_mode merge without primary_keys; expected primary_keys",
    ),
    "mode": (lambda jobs: jobs["countries"].update(load_mode="upsert"), "'replace', 'append' or 'merge'"),
    "two rules in one": (
        lambda jobs: jobs["countries"].update(rules=[{"not_null": "a", "unique": "b"}]),
        "jobs.countries.rules[0] (line 22): found not_null and unique; expected one of not_null, unique",
    ),
    "rules of one name": (
        lambda jobs: jobs["countries"].update(rules=[{"not_null": "a"}, {"not_null": "a"}]),
        "found not_null_a twice; expected rules that differ by name",
    ),
    "pattern": (
        lambda jobs: jobs["countries"].update(rules=[{"pattern": {"column": "a", "matches": "("}}]),
        "expected a regular expression (RE2)",
    ),
    "expression": (
        lambda jobs: jobs["countries"].update(rules=["a in (select b from other)"]),
        "found the table other; expected an expression over the table's own columns",
    ),
    "clock": (lambda jobs: jobs["countries"].update(rules=["a < now()"]), "found now(…)"),
    "type": (lambda jobs: jobs["countries"].update(columns={"a": "int"}), "expected one of text, integer"),
    "option of files": (
        lambda jobs: jobs["countries"].update(file={"type": "csv", "options": {"sheet": "x"}}),
        "found the option sheet; expected options, of",
    ),
    "model's table": (
        lambda jobs: jobs["orders"]["gold"]["models"].update(total="select * from countries"),
        "jobs.orders.gold.models.total (line 11): found table countries",
    ),
    "model's name": (
        lambda jobs: jobs["orders"]["gold"]["models"].update(metrics="select 1 as a from silver"),
        "found metrics; expected a name that no other table of gold has",
    ),
    "job's name": (lambda jobs: jobs.update({"a/b": {}}), "a plain name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place(case: str) -> None:
    change, said = WRONG[case]
    with pytest.raises(RefusedError) as raised:
        read(change)
    assert said in str(raised.value)
    assert str(raised.value).startswith("shop.yml: ")


def test_what_is_said_of_one_job_is_put_into_it() -> None:
    workflow = asked_workflow(read(), "orders", "landing/shop/orders/may.csv", ["code"])
    assert workflow.jobs["orders"].files == "may.csv"
    assert workflow.jobs["orders"].primary_keys == ("code",)
    assert workflow.jobs["customers"] == read().jobs["customers"]
    assert asked_workflow(read(), None, None, ()) == read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ordrs", None, ()), "found ordrs; expected one of orders, reports"),
        ((None, "a.csv", ()), "a job_id beside landing_key"),
        ((None, None, ("id",)), "a job_id beside primary_keys"),
        (("orders", "landing/other/orders/a.csv", ()), "a file below landing/shop/orders/"),
    ],
)
def test_what_cannot_be_asked_for_is_told(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(RefusedError) as raised:
        asked_workflow(read(), *arguments)
    assert said in str(raised.value)
