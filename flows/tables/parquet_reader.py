"""Parquet files as Parquet with column names that SQL can say."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.table import PARQUET, renamed, rows_of, selected


def parquet_to_parquet(
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    target: Path,
    custom: Mapping[str, Any],  # noqa: ARG001
) -> list[str]:
    """Take a Parquet file as it is; only where SQL could not say a column's name it is written anew.

    Raises:
        ValueError: if a column has no name.
        duckdb.Error: if it is no Parquet.
    """
    given = [row[0] for row in connection.execute(f"describe from {rows_of(source)}").fetchall()]
    if warnings := renamed(given):
        query = f"select {selected(given)} from {rows_of(source)}"  # noqa: S608
        written = {"target": str(target)}
        connection.execute(f"copy ({query}) to $target ({PARQUET})", written)
    elif source.parent == target.parent:
        source.rename(target)
    else:
        shutil.copyfile(source, target)
    return warnings
