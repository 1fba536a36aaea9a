"""Tables as Excel workbooks."""

import re
import shutil
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.folders import stored_zip
from flows.tables.table import Table, rows_of

SHEET_ROWS, SHEET_COLUMNS, CELL_CHARACTERS = 2**20, 2**14, 2**15 - 1
CELLS = re.compile(r"(U?(TINY|SMALL|BIG)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN|VARCHAR)$")
"""The types that a sheet has cells for."""
FLOAT_DIGITS = 15
ROWS_AT_ONCE = 2**13
LARGEST_EXACT = 2**53
"""Sheets hold numbers as floats: integers beyond stand there as text."""


def write_workbook(
    connection: duckdb.DuckDBPyConnection, table: Table, columns: str, name: str, path: Path
) -> None:
    """Write a table as a workbook of one sheet, with the same bytes every time.

    Args:
        columns: SQL for what the cells of each column hold

    Raises:
        ValueError: if a sheet cannot hold all of it.
    """
    import xlsxwriter

    if table.rows >= SHEET_ROWS:
        raise ValueError(f"table {name} has {table.rows:,} rows, and a sheet has {SHEET_ROWS:,}")
    if len(table.columns) > SHEET_COLUMNS:
        raise ValueError(
            f"table {name} has {len(table.columns):,} columns, and a sheet has {SHEET_COLUMNS:,}"
        )
    deflated = path.with_name(f"{path.name}.deflated")
    book = xlsxwriter.Workbook(deflated, {"constant_memory": True, "strings_to_urls": False})
    book.set_properties({"created": datetime(1980, 1, 1, tzinfo=UTC).replace(tzinfo=None)})
    sheet = book.add_worksheet(name[:31])
    for number, column in enumerate(table.columns):
        sheet.write_string(0, number, column.name)
    rows = connection.execute(f"select {columns} from {rows_of(table.file)}")  # noqa: S608
    at = 0
    while batch := rows.fetchmany(ROWS_AT_ONCE):
        for row in batch:
            at += 1
            for number, value in enumerate(row):
                _write_cell(sheet, at, number, value)
    book.close()
    with zipfile.ZipFile(deflated) as archive:
        parts = path.with_name(f"{path.name}.parts")
        archive.extractall(parts)
        stored_zip(path, [(part, parts / part) for part in archive.namelist()])
    shutil.rmtree(parts)
    deflated.unlink()


def _write_cell(sheet: Any, row: int, column: int, value: object) -> None:
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() if abs(value) < LARGEST_EXACT:
            sheet.write_number(row, column, value)
        case Decimal() if len(value.as_tuple().digits) <= FLOAT_DIGITS:
            sheet.write_number(row, column, float(value))
        case _ if len(str(value)) > CELL_CHARACTERS:
            raise ValueError(
                f"row {row:,}, column {column + 1} has {len(str(value)):,} characters, and a cell of a sheet "
                f"{CELL_CHARACTERS:,}"
            )
        case _:
            sheet.write_string(row, column, str(value))
