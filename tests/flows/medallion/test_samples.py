"""The samples: those that are made up here, and those that lie beside a checkout on some machines."""

from pathlib import Path
from typing import Any

import pytest

from flows.medallion.asked import CONFIGURATIONS
from flows.medallion.samples import write_samples
from flows.medallion.stages.layer import Silver
from flows.medallion.workflow.checks import in_order
from flows.tables.table import Table
from tests.flows.medallion.jobs import job, rows, silver_of
from tests.shared import SHARED

MEDALLION = SHARED / "data" / "medallion"
SAMPLES = {
    "Customers.csv": ("customer_id", 20),
    "countries.csv": ("country_code", 16),
    "orders.csv": ("order_id", 30),
    "products.csv": ("product_id", 20),
    "loan_applications.csv": ("application_id", 50),
    "loan_payments.csv": ("payment_id", 10_000),
    "property_valuations.csv": ("valuation_id", 2_971),
    "customer_master_data.xlsx": ("customer_id", 500),
    "bank_product_pricing_2024Q4.xlsx": ("product_id", 20),
}
KEYS = {
    "orders.csv": [("customer_id", "Customers.csv"), ("product_id", "products.csv")],
    "Customers.csv": [("country_code", "countries.csv")],
}
there = pytest.mark.skipif(not MEDALLION.is_dir(), reason="the samples are not on this machine")


def sample(folder: Path, name: str, **given: Any) -> Silver:
    return silver_of(folder, [MEDALLION / name], job(primary_keys=SAMPLES[name][0], **given))


@there
@pytest.mark.parametrize("name", SAMPLES)
def test_all_rows_of_a_sample_reach_silver(tmp_path: Path, name: str) -> None:
    silver = sample(tmp_path, name)
    assert (silver.rows_in, silver.rows_out, silver.duplicates) == (SAMPLES[name][1], SAMPLES[name][1], 0)


def counted(silver: Silver, column: str) -> dict[str, int]:
    return dict(rows(silver.table, column, f"count(*) over (partition by {column})"))


@there
def test_what_is_known_of_the_samples_holds_in_silver(tmp_path: Path) -> None:
    customers = sample(tmp_path, "Customers.csv")
    ids = dict(rows(customers.table, "customer_id", "loyalty_tier"))
    assert sorted(one for one, tier in ids.items() if tier is None) == [7, 15]
    phones = dict(rows(customers.table, "customer_id", "phone"))
    assert sorted(one for one, phone in phones.items() if phone is None) == [3, 7, 13, 17]
    emails = dict(rows(customers.table, "customer_id", "email"))
    assert sorted(one for one, email in emails.items() if email != email.lower()) == [1, 5, 12]
    lower = sample(tmp_path, "Customers.csv", cleaning={"case": {"email": "lower"}})
    assert all(email == email.lower() for (email,) in rows(lower.table, "email"))
    countries = counted(customers, "country_code")
    assert len(countries) == 16
    assert {code: count for code, count in countries.items() if count > 1} == {"US": 3, "CA": 2, "GB": 2}
    assert counted(customers, "loyalty_tier") == {"gold": 8, "silver": 6, "bronze": 4, None: 2}
    payments = counted(sample(tmp_path, "loan_payments.csv"), "payment_status")
    assert payments == {"On-Time": 7030, "Late": 1525, "Extra": 489, "Partial": 482, "Missed": 474}
    approvals = rows(sample(tmp_path, "loan_applications.csv").table, "approval_date")
    assert approvals.count((None,)) == 15


@there
@pytest.mark.parametrize("name", KEYS)
def test_the_foreign_keys_of_the_samples_hold(tmp_path: Path, name: str) -> None:
    parents = {other: sample(tmp_path, other).table for _, other in KEYS[name]}
    rules = [{"foreign_key": {"column": column, "job": other}} for column, other in KEYS[name]]
    of = job(primary_keys=SAMPLES[name][0], rules=rules)
    assert silver_of(tmp_path, [MEDALLION / name], of, parents).rows_rejected == 0


def test_made_up_samples_are_the_same_for_the_same_seed_and_fit_the_shipped_workflow(tmp_path: Path) -> None:
    first, second, other = (
        write_samples(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    content = [
        [file.read_bytes() for files in made.values() for file in files] for made in (first, second, other)
    ]
    assert content[0] == content[1] != content[2]
    workflow = CONFIGURATIONS.read("customer-data")
    silvers: dict[str, Silver] = {}
    for name in in_order(workflow.jobs, workflow.jobs):
        parents: dict[str, Table] = {one: silvers[one].table for one in workflow.jobs[name].parents}
        silvers[name] = silver_of(tmp_path, first[name], workflow.jobs[name], parents)
    assert {name: silver.rows_in for name, silver in silvers.items()} == {
        "countries": 12,
        "customers": 200,
        "products": 40,
        "orders": 1260,
    }
    assert set(silvers["orders"].rejected_by) == {"range_quantity"}
    assert 0 < silvers["orders"].rows_rejected < 30
    assert silvers["orders"].duplicates > 50
    assert not any(silvers[name].rows_rejected for name in ("countries", "customers", "products"))
