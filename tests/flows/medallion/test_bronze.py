"""Bronze: files as they came, in types that hold every value, and where each row comes from."""

import json
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest
import xlsxwriter

from flows.medallion.stages.source import UnreadableFileError
from tests.flows.medallion.jobs import INSTANT, bronze_of, job, landed, rows

PEOPLE = "id,name,since\n1,Ada,2024-01-31\n2,Ben,2024-02-01\n"


def types(layer: object) -> dict[str, str]:
    return {column.name: column.type for column in layer.schema_ if not column.name.startswith("_")}  # type: ignore[attr-defined]


def test_every_row_says_when_and_from_where_it_came(tmp_path: Path) -> None:
    (made,) = bronze_of(tmp_path, [landed(tmp_path, "people.csv", PEOPLE)])
    assert rows(made.table) == [
        (1, "Ada", date(2024, 1, 31), datetime.fromisoformat(INSTANT), "people.csv", 1),
        (2, "Ben", date(2024, 2, 1), datetime.fromisoformat(INSTANT), "people.csv", 2),
    ]
    assert (made.rows_in, made.rows_out, made.parents) == (2, 2, ("people.csv",))


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "-20", "0"], "BIGINT"),
        (["1", "007"], "VARCHAR"),
        (["1", "1234567890123456789"], "VARCHAR"),
        (["123456789012345678", "1.5"], "VARCHAR"),
        (["1", "2.50", "-0.001"], "DOUBLE"),
        (["1.12345678901234567", "1"], "VARCHAR"),
        (["1e5", "2"], "VARCHAR"),
        (["true", "False", ""], "BOOLEAN"),
        (["2024-02-29", "2023-12-31"], "DATE"),
        (["2024-02-30", "2023-12-31"], "VARCHAR"),
        (["2024-02-28", "2023-12-31 10:00:01.5"], "TIMESTAMP"),
        (["2024-02-28T24:00", ""], "VARCHAR"),
        (["1", "2024-01-01"], "VARCHAR"),
        (["", ""], "VARCHAR"),
    ],
)
def test_a_column_has_the_narrowest_type_that_holds_all_of_its_values(
    tmp_path: Path, values: list[str], type_: str
) -> None:
    content = "id,value\n" + "".join(f"{number},{value}\n" for number, value in enumerate(values))
    (made,) = bronze_of(tmp_path, [landed(tmp_path, "a.csv", content)])
    assert types(made)["value"] == type_


def test_the_last_of_many_rows_decides_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.tables.inference.BLOCK_BYTES", 1000)
    lines = "".join(f'{number},"line\none, {number}",{number}\n' for number in range(500))
    (made,) = bronze_of(tmp_path, [landed(tmp_path, "a.csv", f"id,note,code\n{lines}500,x,00500\n")])
    assert types(made) == {"id": "BIGINT", "note": "VARCHAR", "code": "VARCHAR"}
    assert rows(made.table, "note", "code")[-2:] == [("line\none, 499", "499"), ("x", "00500")]


def test_files_of_one_job_get_the_types_that_hold_the_values_of_all(tmp_path: Path) -> None:
    files = [
        landed(tmp_path, "a.csv", "id,code,day\n1,2,2024-01-01\n"),
        landed(tmp_path, "b.csv", "id,code,day\n2,2.5,2024-01-01 10:00\n"),
        landed(tmp_path, "c.csv", "id,code,day,more\n,,,x\n"),
    ]
    made = bronze_of(tmp_path, files)
    assert [types(layer) for layer in made[:2]] == [
        {"id": "BIGINT", "code": "DOUBLE", "day": "TIMESTAMP"}
    ] * 2
    assert types(made[2]) == {"id": "BIGINT", "code": "DOUBLE", "day": "TIMESTAMP", "more": "VARCHAR"}


def test_a_declared_type_wins(tmp_path: Path) -> None:
    given = job(columns={"id": "text", "price": "decimal(12, 2)"})
    (made,) = bronze_of(tmp_path, [landed(tmp_path, "a.csv", "id,price\n1,2.5\n")], given)
    assert types(made) == {"id": "VARCHAR", "price": "DECIMAL(12,2)"}


def workbook(folder: Path) -> Path:
    file = landed(folder, "people.xlsx", b"")
    with xlsxwriter.Workbook(str(file)) as book:
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet = book.add_worksheet("People")
        for at, row in enumerate([("id", "name"), (1, "Ada"), (2, "Ben")]):
            sheet.write_row(at, 0, row)
        sheet.write(0, 2, "since")
        sheet.write_datetime(1, 2, date(2024, 1, 31), day)
        sheet.write_datetime(2, 2, date(2024, 2, 1), day)
    return file


def parquet(folder: Path) -> Path:
    file = landed(folder, "people.parquet", b"")
    file.unlink()
    values = "(1, 'Ada', date '2024-01-31'), (2, 'Ben', date '2024-02-01')"
    duckdb.sql(f"copy (from (values {values}) t(id, name, since)) to '{file}'")
    return file


def lines_of_json(folder: Path) -> Path:
    people = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Ben"}]
    return landed(folder, "people.jsonl", "".join(json.dumps(one) + "\n" for one in people))


@pytest.mark.parametrize(
    ("made_by", "expected"),
    [
        (workbook, [(1, "Ada", date(2024, 1, 31)), (2, "Ben", date(2024, 2, 1))]),
        (parquet, [(1, "Ada", date(2024, 1, 31)), (2, "Ben", date(2024, 2, 1))]),
        (lines_of_json, [(1, "Ada"), (2, "Ben")]),
    ],
    ids=["xlsx", "parquet", "json"],
)
def test_every_format_becomes_the_same_rows(tmp_path: Path, made_by: object, expected: object) -> None:
    (made,) = bronze_of(tmp_path, [made_by(tmp_path)])  # type: ignore[operator]
    names = [column.name for column in made.schema_ if not column.name.startswith("_")]
    assert rows(made.table, *names) == expected
    assert rows(made.table, "_row_number") == [(1,), (2,)]


BAD = {
    "empty": ("a.csv", b"", {}, "it is empty; expected is a file with a header and rows"),
    "header only": ("a.csv", b"id,name\n", {}, "it has a header and no rows"),
    "wrong encoding": ("a.csv", "id,name\n1,Zoë\n".encode("latin-1"), {}, "not UTF-8"),
    "ragged, short": ("a.csv", b"id,name\n1,Ada\n2\n", {}, "line 3 has 1 in place of 2 columns"),
    "ragged, long": ("a.csv", b"id,name\n1,Ada\n2,Ben,x\n", {}, "line 3 has 3 in place of 2 columns"),
    "header again": ("a.csv", b"id,name\n1,Ada\nid,name\n2,Ben\n", {}, "its header stands in it again"),
    "no such sheet": (
        "a.xlsx",
        workbook,
        {"file": {"options": {"sheet": "Orders"}}},
        "there is no sheet Orders",
    ),
    "no workbook": ("a.xlsx", b"id,name\n", {}, "it is no workbook"),
    "no json": ("a.json", b'[{"id": 1}, {"id"', {}, "cannot be read"),
    "html": ("a.csv", b"<!doctype html><p>Not found</p>", {}, "it is a page of HTML"),
    "unknown ending": ("a.dat", b"id,name\n1,Ada\n", {}, "its name does not say what it is"),
    "audit column": (
        "a.csv",
        b"id,_row_number\n1,Ada\n",
        {},
        "_row_number has the name of one that is added",
    ),
    "declared column": (
        "a.csv",
        b"id,name\n1,Ada\n",
        {"columns": {"nmae": "text"}},
        "declares the column nmae",
    ),
    "declared type": (
        *("a.csv", b"id,name\n1,Ada\n2,Ben\n", {"columns": {"name": "integer"}}),
        "line 2 has 'Ada' in column name, which is declared as integer",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    name, content, given, said = BAD[case]
    file = content(tmp_path) if callable(content) else landed(tmp_path, str(name), content)  # type: ignore[arg-type]
    with pytest.raises(UnreadableFileError, match=str(said)) as raised:
        bronze_of(tmp_path, [file], job(**given))  # type: ignore[arg-type]
    assert file.name in str(raised.value) or "configuration" in str(raised.value)


def test_a_file_without_rows_is_right_where_the_job_says_so(tmp_path: Path) -> None:
    given = job(file={"may_have_no_rows": True})
    (made,) = bronze_of(tmp_path, [landed(tmp_path, "a.csv", "id,name\n")], given)
    assert made.rows_out == 0
    assert made.warned == ("a.csv has no rows",)


def test_the_same_file_makes_the_same_bytes(tmp_path: Path) -> None:
    first, second = (bronze_of(tmp_path, [landed(tmp_path, "a.csv", PEOPLE)])[0] for _ in range(2))
    assert Path(str(first.table.file)).read_bytes() == Path(str(second.table.file)).read_bytes()
