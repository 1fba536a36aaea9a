"""Parquet files as Parquet that DuckDB can read to its end, with column names that SQL can say."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.geoparquet import as_geometry, shapes_in
from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.quoting import identifier
from flows.tables.table import is_geometry, renamed, rows_of, usable

BINARY = "BLOB"
CONTROLS = r"[\x00-\x08\x0e-\x1f]"


def parquet_to_parquet(
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    target: Path,
    custom: Mapping[str, Any],  # noqa: ARG001
) -> list[str]:
    """Take a Parquet file as it is, where DuckDB can read all of it; else it is written anew.

    It is where SQL could not say a column's name, shapes are written as older writers did, or text is said to
    be binary.

    Raises:
        ValueError: if a column has no name, or cannot be read.
        duckdb.Error: if it is no Parquet.
    """
    columns, warnings = _columns(connection, source)
    warnings += renamed(list(columns))
    if not warnings and all(column == identifier(name) for name, column in columns.items()):
        _require_readable(connection, source, columns)
        connection.execute("reset enable_geoparquet_conversion")
        if source.parent == target.parent:
            source.rename(target)
        else:
            shutil.copyfile(source, target)
        return warnings
    made = zip(columns.values(), usable(list(columns)), strict=True)
    selected = ", ".join(f"{column} as {identifier(name)}" for column, name in made)
    copy_to_parquet(connection, f"select {selected} from {rows_of(source)}", target)  # noqa: S608
    connection.execute("reset enable_geoparquet_conversion")
    return warnings


def _columns(connection: duckdb.DuckDBPyConnection, source: Path) -> tuple[dict[str, str], list[str]]:
    """SQL for what each column holds, by name, and warnings; DuckDB takes no bytes for shapes from here."""
    connection.execute("set enable_geoparquet_conversion = false")
    described = connection.execute(f"describe from {rows_of(source)}").fetchall()
    types = {name: type_ for name, type_, *_ in described}
    columns, warnings = {name: identifier(name) for name in types}, []
    found = shapes_in(connection, source)
    if found is None:
        warnings.append("its GeoParquet metadata are none, and do not count")
    shapes = {
        name: said for name, said in (found or {}).items() if not is_geometry(types.get(name, "GEOMETRY"))
    }
    if found is not None and all(said.current and types[name] == BINARY for name, said in shapes.items()):
        connection.execute("reset enable_geoparquet_conversion")
    else:
        columns |= {name: as_geometry(name, types[name], said) for name, said in shapes.items()}
    binary = [name for name, type_ in types.items() if type_ == BINARY and name not in shapes]
    texts = _texts(connection, source, binary)
    columns |= {name: f"decode({identifier(name)})" for name in texts}
    return columns, [*warnings, *(f"column {name}: its bytes are UTF-8, and are text" for name in texts)]


def _texts(connection: duckdb.DuckDBPyConnection, source: Path, binary: list[str]) -> list[str]:
    """Those columns of bytes that hold text alone, and some."""
    if not binary:
        return []
    text = "try(decode({0}))"
    is_text = f"bool_and({{0}} is null or coalesce(not regexp_matches({text}, '{CONTROLS}'), false))"
    some = "coalesce(max(octet_length({0})), 0) > 0"
    asked = ", ".join(f"{is_text} and {some}".format(identifier(name)) for name in binary)
    answers = connection.execute(f"select {asked} from {rows_of(source)}").fetchall()[0]  # noqa: S608
    return [name for name, answer in zip(binary, answers, strict=True) if answer]


def _require_readable(
    connection: duckdb.DuckDBPyConnection, source: Path, columns: Mapping[str, str]
) -> None:
    """Return if every value can be read: what is persisted as finished is read by what comes next."""
    read = "select bit_xor(hash({0})) from {1}"
    rows = rows_of(source)
    try:
        connection.execute(read.format(", ".join(columns.values()), rows)).fetchall()
    except duckdb.InvalidInputException:
        for name, column in columns.items():
            try:
                connection.execute(read.format(column, rows)).fetchall()
            except duckdb.InvalidInputException as error:
                said = " ".join(str(error).split("\n")[0].replace(str(source), source.name).split())
                raise ValueError(f"its column {name} cannot be read: {said}") from error
        raise
