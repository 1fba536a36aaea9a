"""Rows as a Parquet file that says of each column of shapes which reference system it has, or that none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.gdal import reference_system
from flows.tables.quoting import identifier, literal
from flows.tables.table import PARQUET, WITHOUT_SYSTEM, crs_of, is_geometry

LONGITUDE_LATITUDE = "OGC:CRS84"
"""What GeoParquet takes a column of shapes for that says nothing of its reference system."""


def copy_to_parquet(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    target: Path,
    parameters: Mapping[str, object] | None = None,
) -> None:
    """Write the rows of a query.

    Raises:
        ValueError: if a column has a reference system that nobody knows.
        duckdb.Error: if DuckDB cannot run the query.
    """
    given = dict(parameters or {})
    described = connection.execute(f"describe {query}", given).fetchall()
    systems = {name: crs_of(type_) for name, type_, *_ in described if is_geometry(type_)}
    named = {name: crs for name, crs in systems.items() if crs and not _is_written(crs)}
    if named:
        replaced = {name: reference_system(connection, crs) for name, crs in named.items()}
        systems |= replaced
        columns = (
            f"st_setcrs({identifier(name)}, {literal(crs)}) as {identifier(name)}"
            for name, crs in replaced.items()
        )
        query = f"select * replace ({', '.join(columns)}) from ({query})"  # noqa: S608
    options = PARQUET if all(systems.values()) else f"{WITHOUT_SYSTEM}, kv_metadata {{geo: {_geo(systems)}}}"
    connection.execute(f"copy ({query}) to {literal(str(target))} ({options})", given)


def _is_written(crs: str) -> bool:
    return crs == LONGITUDE_LATITUDE or crs.startswith("{")


def _geo(systems: Mapping[str, str | None]) -> str:
    columns: dict[str, dict[str, Any]] = {
        name: {
            "encoding": "WKB",
            "geometry_types": [],
            **({} if crs == LONGITUDE_LATITUDE else {"crs": json.loads(crs) if crs else None}),
        }
        for name, crs in systems.items()
    }
    metadata = {"version": "1.0.0", "primary_column": next(iter(systems)), "columns": columns}
    return literal(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")))
