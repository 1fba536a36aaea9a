"""Rows as a Parquet file that says of each column of shapes which reference system it has, or that none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.quoting import identifier, literal
from flows.tables.reference_systems import LONGITUDE_LATITUDE, reference_system
from flows.tables.table import PARQUET, WITHOUT_SYSTEM, crs_of, is_geometry


def copy_to_parquet(
    connection: duckdb.DuckDBPyConnection, query: str, target: Path, options: str = ""
) -> None:
    """Write the rows of a query.

    Args:
        options: more of them, as they stand in SQL.

    Raises:
        ValueError: if a column has a reference system that nobody knows.
        duckdb.Error: if DuckDB cannot run the query.
    """
    described = connection.execute(f"describe {query}").fetchall()
    systems = {name: crs_of(type_) for name, type_, *_ in described if is_geometry(type_)}
    named = {
        name: reference_system(crs)
        for name, crs in systems.items()
        if crs and crs != LONGITUDE_LATITUDE and not crs.startswith("{")
    }
    if named:
        systems |= named
        columns = ", ".join(
            f"st_setcrs({identifier(name)}, {literal(crs)}) as {identifier(name)}"
            for name, crs in named.items()
        )
        query = f"select * replace ({columns}) from (\n{query}\n)"  # noqa: S608
    written = PARQUET if all(systems.values()) else f"{WITHOUT_SYSTEM}, kv_metadata {{geo: {_geo(systems)}}}"
    connection.execute(f"copy (\n{query}\n) to {literal(str(target))} ({written}{options})")


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
