"""Tables as Parquet files, and the DuckDB that reads and writes them."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import duckdb

from flows.tables.quoting import identifier, literal
from larder.artifacts import Artifact, File, Frozen, Output, Warnings

_PARQUET = "format parquet, compression zstd, compression_level 1, row_group_size 122880"
PARQUET = f"{_PARQUET}, geoparquet_version 'BOTH'"
"""How every Parquet file is written. Of its own accord DuckDB forgets that a column without shapes is one."""
WITHOUT_SYSTEM = f"{_PARQUET}, geoparquet_version 'NONE'"
"""The same where the metadata of shapes are given: DuckDB cannot say that there is no reference system."""
NO_PATH_COLUMNS = "hive_partitioning = false"
"""Said wherever DuckDB reads a file: what stands in its path is no part of its rows."""
_opening = threading.Lock()


class Column(Frozen):
    """One column of a table."""

    name: str
    type: str
    """As DuckDB calls it: VARCHAR, BIGINT, ..."""


class Table(Output):
    """One table as Parquet."""

    file: File
    rows: int
    columns: tuple[Column, ...]
    warnings: Warnings = None

    @property
    def warned(self) -> tuple[str, ...]:
        """Its warnings."""
        return self.warnings or ()


class Tables(Output):
    """What a build gives: its tables, by name."""

    tables: dict[str, Table]


@contextmanager
def database(scratch: Path, threads: int = 1) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory that spills into `scratch`.

    On one thread it gives the same bytes every time; on several the row groups of a Parquet file, the order
    of joined rows and the last digits of sums depend on which thread was first.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": "1GB",
        "temp_directory": str(scratch / f".duckdb-{uuid4().hex}"),
        "preserve_insertion_order": True,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = true")
        connection.execute("set enable_progress_bar_print = false")
        yield connection


def done(connection: duckdb.DuckDBPyConnection) -> str:
    """How much of its query a connection has done, for people."""
    share = connection.query_progress()
    return f"{share:.0f} % done" if share >= 0 else "at work"


def confined(connection: duckdb.DuckDBPyConnection, files: Iterable[Path]) -> None:
    """From here on the connection reaches these files and nothing else, and its settings stay."""
    allowed = ", ".join(literal(str(file)) for file in files)
    connection.execute(f"set allowed_paths = [{allowed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


@contextmanager
def small_tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """The one database of this process for made-up tables; a new one takes longer than to fill them."""
    with _opening:
        cursor = _small().cursor()
    with cursor:
        yield cursor


@cache
def _small() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "1GB"})


def rows_of(file: Path | Artifact) -> str:
    """The rows of a Parquet file as they stand in SQL.

    DuckDB would take a part `key=value` of the file's path for a column, even over one of that name.
    """
    return f"read_parquet({literal(str(file))}, {NO_PATH_COLUMNS})"


def read_table(connection: duckdb.DuckDBPyConnection, file: Path) -> Table:
    """What a Parquet file says of its rows and columns.

    Raises:
        duckdb.Error: if it is no Parquet file.
    """
    columns = connection.execute(f"describe from {rows_of(file)}").fetchall()
    counted = connection.execute(f"select count(*) from {rows_of(file)}").fetchall()  # noqa: S608
    return Table(
        file=file,
        rows=counted[0][0],
        columns=tuple(Column(name=name, type=short_type(kind)) for name, kind, *_ in columns),
    )


def usable(names: list[str]) -> list[str]:
    """Column names for SQL: without space around them, and `_` for `-`, `'` and space.

    Raises:
        ValueError: if one is empty, or two are then the same.
    """
    made = [name.strip().translate(str.maketrans("-' ", "___")) for name in names]
    if not made or not all(made):
        raise ValueError("it does not name every column")
    twice = [name for name, times in Counter(map(str.lower, made)).items() if times > 1]
    if twice:
        raise ValueError(f"it names a column twice: {', '.join(twice)}")
    return made


def renamed(names: list[str]) -> list[str]:
    """A warning of the columns whose names `usable` changes; none where it changes none."""
    changed = [f"{name!r} to {made}" for name, made in zip(names, usable(names), strict=True) if name != made]
    return [f"columns renamed: {', '.join(changed)}"] if changed else []


def selected(names: list[str]) -> str:
    """SQL that selects columns under the names that `usable` makes of theirs."""
    named = zip(names, usable(names), strict=True)
    return ", ".join(f"{identifier(name)} as {identifier(made)}" for name, made in named)


def is_geometry(type_: str) -> bool:
    """Whether this is DuckDB's name of a geometry's type."""
    return type_.upper().startswith("GEOMETRY")


def crs_of(type_: str) -> str | None:
    """The coordinate reference system in the name of a geometry's type."""
    found = re.fullmatch(r"GEOMETRY\('(.*)'\)", type_, re.DOTALL | re.IGNORECASE)
    return found[1].replace("''", "'") if found else None


def has_code(crs: str) -> bool:
    """Whether a coordinate reference system, as a type has it, has an authority's code."""
    if not crs.startswith("{"):
        return re.fullmatch(r"\w+:\w+", crs) is not None
    return "id" in json.loads(crs)


def short_type(type_: str) -> str:
    """A type's name as people read it: a CRS by its authority's code, else its name."""
    crs = crs_of(type_)
    try:
        said = json.loads(crs or "")
        authority = said.get("id")
        named = f"{authority['authority']}:{authority['code']}" if authority else said["name"]
        return f"GEOMETRY({literal(named)})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return type_ if crs is None or len(crs) < 40 else "GEOMETRY"
