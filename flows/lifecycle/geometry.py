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
LAYER_OPTIONS = {ExportFormat.SHP: {"DBF_DATE_LAST_UPDATE": FIXED_DAY}}


def features_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write features as Parquet: text stays text, the shapes are a column `geometry` with its CRS.

    Args:
        custom: `layer`, by its name; else the only one.

    Raises:
        ValueError: if GDAL cannot read it, or there is no such layer, or there are several.
    """
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import open_arrow

    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(source)]
        layer = str(custom.get("layer") or (layers[0] if len(layers) == 1 else ""))
        if layer not in layers:
            found = f"no layer {layer}" if layer else f"{len(layers)} layers"
            raise ValueError(f"there is {found}; say `custom: {{layer: …}}`, one of {', '.join(layers)}")
        options = {"DATE_AS_STRING": "YES"} if source.suffix == ".geojson" else {}
        opened = open_arrow(source, layer=layer, use_pyarrow=False, batch_size=BATCH_ROWS, **options)
        with opened as (about, stream):
            shapes = about["geometry_name"] or "wkb_geometry"
            features = connection.from_arrow(stream)
            others = [name for name in features.columns if name not in {shapes, about["fid_column"]}]
            named = zip(others, usable(others), strict=True) if others else ()
            selected = [f"{identifier(name)} as {identifier(made)}" for name, made in named]
            if shapes in features.columns:
                selected.append(f"{identifier(shapes)} as {GEOMETRY}")
            features.project(", ".join(selected)).create_view("larder_features")
            connection.execute(f"copy larder_features to {literal(str(target))} ({PARQUET})")
            return renamed(others) if others else []
    except (DataSourceError, DataLayerError) as error:
        raise ValueError(str(error).partition("; It might")[0]) from error


def write_features(
    connection: duckdb.DuckDBPyConnection, table: Path, kind: ExportFormat, name: str, path: Path
) -> None:
    """Write a table with a geometry column in one of the formats of `DRIVERS`; a shapefile as a zip file.

    Raises:
        ValueError: if it has no geometry.
    """
    from pyogrio import set_gdal_config_options
    from pyogrio.raw import write_arrow

    set_gdal_config_options({"OGR_CURRENT_DATE": f"{FIXED_DAY}T00:00:00.000Z"})
    rows = connection.sql(f"from read_parquet({literal(str(table))})")
    shapes = [
        column for column, type_ in zip(rows.columns, rows.types, strict=True) if is_geometry(str(type_))
    ]
    if not shapes:
        raise ValueError(f"table {name} has no column of geometry, which {kind} needs")
    crs = crs_of(str(rows.types[rows.columns.index(shapes[0])]))
    parts = path.with_name(f"{path.name}.parts")
    parts.mkdir()
    written = parts / (f"{path.stem}.shp" if kind is ExportFormat.SHP else path.name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        write_arrow(
            rows,
            written,
            layer=path.stem,
            driver=DRIVERS[kind],
            geometry_name=shapes[0],
            geometry_type="Unknown",
            crs=crs,
            **LAYER_OPTIONS.get(kind, {}),
        )
    if kind is ExportFormat.SHP:
        stored_zip(path, [(part.name, part) for part in sorted(parts.iterdir())])
    else:
        written.replace(path)
    shutil.rmtree(parts)
