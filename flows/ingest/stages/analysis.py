"""Analysis: what the columns of a CSV file hold."""

import csv
from pathlib import Path

import duckdb

from flows.tables.file_types import FileType
from flows.tables.quoting import identifier, literal
from flows.tables.readers import READERS
from flows.tables.table import NO_PATH_COLUMNS, database
from larder.artifacts import File, Output, Warnings

COLUMNS = ("column", "type", "rows", "nulls", "distinct", "minimum", "maximum")
KINDS = {
    "integer": ("bigint", r"-?(0|[1-9]\d{0,17})"),
    "number": ("double", r"[+-]?(0|[1-9]\d*)?(\.\d+)?([eE][+-]?\d{1,3})?"),
    "date": ("date", r"\d{4}-\d{2}-\d{2}"),
    "time": ("timestamp", r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?"),
}
"""What all values of a column may be read as: DuckDB's name of it, and how it is spelled."""


class Profile(Output):
    """One line for each column of a file."""

    file: File
    rows: int
    warnings: Warnings = None

    @property
    def warned(self) -> tuple[str, ...]:
        """What the reader of the file warned of."""
        return self.warnings or ()


def profile(table: Path, *, scratch: Path) -> Profile:
    """Type, nulls, distinct values and extremes of each column of a CSV file, `profile.csv` in `scratch`."""
    parquet, target = scratch / "table.parquet", scratch / "profile.csv"
    with database(scratch) as connection:
        warnings = READERS[FileType.CSV](connection, table, parquet, {})
        whole = f"select * from read_parquet({literal(str(parquet))}, {NO_PATH_COLUMNS})"  # noqa: S608
        connection.execute(f"create view input as {whole}")
        names = [str(row[0]) for row in connection.execute("describe input").fetchall()]
        lines = [_line(connection, name) for name in names]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    parquet.unlink()
    return Profile(file=target, rows=len(lines), warnings=tuple(warnings) or None)


def _line(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[object, ...]:
    column = identifier(name)
    fits = ", ".join(
        f"count(try_cast({column} as {kind})) filter (regexp_full_match({column}, {literal(spelled)}))"
        for kind, spelled in KINDS.values()
    )
    counted = f"select count(*), count({column}), count(distinct {column}), {fits} from input"  # noqa: S608
    rows, values, distinct, *fitting = connection.execute(counted).fetchall()[0]
    all_fit = [kind for kind, fit in zip(KINDS, fitting, strict=True) if values and fit == values]
    kind = all_fit[0] if all_fit else "text"
    typed = f"cast({column} as {KINDS[kind][0]})" if all_fit else column
    extremes = f"select cast(min({typed}) as varchar), cast(max({typed}) as varchar) from input"  # noqa: S608
    least, most = connection.execute(extremes).fetchall()[0]
    return name, kind, rows, rows - values, distinct, least, most
