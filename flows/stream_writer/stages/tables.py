"""The Parquet files of events: their columns, and how they are written and joined."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from flows.stream_writer.declared import Columns, Kind
from flows.tables.quoting import identifier, literal
from flows.tables.table import NO_PATH_COLUMNS, PARQUET

TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.NUMBER: "DOUBLE",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.TIMESTAMP: "TIMESTAMPTZ",
    Kind.JSON: "VARCHAR",
}
FROM_MESSAGE = {"_message_id": "VARCHAR", "_timestamp": "TIMESTAMPTZ"}
FROM_BATCH = {"_stream": "VARCHAR", "_processed_at": "TIMESTAMPTZ"}
IN_QUARANTINE = {"reason": "VARCHAR", "found": "VARCHAR", "message": "VARCHAR"}
BY_ID = "split_part(_message_id, '-', 1)::ubigint, split_part(_message_id, '-', 2)::ubigint, _processed_at"


def columns_of(declared: Columns | None) -> dict[str, str]:
    """Names and types of a table's columns that rows bring; those of quarantine where none are declared."""
    if declared is None:
        return {**FROM_MESSAGE, **IN_QUARANTINE}
    return {**FROM_MESSAGE, **{name: TYPES[kind] for name, kind in declared.items()}, "_other": "VARCHAR"}


class Lines(NamedTuple):
    """Rows as lines of JSON."""

    file: Path
    columns: Mapping[str, str]
    """Names and types of what a line may hold."""
    longest_bytes: int
    """Of a line; about twice as much is held in memory."""


def to_parquet(
    connection: duckdb.DuckDBPyConnection, lines: Lines, own: Mapping[str, str], target: Path
) -> None:
    """Rows as Parquet, in their order.

    Args:
        own: values that are the same in every row, by the name of their column
    """
    kinds = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in lines.columns.items())
    own_columns = [f"{literal(own[name])}::{kind} as {name}" for name, kind in FROM_BATCH.items()]
    names = [identifier(name) for name in lines.columns]
    at = len(FROM_MESSAGE)
    selected = ", ".join([*names[:at], *own_columns, *names[at:]])
    connection.execute(
        f"copy (select {selected} from read_json({literal(str(lines.file))}, format = 'newline_delimited', "  # noqa: S608
        f"{NO_PATH_COLUMNS}, columns = {{{kinds}}}, maximum_object_size = {lines.longest_bytes})) "
        f"to {literal(str(target))} ({PARQUET})"
    )


def without(connection: duckdb.DuckDBPyConnection, file: Path, ids: Sequence[str], target: Path) -> int:
    """The rows of a file but for those of some messages; how many are left."""
    copied = connection.execute(
        f"copy (select * from {_read([file])} where _message_id not in (select unnest(?::varchar[]))) "  # noqa: S608
        f"to {literal(str(target))} ({PARQUET})",
        [list(ids)],
    )
    return int(copied.fetchall()[0][0])


def ids_in(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """The ids of a file's rows, in its order."""
    return [id_ for (id_,) in connection.execute(f"select _message_id from {_read([file])}").fetchall()]  # noqa: S608


def joined(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], target: Path) -> int:
    """All rows of several files in the order of their ids, a column where any file has it; how many."""
    copied = connection.execute(
        f"copy (select * from {_read(files)} order by {BY_ID}) to {literal(str(target))} ({PARQUET})"  # noqa: S608
    )
    return int(copied.fetchall()[0][0])


def _read(files: Sequence[Path]) -> str:
    listed = ", ".join(literal(str(file)) for file in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
