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
FAMILY = (
    "(['points', 'lines', 'polygons', 'points', 'lines', 'polygons', 'collections'])"
    "[('0x' || hex(st_asbinary({0})[3:3]) || hex(st_asbinary({0})[2:2]))::integer % 1000]"
)
"""SQL for what a shape is, by the number that WKB has for it."""
LAYER_OPTIONS = {ExportFormat.SHP: {"DBF_DATE_LAST_UPDATE": FIXED_DAY}}


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
            shapes = about["geometry_name"] or "wkb_geometry"
            features = connection.from_arrow(stream)
            others = [name for name in features.columns if name not in {shapes, about["fid_column"]}]
            pairs = zip(others, usable(others), strict=True) if others else ()
            selected = [f"{identifier(name)} as {identifier(made)}" for name, made in pairs]
            if shapes in features.columns:
                selected.append(f"{identifier(shapes)} as {GEOMETRY}")
            features.project(", ".join(selected)).create_view("larder_features")
            connection.execute(f"copy larder_features to {literal(str(target))} ({PARQUET})")
            return renamed(others) if others else []
    except (DataSourceError, DataLayerError) as error:
        raise ValueError(str(error).partition("; It might")[0]) from error


def write_features(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    table: Path,
    kind: ExportFormat,
    name: str,
    path: Path,
    custom: Mapping[str, Any],
) -> int:
    """Write a table with a geometry column in one of the formats of `DRIVERS`, a shapefile as a zip file.

    Args:
        custom: `geom_column`, of geometry, WKB or WKT, else the first column of geometry; `geometry_type`,
            points, lines or polygons, where rows with other shapes are left out.

    Returns:
        The number of rows written.

    Raises:
        ValueError: if it has no geometry, or shapes of several types that the format cannot hold.
    """
    from pyogrio import set_gdal_config_options
    from pyogrio.raw import write_arrow

    set_gdal_config_options({"OGR_CURRENT_DATE": f"{FIXED_DAY}T00:00:00.000Z"})
    rows = connection.sql(f"from read_parquet({literal(str(table))})")
    shapes, type_ = _shapes(rows, kind, name, custom.get("geom_column"))
    column = identifier(shapes)
    read = f"st_geomfromwkb({column})" if type_ == "BLOB" else f"{column}::geometry"
    if not is_geometry(type_):
        rows = rows.project(f"* replace ({read} as {column})")
    if wanted := custom.get("geometry_type"):
        rows = rows.filter(f"{column} is null or {FAMILY.format(column)} = {literal(wanted)}")
    if kind is ExportFormat.SHP:
        _require_one_family(rows, column, name)
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
            geometry_type="Unknown",
            crs=crs_of(type_),
            **LAYER_OPTIONS.get(kind, {}),
        )
    if kind is ExportFormat.SHP:
        stored_zip(path, [(part.name, part) for part in sorted(folder.iterdir())])
    else:
        written.replace(path)
    shutil.rmtree(folder)
    return int(rows.aggregate("count(*)").fetchall()[0][0])


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


def _require_one_family(rows: duckdb.DuckDBPyRelation, column: str, name: str) -> None:
    found_in = rows.filter(f"{column} is not null").project(f"{FAMILY.format(column)} as family")
    families = found_in.distinct().order("family").fetchall()
    if len(families) > 1:
        found = ", ".join(str(family) for (family,) in families)
        hint = "say `custom: {geometry_type: …}`, and export it once for each"
        raise ValueError(f"table {name} has {found}, and a shapefile holds one type of shapes: {hint}")
