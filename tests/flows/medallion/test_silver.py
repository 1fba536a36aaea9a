"""Silver: cleaned, checked, each row once."""

from pathlib import Path
from typing import Any

import pytest

from flows.medallion.stages.layer import Silver
from flows.tables.quality import QualityError
from flows.tables.table import Table
from tests.flows.medallion.jobs import job, landed, rows, silver_of

ORDERS = """id,customer,quantity,email,status
1,a,1,Ada@Example.com,open
2,b,20, ben@example.com ,open
3,,3,,closed
4,c,4,nobody,lost
"""


def made(
    folder: Path, content: str = ORDERS, parents: dict[str, Table] | None = None, **given: Any
) -> Silver:
    return silver_of(folder, [landed(folder, "orders.csv", content)], job(**given), parents)


def test_without_rules_every_row_stays_with_its_key(tmp_path: Path) -> None:
    silver = made(tmp_path, primary_keys="id")
    assert [column.name for column in silver.schema_][-4:] == [
        "_ingested_at",
        "_source_file",
        "_row_number",
        "_sk_id",
    ]
    assert rows(silver.table, "id") == [(1,), (2,), (3,), (4,)]
    assert len(set(rows(silver.table, "_sk_id"))) == 4
    assert (silver.rows_in, silver.rows_out, silver.rows_rejected, silver.duplicates) == (4, 4, 0, 0)
    assert silver.quarantine.rows == 0


RULES = {
    "not_null": ({"not_null": "customer"}, "not_null_customer", [3]),
    "range": ({"range": {"column": "quantity", "min": 2, "max": 10}}, "range_quantity", [1, 2]),
    "pattern": ({"pattern": {"column": "email", "matches": "@"}}, "pattern_email", [4]),
    "enum": ({"enum": {"column": "status", "values": ["open", "closed"]}}, "enum_status", [4]),
    "expression": ("quantity < 4 or customer = 'c'", "(quantity < 4 or customer = 'c')", [2]),
    "unique": ({"name": "one_status", "unique": "status"}, "one_status", [1]),
}


@pytest.mark.parametrize("kind", RULES)
def test_rows_that_break_a_rule_go_to_the_quarantine_as_they_came(tmp_path: Path, kind: str) -> None:
    rule, name, broken = RULES[kind]
    silver = made(
        tmp_path, primary_keys="id", rules=[rule], cleaning={"trim": True, "case": {"email": "lower"}}
    )
    assert rows(silver.quarantine, "id", "_rejected_by") == [(one, name) for one in broken]
    assert rows(silver.table, "id") == [(one,) for one in (1, 2, 3, 4) if one not in broken]
    assert (silver.rows_in, silver.rows_rejected) == (4, len(broken))
    assert silver.rejected_by == {name: len(broken)}
    shown = dict(rows(silver.quarantine, "id", "email"))
    assert shown.get(2, " ben@example.com ") == " ben@example.com "


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_may_fail_the_run_or_only_warn(tmp_path: Path, kind: str) -> None:
    rule, name, broken = RULES[kind]
    given = rule if isinstance(rule, dict) else {"expression": rule}
    said = f"rule {name} does not hold for {len(broken)} rows, first: orders.csv row {broken[0]}"
    warned = made(tmp_path, primary_keys="id", rules=[{**given, "on_failure": "warn"}])  # type: ignore[dict-item]
    assert warned.rows_out == 4
    assert [one.startswith(said) for one in warned.warned] == [True]
    with pytest.raises(QualityError) as raised:
        made(tmp_path, primary_keys="id", rules=[{**given, "on_failure": "fail"}])  # type: ignore[dict-item]
    assert str(raised.value).startswith(said)


def test_a_row_may_break_several_rules(tmp_path: Path) -> None:
    silver = made(tmp_path, rules=[{"not_null": "customer"}, {"not_null": "email"}, {"unique": "status"}])
    assert rows(silver.quarantine, "id", "_rejected_by") == [
        (1, "unique_status"),
        (3, "not_null_customer, not_null_email"),
    ]


def test_a_foreign_key_looks_into_the_silver_of_another_job(tmp_path: Path) -> None:
    parent = made(tmp_path, "code,name\na,Ada\nc,Cleo\n", primary_keys="code")
    rule = {"foreign_key": {"column": "customer", "job": "customers", "references": "code"}}
    silver = made(tmp_path, rules=[rule], parents={"customers": parent.table})
    assert rows(silver.quarantine, "id", "_rejected_by") == [(2, "foreign_key_customer")]
    assert silver.parents == ("orders.csv", "silver of customers")


def test_values_are_mended_in_the_declared_order(tmp_path: Path) -> None:
    content = "id,name,day,amount\n1,  ADA ,31.01.2024,1.50\n2,n/a,01.02.2024,x\n3, ,,2\n"
    cleaning = {
        "trim": ["name"],
        "null_words": ["N/A"],
        "case": {"name": "lower"},
        "types": {"day": "date", "amount": "decimal(10,2)"},
        "formats": {"day": "%d.%m.%Y"},
    }
    silver = made(tmp_path, content, cleaning=cleaning)
    shown = "id", "name", "day::varchar", "amount::varchar"
    assert rows(silver.table, *shown) == [(1, "ada", "2024-01-31", "1.50"), (3, None, None, "2.00")]
    assert rows(silver.quarantine, "id", "name", "amount", "_rejected_by") == [
        (2, "n/a", "x", "type_of_amount")
    ]
    lenient = made(tmp_path, content, cleaning={**cleaning, "on_failure": "warn"})
    assert rows(lenient.table, "id", "amount::varchar") == [(1, "1.50"), (2, None), (3, "2.00")]


def test_of_rows_with_one_key_the_last_stays(tmp_path: Path) -> None:
    content = "id,part,value\n1,a,old\n1,b,other\n2,a,kept\n1,a,new\n"
    silver = made(tmp_path, content, primary_keys=["id", "part"])
    assert rows(silver.table, "value") == [("other",), ("kept",), ("new",)]
    assert silver.duplicates == 1


def test_without_a_key_rows_with_the_same_values_are_one(tmp_path: Path) -> None:
    silver = made(tmp_path, "id,value\n1,\n2,b\n1,\n1,b\n")
    assert rows(silver.table, "id", "value") == [(2, "b"), (1, None), (1, "b")]
    assert (silver.rows_in, silver.rows_out, silver.duplicates) == (4, 3, 1)


def test_a_row_that_a_rule_rejects_takes_the_place_of_none(tmp_path: Path) -> None:
    silver = made(
        tmp_path,
        "id,value\n1,10\n1,-1\n",
        primary_keys="id",
        rules=[{"range": {"column": "value", "min": 0}}],
    )
    assert rows(silver.table, "id", "value") == [(1, 10)]
    assert silver.duplicates == 0


def test_a_row_without_a_key_is_not_lost(tmp_path: Path) -> None:
    silver = made(tmp_path, "id,value\n,a\n,b\n1,c\n", primary_keys="id")
    assert rows(silver.quarantine, "value", "_rejected_by") == [("a", "primary_key"), ("b", "primary_key")]


def test_the_same_row_has_the_same_key_on_every_run_and_in_every_type(tmp_path: Path) -> None:
    first = made(tmp_path, "id,value\n7,a\n", primary_keys="id")
    second = made(tmp_path, "id,value\nx,b\n7,other\n", primary_keys="id")
    assert rows(first.table, "_sk_id")[0] == rows(second.table, "_sk_id")[1]
    (whole,), (wider,) = (
        rows(made(tmp_path, content).table, "_sk_id") for content in ("id,a\n1,x\n", "id,a,b\n1,x,\n")
    )
    assert whole == wider


def test_many_rows_are_compared_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.medallion.stages.verdicts.ROWS_AT_ONCE", 50)
    content = "id,value\n" + "".join(f"{number % 300},{number}\n" for number in range(400))
    rule = {"range": {"column": "value", "max": 389}}
    silver = made(tmp_path, content, primary_keys="id", rules=[rule])
    expected = [*range(90, 300), *range(300, 390)]
    assert rows(silver.table, "value") == [(value,) for value in expected]
    assert (silver.duplicates, silver.rows_rejected) == (90, 10)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"primary_keys": "order_id"}, "primary_keys: there is no column order_id; there are id, customer"),
        ({"rules": [{"not_null": "emial"}]}, "rule not_null_emial: there is no column emial"),
        ({"rules": [{"unique": "emial"}]}, "rule unique_emial: there is no column emial"),
        ({"rules": ["quantty > 1"]}, r"rule \(quantty > 1\) cannot be run"),
        ({"cleaning": {"types": {"emial": "date"}}}, "cleaning: there is no column emial"),
    ],
)
def test_what_names_no_column_is_told(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(QualityError, match=said):
        made(tmp_path, **given)


def test_files_without_a_column_are_told(tmp_path: Path) -> None:
    files = [landed(tmp_path, "a.csv", "id,more\n1,x\n"), landed(tmp_path, "b.csv", "id\n2\n")]
    silver = silver_of(tmp_path, files)
    assert silver.warned == ("b.csv has no column more: null in its rows",)
    assert rows(silver.table, "id", "more", "_source_file") == [(1, "x", "a.csv"), (2, None, "b.csv")]


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    first, second = (made(tmp_path, primary_keys="id", rules=[{"not_null": "email"}]) for _ in range(2))
    for one, other in ((first.table, second.table), (first.quarantine, second.quarantine)):
        assert Path(str(one.file)).read_bytes() == Path(str(other.file)).read_bytes()
