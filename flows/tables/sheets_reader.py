"""Sheets of workbooks as Parquet of text columns."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.cell_names import cell_name, column_letters
from flows.tables.column_names import column_names, naming_warnings
from flows.tables.csv_reader import CsvText, copy_text
from flows.tables.file_types import FileType
from flows.tables.other_words import in_our_words
from flows.tables.sheet_parts import OddCells, odd_cells
from flows.tables.sheet_table import RANGE, Sheet, Table, find_table
from flows.tables.workbook import area_of, choose_sheet, opened

MOST_SHOWN = 3


def xlsx_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a sheet with a header as Parquet: all columns are text, empty cells are null.

    Args:
        custom: as `sheet_text` takes it.

    Raises:
        ValueError: where `sheet_text` does.
    """
    text = sheet_text(source, target, custom)
    copy_text(connection, text, target)
    text.file.unlink()
    return list(text.warnings)


def sheet_text(source: Path, target: Path, custom: Mapping[str, Any]) -> CsvText:
    """Write the table of a sheet as plain CSV beside `target`.

    Args:
        custom: `sheet`, by its name (else the first that is visible and not empty); `range`, `header_row` or
            `skip_rows` (else where the table is found to begin); `skip_footer`.

    Raises:
        ValueError: if it is no workbook, there is no such sheet, it is not clear where the table begins, or
            a formula of it has no value.
    """
    options = in_our_words(FileType.XLSX, custom)
    book = opened(source)
    name, told = choose_sheet(book, source, custom)
    sheet = Sheet(book.get_sheet_by_name(name), area_of(options))
    table = find_table(sheet, options)
    odd = odd_cells(source, name)
    _require_values(name, table, sheet, odd)
    given = [table.names[at] for at in table.columns]
    letters = [column_letters(sheet.first_column + at) for at in table.columns]
    names = column_names(given)
    text = target.with_suffix(".sheet.csv")
    with text.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(names)
        writer.writerows(table.rows(sheet))
    warnings = (*told, *table.warnings, *_told_of(table, sheet, odd), *naming_warnings(given, letters))
    return CsvText(text, tuple(names), ",", '"', warnings)


def _require_values(name: str, table: Table, sheet: Sheet, odd: OddCells) -> None:
    """Return if every formula of a table has a value."""
    cells = [at for at in sorted(odd.without_value) if _is_near(at, table, sheet)]
    if not cells:
        return
    row, column = cells[0]
    at = column - sheet.first_column
    called = f" (column {table.names[at]})" if 0 <= at < len(table.names) and table.names[at] else ""
    more = f" and {len(cells) - 1} more hold formulas" if len(cells) > 1 else " holds a formula"
    formula = odd.without_value[cells[0]]
    such = f" (={formula[:60]})" if formula else ""
    raise ValueError(
        f"sheet {name}: {cell_name(row, column)}{called}{more} without a value{such}: open the file in a "
        f"spreadsheet program and save it, or leave such cells out by {RANGE}"
    )


def _told_of(table: Table, sheet: Sheet, odd: OddCells) -> Iterator[str]:
    """Warnings of cells that are read as empty, and are not."""
    errors = [at for at in sorted(odd.errors) if _is_near(at, table, sheet)]
    if errors:
        listed = ", ".join(f"{cell_name(*at)} ({odd.errors[at]})" for at in errors[:MOST_SHOWN])
        more = f" and {len(errors) - MOST_SHOWN} more" if len(errors) > MOST_SHOWN else ""
        yield f"cells with errors are read as empty: {listed}{more}"
    merged = [
        (top, bottom)
        for top, bottom in sheet.sheet.merged_cell_ranges or ()
        if _is_near(top, table, sheet) and top[0] > table.header_row
    ]
    if merged:
        listed = ", ".join(f"{cell_name(*top)}:{cell_name(*bottom)}" for top, bottom in merged[:MOST_SHOWN])
        more = f" and {len(merged) - MOST_SHOWN} more" if len(merged) > MOST_SHOWN else ""
        yield f"of merged cells the first holds the value, the others are empty: {listed}{more}"


def _is_near(cell: tuple[int, int], table: Table, sheet: Sheet) -> bool:
    """Whether a cell lies in a table, or right beside or below it; what lies outside a range does not."""
    row, column = cell
    at = column - sheet.first_column
    near = table.columns[0] - 1 <= at <= table.columns[-1] + 1 and row >= table.header_row
    return near and sheet.area.holds(row, column)
