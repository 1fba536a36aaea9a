"""Sheets as people keep them: the table in them, or what is wrong, where, and what helps."""

import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from flows.tables.cell_names import cell_name, column_letters, column_number
from flows.tables.complaints import complaint
from flows.tables.sheets_reader import xlsx_to_parquet
from flows.tables.table import database

Rows = Sequence[Sequence[object]]
Write = Callable[[Any], None]
Loaded = tuple[list[str], list[tuple[str | None, ...]], list[str]]
Load = Callable[..., Loaded]

TABLE: Rows = [["id", "name", "seats"], ["001", "PS 1", 300], ["002", "PS 2", 250]]
COLUMNS = ["id", "name", "seats"]
ROWS = [("001", "PS 1", "300"), ("002", "PS 2", "250")]


def filled(rows: Rows, *, top: int = 0, left: int = 0, name: str | None = None) -> Write:
    """Writes a sheet of these rows."""

    def write(book: Any) -> None:
        sheet = book.add_worksheet(name)
        formats = {
            datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"}),
            time: book.add_format({"num_format": "hh:mm:ss"}),
            timedelta: book.add_format({"num_format": "[h]:mm:ss"}),
        }
        for at, row in enumerate(rows, top):
            for column, value in enumerate(row, left):
                if isinstance(value, timedelta):
                    sheet.write_number(at, column, value / timedelta(days=1), formats[timedelta])
                elif isinstance(value, datetime | time):
                    sheet.write_datetime(at, column, value, formats[type(value)])
                elif isinstance(value, str):
                    write = sheet.write_formula if value.startswith("=") else sheet.write_string
                    write(at, column, value)
                elif value is not None:
                    sheet.write(at, column, value)

    return write


def sheets(*writes: Write) -> Write:
    def write(book: Any) -> None:
        for one in writes:
            one(book)

    return write


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Columns, rows and warnings of a workbook, whose formulas may be saved without values."""

    def load(write: Write, *, values: bool = True, **custom: Any) -> Loaded:
        source, target = tmp_path / "book.xlsx", tmp_path / "table.parquet"
        book = xlsxwriter.Workbook(source)
        write(book)
        book.close()
        if not values:
            without_values(source)
        with database(tmp_path) as connection:
            warnings = xlsx_to_parquet(connection, source, target, custom)
            found = connection.execute(f"from '{target}'")
            return [column[0] for column in found.description], found.fetchall(), warnings

    return load


def without_values(source: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(source, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, re.sub(rb"(</f>)<v>[^<]*</v>", rb"\1", content))


def refusal(load: Load, write: Write, **given: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        load(write, **given)
    return complaint(caught.value, Path("book.xlsx"))


@pytest.mark.parametrize(
    ("write", "custom", "said"),
    [
        (filled(TABLE), {}, []),
        (filled(TABLE, top=3, left=2), {}, []),
        (
            filled([["School capacity"], ["as of 31 January"], [], *TABLE]),
            {},
            ["the table begins in row 4; left out above it: row 1 ('School capacity'), row 2 ('as of"],
        ),
        (
            filled([["Capacity"], *TABLE], left=1),
            {},
            ["the table begins in row 2; left out above it: row 1 ("],
        ),
        (
            filled([["By:", "DCP"], [], *TABLE]),
            {},
            ["the table begins in row 3; left out above it: row 1 ('By:"],
        ),
        (
            filled([*TABLE, [], ["Source: DCP"], [], ["printed today"]]),
            {},
            ["left out below the table: row 5 ('Source: DCP'), row 7 ('printed today')"],
        ),
        (filled([TABLE[0], [], *TABLE[1:]]), {}, ["empty rows are left out: row 2"]),
        (
            filled([TABLE[0], [*TABLE[1], None, None, "a note"], TABLE[2]]),
            {},
            ["cells beside the table, from column F on, are left out: say `custom: {range: …}` if"],
        ),
        (filled([["a", "b", "c"], *TABLE]), {"header_row": 2}, []),
        (filled([["a", "b", "c"], *TABLE]), {"skip_rows": 1}, []),
        (filled([["a", "b", "c"], [], *TABLE]), {"skiprows": 1}, []),
        (filled([["a", "b", "c"], *TABLE, [1, 2, 3]], left=1), {"range": "B2:D4"}, []),
        (filled([["a", "b", "c"], *TABLE], left=1), {"range": "$B$2"}, []),
        (filled([["a", "b", *TABLE[0]], ["c", "d", *TABLE[1]], [1, 2, *TABLE[2]]]), {"range": "C:E"}, []),
        (filled([*TABLE, ["Total", None, 550]]), {"skip_footer": 1}, []),
    ],
)
def test_the_table_is_found_or_declared(
    load: Load, write: Write, custom: dict[str, Any], said: list[str]
) -> None:
    names, rows, warnings = load(write, **custom)
    assert (names, rows) == (COLUMNS, ROWS)
    assert [warning[: len(start)] for warning, start in zip(warnings, said, strict=True)] == said


@pytest.mark.parametrize(
    ("rows", "custom", "parts"),
    [
        ([["Report"], ["id", 1, 2], [1, 2, 3]], {}, ["row 1 holds 'Report' alone", "{header_row: …}"]),
        (
            [[None, "2024", None, "2025", None], ["id", "a", "b", "a", "b"], [1, 2, 3, 4, 5]],
            {},
            ["row 1 names 2 of 5 columns", "row 2 may be the header", "header_row"],
        ),
        (TABLE, {"header_row": 9}, ["nothing in the sheet from row 9 on", "header_row"]),
        (TABLE, {"range": "X1:Z9"}, ["nothing in X1:Z9"]),
        (TABLE, {"sheet": "Third"}, ["there is no sheet Third; there are Sheet1"]),
        (TABLE, {"sheet": "sheet1"}, ["there is no sheet sheet1", "'Sheet1' may be meant"]),
        (TABLE, {"sheet": 0}, ["there is no sheet 0"]),
        ([], {}, ["none of its sheets has a cell"]),
    ],
)
def test_what_is_not_clear_is_told(load: Load, rows: Rows, custom: dict[str, Any], parts: list[str]) -> None:
    said = refusal(load, filled(rows), **custom)
    assert not [part for part in parts if part not in said], said


def test_a_last_row_that_may_be_a_note_is_told(load: Load) -> None:
    _, rows, warnings = load(filled([*TABLE, ["Source: DCP"]]))
    assert rows == [*ROWS, ("Source: DCP", None, None)]
    assert warnings[0].startswith("row 4, the last, has a value in its first column alone ('Source: DCP')")


def test_columns_get_names_of_their_own(load: Load) -> None:
    names, rows, warnings = load(filled([[None, "n", "n"], [1, 2, 3]], left=1))
    assert (names, rows) == (["column_1", "n", "n_2"], [("1", "2", "3")])
    assert warnings == [
        "columns without a name are named: column B to column_1",
        "columns renamed: 'n' to n_2",
    ]


FORMULAS: Rows = [["id", "units", "total"], [1, 10, "=B2*2"], [2, 20, "=B3*2"]]


def test_formulas_without_values_are_refused_with_their_cell(load: Load) -> None:
    assert load(filled(FORMULAS))[1] == [("1", "10", "0"), ("2", "20", "0")]
    said = refusal(load, filled(FORMULAS, top=2, name="Data"), values=False)
    assert said.startswith(
        "sheet Data: C4 (column total) and 1 more hold formulas without a value (=B2*2): open"
    )
    assert "`custom: {range: …}`" in said
    assert load(filled(FORMULAS), values=False, range="A:B")[1] == [("1", "10"), ("2", "20")]
    assert "C2 (column total) holds a formula" in refusal(load, filled(FORMULAS), values=False, range="A1:C2")


def test_errors_and_merged_cells_are_told(load: Load) -> None:
    def write(book: Any) -> None:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "v"])
        sheet.write_row(1, 0, [1])
        sheet.write_formula(1, 1, "=NA()", None, "#N/A")
        sheet.merge_range(2, 0, 3, 0, "both")
        sheet.write_column(2, 1, ["x", "y"])

    assert load(write)[1:] == (
        [("1", None), ("both", "x"), (None, "y")],
        [
            "cells with errors are read as empty: B2 (#N/A)",
            "of merged cells the first holds the value, the others are empty: A3:A4",
        ],
    )


def lookup(book: Any) -> None:
    sheet = book.add_worksheet("Lookup")
    sheet.write_column(0, 0, ["x", "y"])
    sheet.hide()


def chart(book: Any) -> None:
    line = book.add_chart({"type": "line"})
    line.add_series({"values": "=Lookup!$A$1:$A$2"})
    book.add_chartsheet("Chart").set_chart(line)


def active(book: Any) -> None:
    filled(TABLE, name="Data")(book)
    book.get_worksheet_by_name("Data").activate()


README = filled([["About"], ["Prepared by us"]], name="ReadMe")


def test_a_hidden_sheet_a_chart_and_an_empty_sheet_are_not_the_first(load: Load) -> None:
    write = sheets(lookup, chart, filled([], name="Empty"), active)
    assert load(write) == (COLUMNS, ROWS, [])
    assert load(write, sheet="Lookup") == (["x"], [("y",)], [])
    assert "no sheet Chart; there are Lookup, Empty, Data" in refusal(load, write, sheet="Chart")


def test_of_several_sheets_it_is_said_which_was_taken(load: Load) -> None:
    _, _, warnings = load(sheets(README, filled(TABLE, name="Data")))
    assert warnings == ["sheet ReadMe was taken, the first of ReadMe, Data: say `custom: {sheet: …}`"]


@pytest.mark.parametrize(
    "custom", [{"sheet": "Data"}, {"sheet_name": "Data"}, {"sheet_name": 1}, {"range": "Data!A1:C3"}]
)
def test_a_sheet_is_named_in_several_words(load: Load, custom: dict[str, Any]) -> None:
    assert load(sheets(README, filled(TABLE, name="Data")), **custom) == (COLUMNS, ROWS, [])


HOURS = timedelta(hours=1)


def moment(*parts: int) -> datetime:
    year, month, day, *clock = parts
    return datetime(year, month, day, *clock, tzinfo=UTC).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([moment(2024, 1, 31, 19), moment(2024, 1, 31)], ["2024-01-31T19:00:00", "2024-01-31T00:00:00"]),
        ([moment(2024, 1, 31), moment(2024, 2, 1)], ["2024-01-31", "2024-02-01"]),
        (
            [moment(2024, 1, 31, 19, 0, 0, 500_000), moment(2024, 1, 31, 19)],
            ["2024-01-31T19:00:00.500", "2024-01-31T19:00:00.000"],
        ),
        ([255 * HOURS + timedelta(minutes=10, seconds=10), 5 * HOURS], ["255:10:10", "05:00:00"]),
        ([30 * HOURS, 0 * HOURS, -12 * HOURS], ["30:00:00", "00:00:00", "-12:00:00"]),
        ([time(19), time(0)], ["19:00:00", "00:00:00"]),
        ([time(19), moment(1900, 1, 2, 18), moment(1900, 1, 3)], ["19:00:00", "66:00:00", "72:00:00"]),
        ([30 * HOURS, time(19, 0, 1)], ["30:00:00", "19:00:01"]),
        ([1, 1.5, True, "1"], ["1", "1.5", "true", "1"]),
    ],
)
def test_the_cells_of_a_column_have_one_form(load: Load, values: Iterable[object], texts: list[str]) -> None:
    rows = [["id", "value"], *([str(at), value] for at, value in enumerate(values))]
    assert [value for _, value in load(filled(rows))[1]] == texts


def test_a_workbook_of_1904_has_its_days(tmp_path: Path) -> None:
    file = tmp_path / "mac.xlsx"
    book = xlsxwriter.Workbook(file, {"date_1904": True})
    filled([["day"], [moment(2024, 1, 31)]])(book)
    book.close()
    with database(tmp_path) as connection:
        xlsx_to_parquet(connection, file, tmp_path / "t.parquet", {})
        assert connection.execute(f"from '{tmp_path}/t.parquet'").fetchall() == [("2024-01-31",)]


def test_columns_have_letters() -> None:
    for number, letters in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")]:
        assert (column_letters(number), column_number(letters)) == (letters, number)
    assert cell_name(6, 1) == "B7"
