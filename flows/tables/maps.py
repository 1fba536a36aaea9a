"""Tables as maps, by GDAL's own drivers, as pyogrio brings them.

GDAL is imported where it is needed: that takes longer than many a build.
"""

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.file_types import ExportFormat
from flows.tables.folders import stored_zip
from flows.tables.quoting import identifier, literal
from flows.tables.shapefile import FAMILY, cut_names, one_type, require_short
from flows.tables.table import crs_of, is_geometry, rows_of

FIXED_DAY = "1980-01-01"
"""In place of the day of writing, which some formats note."""
DRIVERS = {ExportFormat.GEOJSON: "GeoJSON", ExportFormat.GPKG: "GPKG", ExportFormat.SHP: "ESRI Shapefile"}


def write_features(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    table: Path,
    kind: ExportFormat,
    name: str,
    path: Path,
    custom: Mapping[str, Any],
) -> tuple[int, list[str]]:
    """Write a table with a geometry column in one of the formats of `DRIVERS`, a shapefile as a zip file.

    Args:
        custom: `geom_column`, of geometry, WKB or WKT, else the first column of geometry; `geometry_type`,
            points, lines or polygons, where rows with other shapes are left out.

    Returns:
        The number of rows written, and warnings.

    Raises:
        ValueError: if it has no geometry, or something that the format cannot hold.
    """
    from pyogrio import set_gdal_config_options
    from pyogrio.raw import write_arrow

    set_gdal_config_options({"OGR_CURRENT_DATE": f"{FIXED_DAY}T00:00:00.000Z"})
    rows = connection.sql(f"from {rows_of(table)}")
    shapes, type_ = _shapes(rows, kind, name, custom.get("geom_column"))
    column = identifier(shapes)
    rows = rows.project(", ".join(_as_gdal_takes_them(rows, shapes)))
    if wanted := custom.get("geometry_type"):
        rows = rows.filter(f"{column} is null or {FAMILY.format(column)} = {literal(wanted)}")
    geometry_type = "Unknown"
    if kind is ExportFormat.SHP:
        geometry_type = one_type(rows, column, name)
        require_short(rows, name)
    folder = path.with_name(f"{path.name}.parts")
    folder.mkdir()
    layer = path.name.partition(".")[0]
    written = folder / (f"{layer}.shp" if kind is ExportFormat.SHP else path.name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        write_arrow(
            rows,
            written,
            layer=layer,
            driver=DRIVERS[kind],
            geometry_name=shapes,
            geometry_type=geometry_type,
            crs=crs_of(type_),
            **_layer_options(kind, rows.columns, shapes),
        )
    warned = []
    if kind is ExportFormat.SHP:
        warned = cut_names([one for one in rows.columns if one != shapes], written)
        stored_zip(path, [(part.name, part) for part in sorted(folder.iterdir())])
    else:
        written.replace(path)
    shutil.rmtree(folder)
    return int(rows.aggregate("count(*)").fetchall()[0][0]), warned


def _as_gdal_takes_them(rows: duckdb.DuckDBPyRelation, shapes: str) -> list[str]:
    """The columns as GDAL takes them with all their digits: one of shapes, other shapes as text."""
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    wide = {name: type_ for name, type_ in types.items() if type_ == "UBIGINT" or type_.startswith("DECIMAL")}
    fits = {}
    if wide:
        asked = ", ".join(
            f"coalesce(bool_and({identifier(name)} is not distinct from "
            f"try_cast(try_cast({identifier(name)} as {_narrow(type_)}) as {type_})), true)"
            for name, type_ in wide.items()
        )
        fits = dict(zip(wide, rows.aggregate(asked).fetchall()[0], strict=True))
    written = []
    for name, type_ in types.items():
        column = identifier(name)
        if name == shapes:
            read = f"st_geomfromwkb({column})" if type_ == "BLOB" else f"{column}::geometry"
            written.append(column if is_geometry(type_) else f"{read} as {column}")
        elif is_geometry(type_):
            written.append(f"st_astext({column}) as {column}")
        elif name in wide:
            written.append(f"{column}::{_narrow(type_) if fits[name] else 'varchar'} as {column}")
        else:
            written.append(column)
    return written


def _narrow(type_: str) -> str:
    return "bigint" if type_ == "UBIGINT" else "double"


def _layer_options(kind: ExportFormat, columns: list[str], shapes: str) -> dict[str, str]:
    match kind:
        case ExportFormat.SHP:
            return {"DBF_DATE_LAST_UPDATE": FIXED_DAY}
        case ExportFormat.GPKG:
            row_id = "fid"
            while row_id in {column.lower() for column in columns}:
                row_id += "_"
            return {"FID": row_id, "GEOMETRY_NAME": shapes}
        case _:
            return {}


def _shapes(
    rows: duckdb.DuckDBPyRelation, kind: ExportFormat, name: str, wanted: str | None
) -> tuple[str, str]:
    """The column of shapes, and its type."""
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    if wanted is not None and wanted not in types:
        raise ValueError(f"table {name} has no column {wanted}; it has {', '.join(types)}")
    found = next((column for column, type_ in types.items() if is_geometry(type_)), None)
    column = wanted or found
    if column is None or not (is_geometry(types[column]) or types[column] in {"BLOB", "VARCHAR"}):
        hint = "say `custom: {geom_column: …}` where one holds WKB or WKT"
        raise ValueError(f"table {name} has no column of geometry, which {kind} needs; {hint}")
    return column, types[column]
