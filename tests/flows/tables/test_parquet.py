import json
import struct
from pathlib import Path

import duckdb
import pytest

from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.table import database
from tests.flows.tables.conftest import Reading
from tests.shapefiles import point

PROJJSON = {"type": "ProjectedCRS", "name": "City grid", "id": {"authority": "EPSG", "code": 2263}}
WKT = (
    'PROJCS["NAD83 / New York Long Island (ftUS)",GEOGCS["NAD83",DATUM["North_American_Datum_1983",'
    'SPHEROID["GRS 1980",6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Lambert_Conformal_Conic_2SP"],PARAMETER["latitude_of_origin",40.1666666666667],'
    'PARAMETER["central_meridian",-74],PARAMETER["standard_parallel_1",41.0333333333333],'
    'PARAMETER["standard_parallel_2",40.6666666666667],PARAMETER["false_easting",984250],'
    'PARAMETER["false_northing",0],UNIT["US survey foot",0.304800609601219],AUTHORITY["EPSG","2263"]]'
)
POINTS = f"unnest([unhex('{point(1, 2).hex()}'), null]) as geometry"


@pytest.fixture
def written(tmp_path: Path):
    """The bytes of a query's rows as Parquet, with GeoParquet metadata."""

    def written(query: str, geo: object = None) -> bytes:
        file = tmp_path / "given.parquet"
        kept = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": geo}}
        text = json.dumps(geo if isinstance(geo, dict) and "columns" in geo else kept).replace("'", "''")
        metadata = f", kv_metadata {{geo: '{text}'}}" if geo is not None else ""
        duckdb.sql(f"copy ({query}) to '{file}' (format parquet, geoparquet_version 'NONE'{metadata})")
        return file.read_bytes()

    return written


@pytest.mark.parametrize(
    ("version", "column", "type_"),
    [
        (None, {"crs": WKT, "encoding": "WKB"}, "GEOMETRY('EPSG:2263')"),
        ("0.2.0", {"crs": WKT, "encoding": "WKB", "geometry_type": "Point"}, "GEOMETRY('EPSG:2263')"),
        ("0.4.0", {"crs": PROJJSON, "encoding": "WKB", "geometry_type": "Point"}, "GEOMETRY('EPSG:2263')"),
        ("0.4.0", {"crs": None, "encoding": "WKB", "geometry_type": "Point"}, "GEOMETRY"),
        ("0.4.0", {"encoding": "WKB", "geometry_type": "Point"}, "GEOMETRY('OGC:CRS84')"),
        ("1.0.0", {"crs": "EPSG:2263", "encoding": "WKB", "geometry_types": []}, "GEOMETRY('EPSG:2263')"),
        ("1.0.0", {"encoding": "WKB"}, "GEOMETRY('OGC:CRS84')"),
        ("1.1.0", {"crs": None, "encoding": "WKB", "geometry_types": ["Point"]}, "GEOMETRY"),
    ],
)
def test_shapes_of_older_writers_are_shapes(
    reading: Reading, written, version: str | None, column: dict[str, object], type_: str
) -> None:
    geo = {"version": version, "primary_column": "geometry", "columns": {"geometry": column}}
    geo = {name: value for name, value in geo.items() if value is not None}
    read = reading(written(f"select unnest([1, 2]) as n, {POINTS}", geo), "parquet")
    assert (read.columns["geometry"], read.warnings) == (type_, [])
    assert read.rows == [(1, "POINT (1 2)"), (2, None)]


@pytest.mark.parametrize(
    ("encoding", "value", "text"),
    [
        ("WKT", "'LINESTRING (0 0, 1 1)'", "LINESTRING (0 0, 1 1)"),
        ("point", "{'x': 1.5::double, 'y': 2::double}", "POINT (1.5 2)"),
        ("point", "{'x': 1::double, 'y': 2::double, 'z': 3::double}", "POINT Z (1 2 3)"),
        (
            "linestring",
            "[{'x': 0::double, 'y': 0::double}, {'x': 1::double, 'y': 1::double}]",
            "LINESTRING (0 0, 1 1)",
        ),
        (
            *("multipolygon", "[[[{'x': 0::double, 'y': 0::double}, {'x': 1::double, 'y': 1::double}]]]"),
            "MULTIPOLYGON (((0 0, 1 1)))",
        ),
        ("polygon", "[]::struct(x double, y double)[][]", "POLYGON EMPTY"),
    ],
)
def test_shapes_may_be_text_or_coordinates(
    reading: Reading, written, encoding: str, value: str, text: str
) -> None:
    given = written(f"select 1 as n, {value} as geometry", {"encoding": encoding, "geometry_types": []})
    assert reading(given, "parquet").rows == [(1, text)]


def test_metadata_that_do_not_fit_are_told(reading: Reading, written) -> None:
    with pytest.raises(ValueError, match="its column geometry of VARCHAR is said to hold shapes as WKB"):
        reading(written("select 'x' as geometry", {"encoding": "WKB", "geometry_types": []}), "parquet")
    with pytest.raises(ValueError, match="nowhere is no known reference system"):
        reading(written(f"select {POINTS}", {"encoding": "WKB", "crs": "nowhere"}), "parquet")
    read = reading(written("select 1 as n", {"columns": 5}), "parquet")
    assert (read.rows, read.warnings) == ([(1,)], ["its GeoParquet metadata are none, and do not count"])


def test_text_that_is_said_to_be_binary_is_text(reading: Reading, written) -> None:
    values = "encode('é') as name, 'ab\\x00'::blob as nul, '\\xFF'::blob as bytes, null::blob as none"
    read = reading(written(f"select {values}, unhex('{point(0, 0).hex()}') as wkb"), "parquet")
    assert list(read.columns.values()) == ["VARCHAR", "BLOB", "BLOB", "BLOB", "BLOB"]
    assert read.rows[0][:4] == ("é", b"ab\0", b"\xff", None)
    assert read.warnings == ["column name: its bytes are UTF-8, and are text"]


def test_what_cannot_be_read_to_its_end_is_not_taken(reading: Reading, written) -> None:
    content = written("select range as n, 'abcdé' || range as name from range(3)")
    wrong = content.replace("abcdé".encode(), b"abcd\xe9\xe9")
    with pytest.raises(ValueError, match=r"its column name cannot be read: .*not valid UTF8"):
        reading(wrong, "parquet")
    with pytest.raises(duckdb.Error):
        reading(content[: len(content) // 2], "parquet")


@pytest.mark.parametrize(
    ("shape", "crs"),
    [
        ("'POINT (1 2)'::geometry", None),
        ("st_setcrs('POINT (1 2)'::geometry, 'EPSG:2263')", 2263),
        ("st_setcrs('POINT (1 2)'::geometry, 'OGC:CRS84')", ...),
    ],
)
def test_what_a_file_says_of_a_reference_system_is_what_is_known(
    tmp_path: Path, shape: str, crs: object
) -> None:
    target = tmp_path / "made.parquet"
    with database(tmp_path) as connection:
        copy_to_parquet(connection, f"select 1 as n, {shape} as g, 'POINT (1 2)'::geometry as h", target)
    (geo,) = duckdb.sql(f"select value from parquet_kv_metadata('{target}') where key = 'geo'").fetchall()
    said = json.loads(geo[0])["columns"]
    assert said["h"]["crs"] is None
    found = said["g"].get("crs", ...)
    assert (found["id"]["code"] if isinstance(found, dict) else found) == crs
    assert duckdb.sql(f"select st_astext(g), st_astext(h) from '{target}'").fetchall() == [
        ("POINT (1 2)",) * 2
    ]


def test_surfaces_of_a_collection_are_polygons() -> None:
    from flows.tables.features_reader import without_surfaces

    ring = struct.pack("<I6d", 3, *range(6))
    triangle = struct.pack("<BII", 1, 17, 1) + ring
    tin = struct.pack("<BII", 1, 16, 1) + triangle
    shape = struct.pack("<BII", 1, 7, 2) + tin + point(1, 2)
    made = without_surfaces(shape)
    text = duckdb.execute("select st_astext(st_geomfromwkb(?))", [made]).fetchall()[0][0]
    assert text == "GEOMETRYCOLLECTION (MULTIPOLYGON (((0 1, 2 3, 4 5))), POINT (1 2))"
