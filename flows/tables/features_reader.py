"""Features of any format that GDAL reads, as Parquet with DuckDB's GEOMETRY."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.gdal import layers_of, opened, straight_shapes
from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.quoting import identifier, literal
from flows.tables.reference_systems import reference_system
from flows.tables.table import NO_PATH_COLUMNS, crs_of, renamed, usable

GEOMETRY = "geometry"
"""What the column of shapes is called, whatever it was called where it came from."""
UNREADABLE = "geometry type in WKB"
"""What DuckDB says of shapes that it does not have: curves and surfaces."""
FEATURES = "larder_features"
SHAPES = "larder_shapes"
SURFACES = {15: 6, 16: 6, 17: 3}
"""The numbers that WKB has for surfaces of polygons, and for the same polygons without a surface."""


def features_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write features as Parquet: text stays text, the shapes are a column `geometry` with its CRS.

    Curves become lines, and surfaces become polygons, with a warning.

    Args:
        custom: `layer` or `layer_name`, else the only one; `crs`, else what the file says.

    Raises:
        ValueError: if GDAL cannot read it, or there is no such layer, or there are several.
    """
    warnings: list[str] = []
    layer = one_of(layers_of(source, warnings), custom, "layers")
    options = {"DATE_AS_STRING": "YES"} if source.suffix == ".geojson" else {}
    try:
        write_features(connection, source, target, layer, custom, warnings, **options)
    except duckdb.Error as error:
        if UNREADABLE not in str(error):
            raise
        write_straight(connection, source, target, layer, custom, warnings)
        warnings.append("its curves became lines, as an approximation, and its surfaces polygons")
    return warnings


def one_of(names: list[str], custom: Mapping[str, Any], what: str) -> str:
    """The layer that is wanted.

    Raises:
        ValueError: if there is no such layer, or there are several and none is named.
    """
    named = str(custom.get("layer") or custom.get("layer_name") or "")
    if not named and len(names) == 1:
        return names[0]
    if named not in names:
        found = f"is no layer {named}" if named else f"are {len(names)} {what}"
        raise ValueError(f"there {found}; say `custom: {{layer: …}}`, one of {', '.join(names)}")
    return named


def write_features(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    target: Path,
    layer: str,
    custom: Mapping[str, Any],
    warnings: list[str],
    **options: str,
) -> None:
    """Write a layer as Parquet, as it comes from GDAL; `options` are those of its driver."""
    crs = wanted_crs(custom)
    with opened(connection, source, warnings, layer, **options) as features:
        features.rows.create_view(FEATURES, replace=True)
        shapes = features.rows.columns[len(features.names) :]
        geometry = [with_crs(identifier(name), crs) for name in shapes]
        copy_to_parquet(connection, _selected(features.rows, features.names, geometry), target)
    warnings += renamed([*features.names, *(GEOMETRY for _ in shapes)])


def write_straight(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    target: Path,
    layer: str,
    custom: Mapping[str, Any],
    warnings: list[str],
) -> None:
    """Write a layer as Parquet, its curves as lines."""
    with opened(connection, source, warnings, layer) as features:
        found = crs_of(str(features.rows.types[-1]))
    crs = wanted_crs(custom) or found
    text = target.with_suffix(".shapes.csv")
    with text.open("w", encoding="ascii") as lines:
        for shapes in straight_shapes(source, layer, warnings):
            lines.writelines(f"{without_surfaces(shape).hex() if shape else ''}\n" for shape in shapes)
    options = f"{NO_PATH_COLUMNS}, header = false, auto_detect = false, columns = {{'shape': 'VARCHAR'}}"
    read = f"read_csv($shapes, {options})"
    connection.execute(
        f"create or replace temp table {SHAPES} as select st_geomfromwkb(unhex(shape)) as shape from {read}",  # noqa: S608
        {"shapes": str(text)},
    )
    text.unlink()
    with opened(connection, source, warnings, layer, read_geometry=False) as features:
        features.rows.create_view(FEATURES, replace=True)
        selected = _selected(features.rows, features.names, [with_crs("shape", crs)])
        copy_to_parquet(connection, f"{selected} positional join {SHAPES}", target)
    warnings += renamed([*features.names, GEOMETRY])


def wanted_crs(custom: Mapping[str, Any]) -> str | None:
    """The reference system that `custom` says, as DuckDB's types have it.

    Raises:
        ValueError: if there is no such reference system.
    """
    named = str(custom.get("crs") or "")
    return reference_system(named) if named else None


def with_crs(shapes: str, crs: str | None) -> str:
    """SQL for shapes in a reference system; in their own where none is given."""
    return f"st_setcrs({shapes}, {literal(crs)})" if crs else shapes


def _selected(rows: duckdb.DuckDBPyRelation, names: Sequence[str], shapes: Sequence[str]) -> str:
    """SQL for the columns of a layer under names that SQL can say, and its shapes."""
    made = usable([*names, *(GEOMETRY for _ in shapes)])
    fields = (
        f"{identifier(column)}::varchar" if str(type_) == "JSON" else identifier(column)
        for column, type_ in zip(rows.columns[: len(names)], rows.types, strict=False)
    )
    columns = (f"{read} as {identifier(name)}" for read, name in zip([*fields, *shapes], made, strict=True))
    return f"select {', '.join(columns)} from {FEATURES}"  # noqa: S608


def without_surfaces(shape: bytes) -> bytes:
    """The same shape as WKB, its surfaces as polygons."""
    made = bytearray(shape)
    _number_anew(made, 0)
    return bytes(made)


def _number_anew(shape: bytearray, at: int) -> int:
    """Give surfaces the number of polygons, in the shape that begins at a byte; where it ends."""
    order = "<" if shape[at] else ">"
    number = int(struct.unpack_from(f"{order}I", shape, at + 1)[0])
    kind, thousands = number % 2**16 % 1000, number % 2**16 // 1000
    size = 8 * (
        2 + (1 if thousands in {1, 2} else 2 if thousands == 3 else (number >> 31) + (number >> 30 & 1))
    )
    struct.pack_into(f"{order}I", shape, at + 1, number - kind + SURFACES.get(kind, kind))
    at += 5
    if kind == 1:
        return at + size
    count = int(struct.unpack_from(f"{order}I", shape, at)[0])
    at += 4
    if kind == 2:
        return at + count * size
    for _ in range(count):
        if kind in {3, 17}:
            at += 4 + int(struct.unpack_from(f"{order}I", shape, at)[0]) * size
        else:
            at = _number_anew(shape, at)
    return at
