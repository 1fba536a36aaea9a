"""Models: named SQL over inputs and other models."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from flows.tables.apart import ApartError, Sandbox, call_apart
from flows.tables.bounds import STAGE_MEMORY_BYTES, Bounds, Kind, limit_reached
from flows.tables.lineage import OWN, ModelError, reads
from flows.tables.memory import memory_share
from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.progress import Say, progress
from flows.tables.quoting import identifier, literal
from flows.tables.sql import one_statement
from flows.tables.sql_model import Model, ModelTest, Severity
from flows.tables.table import Table, confined, database, done, read_table, rows_of

ROWS_SHOWN = 5
LONGEST_ROW = 300


def model(  # noqa: PLR0913
    name: str,
    definition: Model,
    tables: Mapping[str, Table],
    *,
    limit_seconds: float | None = None,
    limit_bytes: int | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008
    say: Say = print,
    scratch: Path,
) -> Table:
    """The rows of a query, as `<name>.parquet` in `scratch`, once its tests hold.

    The query sees `tables` and nothing else: no file, no network, no setting. It runs in its own process,
    on one thread, so that the same rows come in the same order, with the same last digits in sums. Of a long
    one it says how far it is.

    Args:
        limit_seconds: after which it is ended
        limit_bytes: how much disk it may fill

    Raises:
        ModelError: where DuckDB refuses the query, a test does not hold, or it meets a limit.
    """
    reads(name, definition, tuple(tables))
    limits = bounds.of_stage(limit_seconds, limit_bytes)
    arguments = {"name": name, "definition": definition, "tables": tables, "scratch": scratch}
    sandbox = Sandbox(scratch, limits, tuple(Path(str(table.file)) for table in tables.values()))
    try:
        with memory_share(bounds, STAGE_MEMORY_BYTES, say):
            return call_apart(model_here, arguments, sandbox, raises=(ModelError,), say=say)
    except ApartError as error:
        met = limit_reached(error.ended, limits, Kind.STAGE) if error.ended else None
        last = f": {error.printed.strip().splitlines()[-1][:LONGEST_ROW]}" if error.printed.strip() else ""
        raise ModelError(f"Model {name} {met or f'failed: {error}{last}'}.") from error


def model_here(name: str, definition: Model, tables: Mapping[str, Table], scratch: Path, say: Say) -> Table:
    """The same in this process.

    Raises:
        ModelError: where DuckDB refuses the query, or a test does not hold.
    """
    target = scratch / f"{name}.parquet"
    with database(scratch) as connection:
        for known, table in tables.items():
            view = f"create view {identifier(known)} as from {rows_of(table.file)}"
            connection.execute(view)
        confined(connection, [target, *(Path(str(table.file)) for table in tables.values())])
        try:
            with progress(say, lambda: done(connection)):
                query = _query(connection, definition.sql)
                copy_to_parquet(connection, query, target, ", use_tmp_file false")
        except (duckdb.Error, ValueError) as error:
            raise ModelError(f"Model {name} cannot be run: {_said(error)}") from error
        warnings = tuple(_tested(connection, name, definition, target))
        return read_table(connection, target).model_copy(update={"warnings": warnings or None})


def _query(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The query without what stands behind its end, and with sums of integers as BIGINT.

    DuckDB sums integers as HUGEINT, which Parquet has no type for: it would become DOUBLE.
    """
    query = one_statement(sql)
    described = connection.execute(f"describe from (\n{query}\n)").fetchall()
    wide = {name: kind for name, kind, *_ in described if "HUGEINT" in kind}
    if not wide:
        return query
    narrowed = ", ".join(
        f"{identifier(name)}::{re.sub('U?HUGEINT', 'BIGINT', kind)} as {identifier(name)}"
        for name, kind in wide.items()
    )
    return f"select * replace ({narrowed}) from (\n{query}\n)"  # noqa: S608


def _tested(
    connection: duckdb.DuckDBPyConnection, name: str, definition: Model, target: Path
) -> Iterator[str]:
    connection.execute(f"create view {OWN} as from {rows_of(target)}")
    columns = [row[0] for row in connection.execute(f"describe {OWN}").fetchall()]
    failed = []
    for test in definition.tests:
        said = f"test {_title(test)} of model {name}"
        for column in _columns(test):
            _require_column(said, column, columns)
        if test.relationships is not None:
            other = connection.execute(f"describe {identifier(test.relationships.to)}").fetchall()
            _require_column(said, test.relationships.field, [row[0] for row in other])
        try:
            offending = connection.execute(
                f"select count(*) over (), * from ({_offending(test)}) limit {ROWS_SHOWN}"  # noqa: S608
            )
            names = [column[0] for column in offending.description][1:]
            rows = offending.fetchall()
        except duckdb.Error as error:
            raise ModelError(f"{said} cannot be run: {_said(error)}") from error
        if rows:
            shown = "; ".join(_row(names, row[1:]) for row in rows)
            found = f"{said} does not hold for {rows[0][0]} rows, first: {shown}"
            if test.severity is Severity.WARN:
                yield found
            else:
                failed.append(found)
    if failed:
        raise ModelError(". ".join(failed))


def _require_column(said: str, column: str, columns: list[str]) -> None:
    if column.lower() not in {one.lower() for one in columns}:
        raise ModelError(f"{said}: there is no column {column}; there are {', '.join(columns)}.")


def _title(test: ModelTest) -> str:
    match test:
        case ModelTest(accepted_values=values) if values:
            return f"accepted_values of {values.column}"
        case ModelTest(relationships=related) if related:
            return f"relationships of {related.column} to {related.to}.{related.field}"
        case ModelTest(expression=expression) if expression:
            return f"({' '.join(expression.split())})"
    return f"{test.kind} of {', '.join(_columns(test))}"


def _columns(test: ModelTest) -> tuple[str, ...]:
    match test:
        case ModelTest(accepted_values=values) if values:
            return (values.column,)
        case ModelTest(relationships=related) if related:
            return (related.column,)
    return test.not_null or test.unique


def _offending(test: ModelTest) -> str:
    """A query for the rows for which a test does not hold."""
    columns = [identifier(column) for column in _columns(test)]
    listed = ", ".join(columns)
    match test:
        case ModelTest(accepted_values=values) if values:
            valid = ", ".join(literal(value) for value in values.values)
            return f"from {OWN} where {listed}::varchar not in ({valid})"
        case ModelTest(relationships=related) if related:
            other = f"select {identifier(related.field)} from {identifier(related.to)}"  # noqa: S608
            return f"from {OWN} where {listed} is not null and {listed} not in ({other} where {identifier(related.field)} is not null)"  # noqa: E501
        case ModelTest(expression=expression) if expression:
            return f"from {OWN} where not ({expression}\n)"
        case ModelTest(unique=unique) if unique:
            nulls = " and ".join(f"{column} is not null" for column in columns)
            grouped = f"from {OWN} where {nulls} group by {listed} having count(*) > 1 order by {listed}"
            return f'select {listed}, count(*) as "times" {grouped}'
    return f"from {OWN} where {' or '.join(f'{column} is null' for column in columns)}"


def _row(names: list[str], values: tuple[object, ...]) -> str:
    text = ", ".join(f"{name} {value!r}" for name, value in zip(names, values, strict=True))
    return text if len(text) <= LONGEST_ROW else text[: LONGEST_ROW - 1] + "…"


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
