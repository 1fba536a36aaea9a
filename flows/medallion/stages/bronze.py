"""Bronze: a file from landing as Parquet, as read, and where each row comes from."""

import csv
from collections.abc import Callable
from pathlib import Path

import duckdb

from flows.medallion.stages.layer import Layer, TableColumns
from flows.medallion.stages.source import Source, UnreadableFileError, opened, said
from flows.medallion.workflow.files import FileOptions
from flows.tables.audit import audited
from flows.tables.column_types import TEXT
from flows.tables.progress import progress
from flows.tables.quoting import identifier, literal
from flows.tables.table import PARQUET, database, done, read_table


def bronze(  # noqa: PLR0913
    file: Path,
    source_file: str,
    ingested_at: str,
    columns: TableColumns,
    options: FileOptions,
    *,
    say: Callable[[str], object] = print,
    scratch: Path,
) -> Layer:
    """Write one file as Parquet, its columns in the types of the job's bronze.

    Args:
        ingested_at: when this content was first ingested, `2026-01-31T12:00:00`, in UTC.

    Raises:
        UnreadableFileError: where a row does not fit the header, or a value its column's type.
    """
    target = scratch / "bronze.parquet"
    with database(scratch) as connection:
        try:
            source = opened(connection, file, source_file, options, scratch)
            rows = _typed(connection, source, columns)
            query = audited(rows, ingested_at, source_file)
            with progress(say, lambda: f"{source_file}: {done(connection)}"):
                connection.execute(f"copy ({query}) to {literal(str(target))} ({PARQUET})")
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except (duckdb.Error, csv.Error, ValueError) as error:
            raise UnreadableFileError(source_file, said(error, file)) from error
        table = read_table(connection, target)
    warnings = list(source.warnings)
    if not table.rows:
        if not options.may_have_no_rows:
            hint = "say `file: {may_have_no_rows: true}` where that is right"
            raise UnreadableFileError(source_file, f"it has a header and no rows; {hint}")
        warnings.append(f"{source_file} has no rows")
    return Layer(
        table=table,
        rows_in=table.rows,
        rows_out=table.rows,
        schema_=table.columns,
        parents=(source_file,),
        warnings=tuple(warnings) or None,
    )


def _typed(connection: duckdb.DuckDBPyConnection, source: Source, columns: TableColumns) -> str:
    """The rows of a source with the columns' types; a value that has not its column's type is an error."""
    types = {name.lower(): type_ for name, type_ in columns.types.items()}
    if source.text is not None:
        return source.text.rows_as({name: types.get(name.lower(), TEXT) for name in source.text.names})
    described = connection.execute(f"describe from {source.rows}").fetchall()
    selected = ", ".join(
        f"cast({identifier(name)} as {types.get(name.lower(), type_)}) as {identifier(name)}"
        for name, type_, *_ in described
    )
    return f"(select {selected} from {source.rows})"  # noqa: S608
