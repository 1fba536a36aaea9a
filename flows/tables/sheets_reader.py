"""Sheets of workbooks as Parquet of text columns."""

import csv
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.csv_reader import csv_to_parquet


def xlsx_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a sheet with a header as Parquet: all columns are text, empty cells are null.

    Args:
        custom: as `sheet_to_csv` takes it.

    Raises:
        ValueError: where `sheet_to_csv` does.
    """
    text = sheet_to_csv(source, target.with_suffix(".csv"), custom)
    warnings = csv_to_parquet(connection, text, target, {"delimiter": ","})
    text.unlink()
    return warnings


def sheet_to_csv(source: Path, text: Path, custom: Mapping[str, Any]) -> Path:
    """Write a sheet as CSV in UTF-8, as `text`.

    Args:
        custom: `sheet`, by its name; else the first.

    Raises:
        ValueError: if it is no workbook, or there is no such sheet.
    """
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_path(str(source))
    except python_calamine.CalamineError as error:
        raise ValueError(f"it is no workbook ({error})") from error
    wanted = str(custom.get("sheet") or book.sheet_names[0])
    if wanted not in book.sheet_names:
        raise ValueError(f"there is no sheet {wanted}; there are {', '.join(book.sheet_names)}")
    with text.open("w", newline="", encoding="utf-8") as lines:
        for row in book.get_sheet_by_name(wanted).iter_rows():
            csv.writer(lines, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(map(_cell, row))
    return text


def _cell(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)
