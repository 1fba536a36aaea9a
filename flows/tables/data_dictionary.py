"""What each column of a package holds, for those who read its files."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.exports import PackagedFile, place_of, write_text
from flows.tables.quoting import identifier
from flows.tables.table import Table, database, rows_of

TITLES = ("table", "column", "type", "rows", "nulls", "distinct", "min", "max", "example")
LONGEST = 80
MOST_THREADS = 4
"""Each thread needs its share of the memory that DuckDB may take."""


def dictionary(
    title: str, sources: Mapping[str, str], tables: Mapping[str, Table], scratch: Path
) -> tuple[PackagedFile, PackagedFile]:
    """What each column holds, as `data_dictionary.csv` and `data_dictionary.md`."""
    rows = [row for name in sorted(tables) for row in _described(name, tables[name], scratch)]
    path = place_of("data_dictionary.csv", scratch)
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, lineterminator="\n").writerows([TITLES, *rows])
    readable = [f"# {title}", "", *_markdown(TITLES, rows)]
    if sources:
        readable += ["", "## Sources", "", *_markdown(("input", "version"), sorted(sources.items()))]
    return (
        PackagedFile(name="data_dictionary.csv", format="csv", file=path, rows=len(rows)),
        write_text("data_dictionary.md", "md", readable, scratch),
    )


def _described(name: str, table: Table, scratch: Path) -> list[tuple[str, ...]]:
    with database(scratch, threads=min(os.cpu_count() or 1, MOST_THREADS)) as connection:
        return [
            (name, column.name, column.type, *_summary(connection, table, column.name))
            for column in table.columns
        ]


def _summary(connection: duckdb.DuckDBPyConnection, table: Table, column: str) -> tuple[str, ...]:
    """Rows, nulls, distinct values, least, greatest and first value of one column."""
    rows, quoted = rows_of(table.file), identifier(column)
    grouped = f"select {quoted} as value, count(*) as times from {rows} where {quoted} is not null group by 1"  # noqa: S608
    least = connection.execute(
        f"select coalesce(sum(times), 0)::bigint, count(*), min(value)::varchar, max(value)::varchar from ({grouped})",  # noqa: S608, E501
    ).fetchall()[0]
    first = connection.execute(
        f"select {quoted}::varchar from {rows} where {quoted} is not null limit 1",  # noqa: S608
    ).fetchall()
    filled, distinct, low, high = least
    example = first[0][0] if first else None
    return (
        *(str(count) for count in (table.rows, table.rows - filled, distinct)),
        *(_short(value) for value in (low, high, example)),
    )


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    titles = tuple(header)
    return [
        _markdown_row(titles),
        _markdown_row("---" for _ in titles),
        *(_markdown_row(row) for row in rows),
    ]


def _markdown_row(cells: Iterable[str]) -> str:
    shown = (" ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"
