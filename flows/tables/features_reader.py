"""Features of many formats as Parquet, by GDAL's own drivers, as pyogrio brings them, and DuckDB's GEOMETRY.

GDAL is imported where it is needed: that takes longer than many a build.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.quoting import identifier, literal
from flows.tables.table import PARQUET, renamed, usable

GEOMETRY = "geometry"
"""What the column of shapes is called, whatever it was called where it came from."""
BATCH_ROWS = 2**16


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
