"""GeoJSON as Parquet: its properties as JSON records are read, its shapes by GDAL."""

import json
import mmap
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.encodings import in_utf8
from flows.tables.features_reader import FEATURES, GEOMETRY, SHAPES, features_to_parquet, wanted_crs, with_crs
from flows.tables.gdal import opened
from flows.tables.json_reader import explained
from flows.tables.json_records import kinds_of, records
from flows.tables.json_text import members, portable
from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.quoting import identifier, literal
from flows.tables.reference_systems import reference_system
from flows.tables.table import NO_PATH_COLUMNS, PARQUET, renamed, selected, usable

FEATURE_BYTES = 2**27
ID, OTHER_ID = "id", "feature_id"
LONGEST_SHOWN = 60
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
WHOLE_EARTH = "'POLYGON ((-360 -90, 360 -90, 360 90, -360 90, -360 -90))'::geometry"
LONGITUDE_LATITUDE = re.compile(r"CRS:?84$|EPSG:.*:?4326$")
NO_CRS = ""
CRS_HINT = "say `custom: {crs: …}`, as EPSG:2263"
RAW_LINES = "format csv, header false, quote '', escape '', delimiter '\x01'"


@dataclass(frozen=True)
class Document:
    """Where the features of a file stand, and what it says of their reference system."""

    features: slice
    layout: str
    """As DuckDB calls it."""
    crs: bytes | None = None
    """JSON."""


def geojson_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write features as Parquet: their ids, their properties as fields of JSON are read, and their shapes.

    Args:
        custom: `encoding`, else UTF-8; `crs`, else what the file says, else WGS 84; `layer` or `layer_name`
            where it is another kind of JSON that has several.

    Raises:
        ValueError: if it has no features, or its reference system is not known.
        duckdb.Error: if it is no JSON.
    """
    text = in_utf8(source, custom.get("encoding"), target)
    document = _document(text)
    if document is None:
        plain, warnings = portable(text, target.with_suffix(".geojson"))
        return [*warnings, *features_to_parquet(connection, plain, target, custom)]
    plain, warnings = portable(text, target.with_suffix(".features.json"), document.features)
    features = target.with_suffix(".features.parquet")
    columns = "{'type': 'VARCHAR', 'id': 'JSON', 'properties': 'JSON', 'geometry': 'JSON'}"
    options = f"format = '{document.layout}', maximum_object_size = {FEATURE_BYTES}, {NO_PATH_COLUMNS}"
    read = f"read_json({literal(str(plain))}, {options}, columns = {columns})"
    try:
        connection.execute(f"copy (from {read}) to {literal(str(features))} ({PARQUET})")
        plain.unlink()
        _require_features(connection, features)
        ids = _ids(connection, features)
        properties, kinds, told = _properties(connection, features, target.with_suffix(".properties.json"))
    except duckdb.Error as error:
        raise explained(error) from error
    warnings += told
    shapes = _shapes(connection, features, document, target.with_suffix(".geojson"), custom, warnings)
    parts = [f"read_parquet({literal(str(features))}) as features", f"{SHAPES} as shapes"]
    names = []
    if kinds:
        parts.append(f"(select {selected(list(kinds))} from {properties}) as properties")  # noqa: S608
        names = usable([*kinds, GEOMETRY])[:-1]
        warnings += renamed(list(kinds))
    joined = " positional join ".join(parts)
    chosen = [f"properties.{identifier(name)}" for name in names]
    if ids and (named := _name_of_ids(connection, joined, ids, names)):
        chosen.insert(0, f"{ids} as {identifier(named)}")
        if named != ID:
            warnings.append(f"the ids of features are column {named}, for there is a property {ID}")
    chosen.append(f"{shapes} as {GEOMETRY}")
    copy_to_parquet(connection, f"select {', '.join(chosen)} from {joined}", target)  # noqa: S608
    return warnings


def _document(file: Path) -> Document | None:
    """Where features stand in a file; None where it is another kind of JSON, or none."""
    if not file.stat().st_size:
        return None
    with file.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = members(text)
        kind = text[found["type"]] if "type" in found else b""
        if kind == b'"Topology"' or "geometryType" in found:
            raise ValueError("it is Esri's JSON or TopoJSON: make it GeoJSON, as ogr2ogr does")
        if kind == b'"Feature"' and b"\x1e" not in text[:2]:
            return Document(slice(0, len(text)), "unstructured")
        if kind == b'"FeatureCollection"' and "features" in found and text[found["features"]][:1] == b"[":
            return Document(found["features"], "array", text[found["crs"]] if "crs" in found else None)
    return None


def _require_features(connection: duckdb.DuckDBPyConnection, features: Path) -> None:
    wrong = (
        "select file_row_number + 1, type, json_type(properties) from "
        "read_parquet($features, file_row_number = true) where type is distinct from 'Feature' "
        "or json_type(properties) not in ('OBJECT', 'NULL') limit 1"
    )
    for row, type_, properties in connection.execute(wrong, {"features": str(features)}).fetchall():
        found = f"its type is {type_}" if type_ != "Feature" else f"its properties are {properties}"
        raise ValueError(f"feature {row:,} is none: {found}")


def _ids(connection: duckdb.DuckDBPyConnection, features: Path) -> str | None:
    """SQL for the ids of features, whole numbers where all of them are; None where there are none."""
    text = "features.id->>'$'"
    whole_ones = f"bool_and(json_type(features.id) in ('UBIGINT', 'BIGINT')) filter ({text} is not null)"
    query = f"select count({text}), {whole_ones} from read_parquet($features) as features"  # noqa: S608
    count, whole = connection.execute(query, {"features": str(features)}).fetchall()[0]
    if not count:
        return None
    return f"({text})::bigint" if whole else f"({text})"


def _name_of_ids(
    connection: duckdb.DuckDBPyConnection, joined: str, ids: str, names: list[str]
) -> str | None:
    """What the column of ids is called; None where a property says the same."""
    taken = {name.lower(): name for name in names}
    if ID not in taken:
        return ID
    same = f"bool_and({ids}::varchar is not distinct from properties.{identifier(taken[ID])}::varchar)"
    if connection.execute(f"select {same} from {joined}").fetchall()[0][0]:  # noqa: S608
        return None
    name = OTHER_ID
    while name in taken:
        name += "_"
    return name


def _properties(
    connection: duckdb.DuckDBPyConnection, features: Path, lines: Path
) -> tuple[str, dict[str, str], list[str]]:
    """SQL for the properties, their types, and warnings."""
    given = {"features": str(features)}
    most = "select coalesce(max(len(json_keys(properties))), 0) from read_parquet($features)"
    if not connection.execute(most, given).fetchall()[0][0]:
        return "", {}, []
    record = "coalesce(nullif(properties::varchar, 'null'), '{}')"
    read = f"select {record} from read_parquet($features)"  # noqa: S608
    connection.execute(f"copy ({read}) to {literal(str(lines))} ({RAW_LINES})", given)
    kinds, told = kinds_of(connection, lines, lists=True)
    whole = [name for name, kind in kinds.items() if kind == "BIGINT"]
    if whole:
        fits = ", ".join(f"bool_and({identifier(name)} between {INT_MIN} and {INT_MAX})" for name in whole)
        answers = connection.execute(f"select {fits} from {records(lines, kinds)}").fetchall()[0]  # noqa: S608
        kinds |= {name: "INTEGER" for name, fit in zip(whole, answers, strict=True) if fit}
    return records(lines, kinds), kinds, told


def _shapes(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    features: Path,
    document: Document,
    map_file: Path,
    custom: Mapping[str, Any],
    warnings: list[str],
) -> str:
    """SQL for the shapes of features, which are rows of the table `SHAPES` from here on."""
    crs = wanted_crs(custom)
    if crs is None:
        crs = _crs(document, warnings)
    array = map_file.with_suffix(".shapes.json")
    numbered = "{'n': row_number() over () - 1}"
    slim = f"select 'Feature' as type, {numbered} as properties, geometry from read_parquet($features)"  # noqa: S608
    written = f"copy ({slim}) to {literal(str(array))} (format json, array true)"
    connection.execute(written, {"features": str(features)})
    with map_file.open("wb") as out, array.open("rb") as content:
        out.write(b'{"type": "FeatureCollection", "features": ')
        shutil.copyfileobj(content, out)
        out.write(b"}")
    array.unlink()
    with opened(connection, map_file, warnings) as layer:
        columns = [identifier(name) for name in layer.rows.columns]
        layer.rows.create_view(FEATURES, replace=True)
        connection.execute(
            f"create or replace temp table {SHAPES} as select {columns[-1]} as shape, "  # noqa: S608
            f"{columns[0] if len(columns) > 1 else 'null'} as n from {FEATURES}"
        )
    wrong = (
        f"select count(*) filter (n is distinct from rowid), "  # noqa: S608
        f"(select count(*) from read_parquet($features)) - count(*) from {SHAPES}"
    )
    if any(connection.execute(wrong, {"features": str(features)}).fetchall()[0]):
        raise ValueError("GDAL does not read the shapes of all of its features")
    if document.crs is None and not custom.get("crs"):
        warnings += _far_away(connection)
    return "shapes.shape::geometry" if crs == NO_CRS else with_crs("shapes.shape", crs)


def _crs(document: Document, warnings: list[str]) -> str | None:
    """The reference system that a document names; None where it names none, and it is WGS 84."""
    if document.crs is None:
        return None
    said = json.loads(document.crs)
    if said is None:
        warnings.append(f"its crs is null, and its shapes have no reference system: {CRS_HINT}")
        return NO_CRS
    properties = said.get("properties") if isinstance(said, dict) else None
    named = properties if isinstance(properties, dict) else {}
    name = f"EPSG:{named['code']}" if "code" in named else str(named.get("name") or "")
    if not name:
        raise ValueError(f"its crs is {document.crs.decode()[:LONGEST_SHOWN]}, which names none: {CRS_HINT}")
    if LONGITUDE_LATITUDE.search(name):
        return None
    try:
        return reference_system(name)
    except ValueError as error:
        raise ValueError(f"its crs is {name}, which is no known reference system: {CRS_HINT}") from error


def _far_away(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """A warning where shapes cannot be in longitude and latitude, as they are where nothing else is said."""
    far = f"not st_intersects_extent(shape, {WHOLE_EARTH})"
    query = f"select rowid + 1, st_astext(shape) from {SHAPES} where {far} limit 1"  # noqa: S608
    return [
        f"feature {row:,} is not in longitude and latitude, and no crs is named: {CRS_HINT} "
        f"({shape[:LONGEST_SHOWN]})"
        for row, shape in connection.execute(query).fetchall()
    ]
