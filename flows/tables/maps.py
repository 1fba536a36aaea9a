"""Tables as maps, by GDAL's own drivers, as pyogrio brings them.

GDAL is imported where it is needed: that takes longer than many a build.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.file_types import ExportFormat
from flows.tables.fitted import fitted
from flows.tables.folders import stored_zip
from flows.tables.gdal import FIXED_DAY, write_layer
from flows.tables.json_text import without_nan
from flows.tables.quoting import identifier, literal
from flows.tables.reference_systems import reference_system
from flows.tables.shapefile import (
    FAMILY,
    one_type,
    renamed_fields,
    require_short,
    short_names,
    write_exact_numbers,
)
from flows.tables.table import crs_of, has_code, is_geometry, rows_of

DRIVERS = {ExportFormat.GEOJSON: "GeoJSON", ExportFormat.GPKG: "GPKG", ExportFormat.SHP: "ESRI Shapefile"}
TEXT_IS_TEXT = {"AUTODETECT_JSON_STRINGS": "NO"}
"""GDAL's option for GeoJSON in which text that looks like JSON stays text."""
JSON_STAYS_JSON = "set arrow_lossless_conversion = true"
"""So that DuckDB says to GDAL which text is JSON."""
LONGITUDE_LATITUDE = {"RFC7946": "YES", "COORDINATE_PRECISION": "15"}
"""GDAL's options for GeoJSON in WGS 84, whatever the shapes are in."""


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
            points, lines or polygons, where rows with other shapes are left out; `crs`, where the table says
            none.

    Returns:
        The number of rows written, and warnings.

    Raises:
        ValueError: if it has no geometry, or something that the format cannot hold.
    """
    connection.execute(JSON_STAYS_JSON)
    rows = connection.sql(f"from {rows_of(table)}")
    shapes, type_ = _shapes(rows, kind, name, custom.get("geom_column"))
    column = identifier(shapes)
    rows = rows.project(", ".join(_with_shapes(rows, shapes)))
    if wanted := custom.get("geometry_type"):
        rows = rows.filter(f"{column} is null or {FAMILY.format(column)} = {literal(wanted)}")
    made, warnings = fitted(rows, kind)
    names = short_names(list(made)) if kind is ExportFormat.SHP else {other: other for other in made}
    columns = [f"{made[other]} as {identifier(short)}" for other, short in names.items()]
    rows = rows.project(", ".join([*columns, column]))
    folder = path.with_name(f"{path.name}.parts")
    folder.mkdir()
    options = {
        "driver": DRIVERS[kind],
        "layer": path.name.partition(".")[0],
        "geometry_name": shapes,
        "geometry_type": "Unknown",
        "crs": _system(crs_of(type_), name, custom),
    }
    if kind is ExportFormat.SHP:
        warnings += renamed_fields(names)
        _write_shapefile(rows, folder, path, name, options, warnings)
    elif kind is ExportFormat.GEOJSON:
        _write_geojson(rows, folder, path, name, options, warnings)
    else:
        written = folder / path.name
        write_layer(rows, written, warnings, {**options, **_geopackage_options(rows.columns, shapes)})
        written.replace(path)
    shutil.rmtree(folder)
    return int(rows.aggregate("count(*)").fetchall()[0][0]), warnings


def _write_shapefile(  # noqa: PLR0913, PLR0917
    rows: duckdb.DuckDBPyRelation,
    folder: Path,
    path: Path,
    name: str,
    options: Mapping[str, Any],
    warnings: list[str],
) -> None:
    geometry_type = one_type(rows, identifier(options["geometry_name"]), name)
    require_short(rows, name)
    written = folder / f"{options['layer']}.shp"
    own = {"geometry_type": geometry_type, "DBF_DATE_LAST_UPDATE": FIXED_DAY}
    write_layer(rows, written, warnings, {**options, **own})
    warnings += write_exact_numbers(rows, written.with_suffix(".dbf"))
    stored_zip(path, [(part.name, part) for part in sorted(folder.iterdir())])


def _write_geojson(  # noqa: PLR0913, PLR0917
    rows: duckdb.DuckDBPyRelation,
    folder: Path,
    path: Path,
    name: str,
    options: Mapping[str, Any],
    warnings: list[str],
) -> None:
    """Write GeoJSON in a reference system that it can name: one with a code, else WGS 84."""
    crs, written, options = options["crs"], folder / path.name, {**options, **TEXT_IS_TEXT}
    if crs is None:
        known = "no reference system is known, and readers take the shapes for longitude and latitude"
        warnings.append(f"{known}: say `custom: {{crs: …}}`, as EPSG:2263")
    if crs is None or has_code(crs):
        write_layer(rows, written, warnings, options)
    else:
        try:
            write_layer(rows, written, warnings, {**options, **LONGITUDE_LATITUDE})
        except ValueError as error:
            cannot = f"the reference system of table {name} has no code, so that GeoJSON cannot name it"
            raise ValueError(f"{cannot}, and is nowhere on earth: export it as gpkg or shp") from error
        warnings.append(
            "the shapes are in longitude and latitude, since GeoJSON cannot name their reference system"
        )
    finite, told = without_nan(written, folder / "finite.geojson")
    warnings += told
    finite.replace(path)


def _system(given: str | None, name: str, custom: Mapping[str, Any]) -> str | None:
    if custom.get("crs") is None:
        return given
    crs = reference_system(str(custom["crs"]))
    if given not in {None, crs}:
        raise ValueError(f"table {name} has a reference system, and `custom: {{crs: …}}` says another")
    return crs


def _with_shapes(rows: duckdb.DuckDBPyRelation, shapes: str) -> list[str]:
    """The columns of which one is shapes, and other shapes are text."""
    written = []
    for name, type_ in zip(rows.columns, map(str, rows.types), strict=True):
        column = identifier(name)
        if name == shapes and not is_geometry(type_):
            read = f"st_geomfromwkb({column})" if type_ == "BLOB" else f"{column}::geometry"
            written.append(f"{read} as {column}")
        elif name != shapes and is_geometry(type_):
            written.append(f"st_astext({column}) as {column}")
        else:
            written.append(column)
    return written


def _geopackage_options(columns: list[str], shapes: str) -> dict[str, str]:
    row_id = "fid"
    while row_id in {column.lower() for column in columns}:
        row_id += "_"
    return {"FID": row_id, "GEOMETRY_NAME": shapes}


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
