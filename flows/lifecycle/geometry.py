"""Geometry in and out, by GDAL's own drivers (as pyogrio brings them) and DuckDB's GEOMETRY.

GDAL is imported where it is needed: that takes longer than many a build.
"""

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.lifecycle.folders import stored_zip
from flows.lifecycle.quoting import identifier, literal
from flows.lifecycle.tables import PARQUET, crs_of, is_geometry, renamed, usable
from flows.recipe import ExportFormat

GEOMETRY = "geometry"
"""What the column of shapes is called, whatever it was called where it came from."""
BATCH_ROWS = 2**16
FIXED_DAY = "1980-01-01"
"""In place of the day of writing, which some formats note."""
DRIVERS = {ExportFormat.GEOJSON: "GeoJSON", ExportFormat.GPKG: "GPKG", ExportFormat.SHP: "ESRI Shapefile"}
NUMBER = "('0x' || hex(st_asbinary({0})[3:3]) || hex(st_asbinary({0})[2:2]))::integer"
"""SQL for the number that WKB has for a shape's type: thousands tell of Z and M."""
FAMILY = f"(['points', 'lines', 'polygons', 'points', 'lines', 'polygons', 'collections'])[{NUMBER} % 1000]"
SHORT = {
    "VARCHAR": ("octet_length(encode({0}))", 255, "text longer than the 254 bytes that a shapefile holds"),
    "BIGINT": ("abs({0}::hugeint)", 10**18, "integers longer than the 18 digits that a shapefile holds"),
    "DOUBLE": ("abs({0})", 1e23, "numbers larger than a shapefile holds"),
}


def features_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write features as Parquet: text stays text, the shapes are a column `geometry` with its CRS.

    Args:
        custom: `layer` or `layer_name`; else the only one.

    Raises:
        ValueError: if GDAL cannot read it, or there is no such layer, or there are several.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import open_arrow

    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        named = custom.get("layer") or custom.get("layer_name")
        layer = str(named or (layers[0] if len(layers) == 1 else ""))
        if layer not in layers:
            found = f"no layer {layer}" if layer else f"{len(layers)} layers"
            raise ValueError(f"there is {found}; say `custom: {{layer: …}}`, one of {', '.join(layers)}")
        options = {"DATE_AS_STRING": "YES"} if source.suffix == ".geojson" else {}
        opened = open_arrow(source, layer=layer, use_pyarrow=False, batch_size=BATCH_ROWS, **options)
        with opened as (about, stream):
            features = connection.from_arrow(stream)
            given = [str(name) for name in about["fields"]]
            names = [*given, GEOMETRY] if len(features.columns) > len(given) else given
            columns = zip(features.columns, features.types, usable(names), strict=True)
            selected = (
                f"{identifier(column)}{'::varchar' if str(type_) == 'JSON' else ''} as {identifier(made)}"
                for column, type_, made in columns
            )
            features.project(", ".join(selected)).create_view("larder_features")
            connection.execute(f"copy larder_features to {literal(str(target))} ({PARQUET})")
            return renamed(names)
    except (DataSourceError, DataLayerError) as error:
        raise ValueError(str(error).partition("; It might")[0]) from error


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
    from pyogrio import read_info, set_gdal_config_options
    from pyogrio.raw import write_arrow

    set_gdal_config_options({"OGR_CURRENT_DATE": f"{FIXED_DAY}T00:00:00.000Z"})
    rows = connection.sql(f"from read_parquet({literal(str(table))})")
    shapes, type_ = _shapes(rows, kind, name, custom.get("geom_column"))
    column = identifier(shapes)
    rows = rows.project(", ".join(_written(rows, shapes)))
    if wanted := custom.get("geometry_type"):
        rows = rows.filter(f"{column} is null or {FAMILY.format(column)} = {literal(wanted)}")
    geometry_type = "Unknown"
    if kind is ExportFormat.SHP:
        geometry_type = _one_type(rows, column, name)
        _require_short(rows, name)
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
        fields = zip(
            [one for one in rows.columns if one != shapes], read_info(written)["fields"], strict=True
        )
        cut = [f"{field!r} to {short}" for field, short in fields if field != short]
        warned = [f"columns renamed: {', '.join(cut)}"] if cut else []
        stored_zip(path, [(part.name, part) for part in sorted(folder.iterdir())])
    else:
        written.replace(path)
    shutil.rmtree(folder)
    return int(rows.aggregate("count(*)").fetchall()[0][0]), warned


def _written(rows: duckdb.DuckDBPyRelation, shapes: str) -> list[str]:
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


def _one_type(rows: duckdb.DuckDBPyRelation, column: str, name: str) -> str:
    """What GDAL calls the one type of shapes that a shapefile holds."""
    shown = rows.filter(f"{column} is not null")
    families = shown.project(f"{FAMILY.format(column)} as family").distinct().order("family").fetchall()
    if len(families) > 1:
        found = ", ".join(str(family) for (family,) in families)
        hint = "say `custom: {geometry_type: …}`, and export it once for each"
        raise ValueError(f"table {name} has {found}, and a shapefile holds one type of shapes: {hint}")
    numbers = {number for (number,) in shown.project(f"{NUMBER.format(column)} as n").distinct().fetchall()}
    if {1, 4} <= {number % 1000 for number in numbers}:
        raise ValueError(f"table {name} has points and multipoints, and a shapefile holds one of them")
    if not numbers or any(number >= 2000 for number in numbers):
        return "Unknown"
    type_ = {0: "MultiPoint", 1: "Point", 2: "LineString", 3: "Polygon"}[_base(numbers)]
    return f"{type_} Z" if max(numbers) >= 1000 else type_


def _base(numbers: set[int]) -> int:
    base = min(number % 1000 for number in numbers)
    return {4: 0, 5: 2, 6: 3}.get(base, base)


def _require_short(rows: duckdb.DuckDBPyRelation, name: str) -> None:
    """Return if a shapefile's table holds all of each value."""
    for column, type_ in zip(rows.columns, map(str, rows.types), strict=True):
        most = SHORT.get(type_)
        if most is None:
            continue
        measure, limit, said = most
        found = rows.aggregate(f"max({measure.format(identifier(column))})").fetchall()[0][0]
        if found is not None and found >= limit:
            raise ValueError(f"column {column} of table {name} has {said}: export it as gpkg or geojson")
