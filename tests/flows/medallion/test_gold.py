"""Gold: counts, breakdowns, the customer dimension."""

from datetime import datetime
from pathlib import Path

import pytest

from flows.medallion.stages.gold import breakdown, customer_dimension, metrics
from flows.tables.quality import QualityError
from flows.tables.table import Table
from tests.flows.medallion.jobs import INSTANT, job, landed, rows, scratch, silver_of

CUSTOMERS = """customer_id,first_name,last_name,email,country_code,loyalty_tier
1,Ada,Abara,ada@example.com,AT,gold
2,Ben,Berg,,AT,
3,Cleo,Costa,cleo@example.com,BR,gold
"""


def silver(folder: Path, content: str = CUSTOMERS) -> Table:
    of = job(primary_keys="customer_id")
    return silver_of(folder, [landed(folder, "customers.csv", content)], of).table


def test_metrics_count_records_columns_and_nulls(tmp_path: Path) -> None:
    counted = rows(metrics(silver(tmp_path), scratch(tmp_path)))
    assert counted[:2] == [("records", None, 3), ("columns", None, 6)]
    assert dict(row[1:] for row in counted[2:]) == {
        **dict.fromkeys(("customer_id", "first_name", "last_name", "country_code"), 0),
        "email": 1,
        "loyalty_tier": 1,
    }


def test_a_breakdown_counts_each_value(tmp_path: Path) -> None:
    made = breakdown(silver(tmp_path), "loyalty_tier", scratch(tmp_path))
    assert rows(made) == [("gold", 2, 0.666667), (None, 1, 0.333333)]


def test_a_breakdown_by_no_column_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        QualityError, match=r"gold\.breakdowns: there is no column tier; there are customer_id"
    ):
        breakdown(silver(tmp_path), "tier", scratch(tmp_path))


def test_the_customer_dimension_is_there_where_its_columns_are(tmp_path: Path) -> None:
    table = silver(tmp_path)
    made = customer_dimension(table, scratch(tmp_path)).table
    assert made is not None
    (key,) = rows(table, "_sk_id")[0]
    assert rows(made)[0] == (
        *(key, 1, "Ada", "Abara", "ada@example.com", "AT", "gold"),
        datetime.fromisoformat(INSTANT),
    )
    other = silver(tmp_path, "customer_id,name\n1,Ada\n")
    assert customer_dimension(other, scratch(tmp_path)).table is None
