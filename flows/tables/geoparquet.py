"""Shapes in Parquet files that DuckDB does not take for shapes: of older writers, as WKT, as coordinates."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.quoting import identifier, literal
from flows.tables.reference_systems import LONGITUDE_LATITUDE, reference_system

DEPTHS = {
    "POINT": 0,
    "LINESTRING": 1,
    "MULTIPOINT": 1,
    "POLYGON": 2,
    "MULTILINESTRING": 2,
    "MULTIPOLYGON": 3,
}
"""How many lists stand around the coordinates of a shape."""


@dataclass(frozen=True)
class Shapes:
    """What a file says of a column of shapes."""

    encoding: str
    crs: str | None
    """As DuckDB's types have it; None where it says that there is none."""
    current: bool
    """Whether DuckDB reads it by itself."""


def shapes_in(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, Shapes] | None:
    """What the GeoParquet metadata of a file say of its columns; None where they are not such metadata.

    Raises:
        ValueError: if they name a reference system that nobody knows.
    """
    query = "select value from parquet_kv_metadata(?) where key = 'geo'"
    found = connection.execute(query, [str(file)]).fetchall()
    if not found:
        return {}
    try:
        said = json.loads(found[0][0])
    except ValueError:
        return None
    columns = said.get("columns") if isinstance(said, dict) else None
    if not isinstance(columns, dict):
        return None
    version = str(said.get("version") or "")
    return {name: _shapes(one, version) for name, one in columns.items() if isinstance(one, dict)}


def _shapes(column: Mapping[str, Any], version: str) -> Shapes:
    encoding, crs = str(column.get("encoding") or "WKB").upper(), column.get("crs", LONGITUDE_LATITUDE)
    plain = crs is None or crs == LONGITUDE_LATITUDE or isinstance(crs, dict)
    types = isinstance(column.get("geometry_types"), list)
    current = plain and types and encoding == "WKB" and version.startswith(("1.", "2."))
    if isinstance(crs, dict):
        crs = json.dumps(crs, ensure_ascii=False, separators=(",", ":"))
    elif crs is not None and not plain:
        crs = reference_system(str(crs))
    return Shapes(encoding, crs, current)


def as_geometry(name: str, type_: str, shapes: Shapes) -> str:
    """SQL for a column as shapes.

    Raises:
        ValueError: if it is in no known encoding.
    """
    column = identifier(name)
    if shapes.encoding == "WKB" and type_ == "BLOB":
        made = f"st_geomfromwkb({column})"
    elif shapes.encoding == "WKT":
        made = f"{column}::varchar::geometry"
    elif shapes.encoding in DEPTHS:
        z = " || ' ' || p.z" if "z DOUBLE" in type_ else ""
        text = _coordinates(column, DEPTHS[shapes.encoding], f"p.x || ' ' || p.y{z}")
        kind = f"{shapes.encoding} Z" if z else shapes.encoding
        made = f"({literal(f'{kind} ')} || {text})::geometry"
    else:
        raise ValueError(f"its column {name} of {type_} is said to hold shapes as {shapes.encoding}")
    return f"st_setcrs({made}, {literal(shapes.crs)})" if shapes.crs else made


def _coordinates(value: str, depth: int, point: str) -> str:
    """SQL for coordinates as WKT has them."""
    if depth == 0:
        return f"(list_transform([{value}], lambda p: '(' || {point} || ')')[1])"
    inner = f"list_transform({value}, lambda p: {point})"
    if depth > 1:
        inner = f"list_transform({value}, lambda v{depth}: {_coordinates(f'v{depth}', depth - 1, point)})"
    joined = f"'(' || array_to_string({inner}, ', ') || ')'"
    return f"(case when len({value}) = 0 then 'EMPTY' else {joined} end)"
