"""What a format holds of each kind of value: it is right, or told with its row and column."""

import csv
import io
import json
import zipfile
from pathlib import Path

import duckdb
import pyogrio
import pytest

from flows.tables.shapefile import short_names
from tests.flows.tables.conftest import Reading, Writing

SHAPE = "'POINT (1 2)'::geometry as g"
NAN = "has NaN, which is null, or more digits than a number holds, which is text"
NOWHERE = 'LOCAL_CS["site",UNIT["metre",1]]'
LONG = 12345678901234567890123
CITY = (
    'PROJCS["City grid feet",GEOGCS["NAD83",DATUM["North_American_Datum_1983",SPHEROID["GRS 1980",6378137,'
    '298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Lambert_Conformal_Conic_2SP"],PARAMETER["latitude_of_origin",40.1],'
    'PARAMETER["central_meridian",-74.1],PARAMETER["standard_parallel_1",41.0],'
    'PARAMETER["standard_parallel_2",40.6],PARAMETER["false_easting",900000],PARAMETER["false_northing",0],'
    'UNIT["US survey foot",0.304800609601219]]'
)


def in_system(crs: str, x: float = 1, y: float = 2) -> str:
    return f"st_setcrs('POINT ({x} {y})'::geometry, '{crs}') as g"


def test_json_has_no_nan_at_any_depth(writing: Writing) -> None:
    nested = "{'a': 'nan'::double, 'b': 1.5} as s, [-'inf'::double, 1] as l, map {'k': 'nan'::float} as m"
    texts = "to_json({'x': 'nan'::double, 't': 'NaN \"Infinity'}) as j, 'NaN' as t"
    made = writing(f"select 'nan'::double as n, 'inf'::float as i, {nested}, {texts}", "json")
    assert made.json == [
        {
            "n": None,
            "i": None,
            "s": {"a": None, "b": 1.5},
            "l": [None, 1.0],
            "m": {"k": None},
            "j": {"x": None, "t": 'NaN "Infinity'},
            "t": "NaN",
        }
    ]
    assert made.warnings == ("line 2, n: NaN is no JSON, and is null (so are 5 others)",)


@pytest.mark.parametrize("kind", ["json", "geojson"])
@pytest.mark.parametrize(
    ("values", "kept", "warned"),
    [
        (["9007199254740993::bigint", "null"], [9007199254740993, None], ""),
        (["9007199254740993::ubigint", "1"], [9007199254740993, 1], ""),
        (
            ["18446744073709551615::ubigint", "1"],
            ["18446744073709551615", "1"],
            "row 1, column v: 184467440737",
        ),
        (["1.5::decimal(38,9)", "0.1"], [1.5, 0.1], ""),
        (["5::decimal(38,0)", "7"], [5, 7], ""),
        (
            ["1", f"{LONG}::decimal(38,0)"],
            ["1", str(LONG)],
            f"row 2, column v: {LONG} has more digits than a",
        ),
        (
            ["12345678901234567.89::decimal(19,2)"],
            ["12345678901234567.89"],
            "row 1, column v: 12345678901234567.89",
        ),
        ([f"[{LONG}::decimal(38,0), 1]"], [[str(LONG), "1"]], f"row 1, column v: [{LONG}"),
        (["{'a': [{'b': 5::decimal(38,0)}]}"], [{"a": [{"b": 5}]}], ""),
        ([f"map {{'k': {{'n': {LONG}::decimal(38,0)}}}}"], [{"k": {"n": str(LONG)}}], "row 1, column v: {k="),
        (["encode('é')", "'ab'::blob"], ["é", "ab"], ""),
        ([r"'\xFF\x00'::blob", "'ab'::blob"], ["FF00", "6162"], "row 1, column v: \\xFF\\x00 is no text"),
        (["interval '1 month 2 days'"], ["1 month 2 days"], ""),
        (["uuid '5f9e3ee6-6b1c-4d5f-9a5b-1b0a1d3f2e11'"], ["5f9e3ee6-6b1c-4d5f-9a5b-1b0a1d3f2e11"], ""),
        (["date '2024-01-31'"], ["2024-01-31"], ""),
        (["time '10:11:12.123456'"], ["10:11:12.123456"], ""),
        (["true"], [True], ""),
    ],
)
def test_values_are_right_or_told(
    writing: Writing, kind: str, values: list[str], kept: list[object], warned: str
) -> None:
    query = f"select unnest([{', '.join(values)}]) as v, {in_system('EPSG:4326')}"
    made = writing(query, kind)
    found = made.json if kind == "json" else [feature["properties"] for feature in made.features]
    assert [row["v"] for row in found] == kept
    assert [told for told in made.warnings if warned and told.startswith(warned)] == list(made.warnings)


@pytest.mark.parametrize(
    ("value", "kept", "warned"),
    [
        ("'nan'::double", None, "row 1, column v: nan is no number that this format has, and is null"),
        (
            *("{'a': ['nan'::double, 1.5]}", {"a": [None, 1.5]}),
            "row 1, column v: {'a': [nan, 1.5]} has NaN, which is null, or more",
        ),
        ("to_json(['nan'::double])", [None], "line 6, v: NaN is no JSON, and is null"),
        ("timestamp '2024-01-31 10:11:12.123'", "2024-01-31T10:11:12.123", ""),
        (
            *("timestamp '2024-01-31 10:11:12.123456'", "2024-01-31 10:11:12.123456"),
            "row 1, column v: 2024-01-31 10:11:12.123456 is finer than milliseconds or",
        ),
        ("'infinity'::date", "infinity", "row 1, column v: infinity is finer than"),
        ("'a' || chr(0) || 'b'", "ab", "row 1, column v: a"),
        ("'[1] {\"a\": 1}'", '[1] {"a": 1}', ""),
        ("'[1]'", "[1]", ""),
        ("{'first': 1, 'second': ['x']}", {"first": 1, "second": ["x"]}, ""),
        (f"'{{\"a\": {LONG}}}'::json", f'{{"a": {LONG}}}', "row 1, column v: {"),
        ("[date '2024-01-01']", ["2024-01-01"], ""),
    ],
)
def test_geojson_holds_what_json_does(writing: Writing, value: str, kept: object, warned: str) -> None:
    made = writing(f"select {value} as v, {in_system('EPSG:4326')}", "geojson")
    assert made.features[0]["properties"] == {"v": kept}
    assert [told for told in made.warnings if warned and told.startswith(warned)] == list(made.warnings)


@pytest.mark.parametrize("kind", ["gpkg", "shp"])
def test_several_values_in_one_are_json_text_and_told_by_column(
    writing: Writing, reading: Reading, tmp_path: Path, kind: str
) -> None:
    values = "{'a': 1, 'b': ['x']} as s, [1.5, 'nan'::double] as l, map {'k': [true]} as m"
    made = writing(f"select {values}, {in_system('EPSG:4326')}", kind)
    if kind == "shp":
        row = reading(made.content, "shapefile").rows[0]
    else:
        (tmp_path / "a.gpkg").write_bytes(made.content)
        row = [column[0] for column in pyogrio.raw.read(tmp_path / "a.gpkg")[3]]
    assert list(row[:3]) == ['{"a":1,"b":["x"]}', "[1.5,null]", '{"k":[true]}']
    assert made.warnings == (
        "column s holds several values in one, and is JSON text",
        f"row 1, column l: [1.5, nan] {NAN}",
        "column m holds several values in one, and is JSON text",
    )


@pytest.mark.parametrize(
    ("value", "type_", "kept", "warned"),
    [
        (
            "1.5e-18::double",
            "DOUBLE",
            1.5e-18,
            "row 1, column v: 1.5e-18 is written with an exponent, which not",
        ),
        ("1e300", "DOUBLE", 1e300, "row 1, column v: 1e+300 is written with an exponent"),
        ("0.1::double", "DOUBLE", 0.1, ""),
        ("1/3::double", "DOUBLE", 1 / 3, ""),
        ("-1/3::double * 1e-6", "DOUBLE", -1 / 3 * 1e-6, "row 1, column v: -3.333333333333333e-07"),
        ("1623819823.8099999::double", "DOUBLE", 1623819823.81, ""),
        ("123456789012345.67::double", "DOUBLE", 123456789012345.67, ""),
        ("0.1::float", "DOUBLE", 0.1, ""),
        (
            "'inf'::double",
            "DOUBLE",
            None,
            "row 1, column v: inf is no number that this format has, and is null",
        ),
        ("12.34::decimal(10,2)", "DOUBLE", 12.34, ""),
        ("999999999999999999", "BIGINT", 10**18 - 1, ""),
        (
            *("1000000000000000000", "VARCHAR", "1000000000000000000"),
            "row 1, column v: 1000000000000000000 has more than the 18 digits that a shapefile holds",
        ),
        (
            "18446744073709551615::ubigint",
            "VARCHAR",
            "18446744073709551615",
            "row 1, column v: 18446744073709551615",
        ),
        ("encode('é')", "VARCHAR", "é", ""),
        (
            "date '0800-12-25'",
            "VARCHAR",
            "0800-12-25",
            "row 1, column v: 0800-12-25 is finer than milliseconds or",
        ),
        ("timestamp '2024-01-31 10:11:12'", "VARCHAR", "2024-01-31T10:11:12", ""),
        ("'上海'", "VARCHAR", "上海", ""),
    ],
)
def test_a_shapefile_holds_a_value_or_tells(
    writing: Writing, reading: Reading, value: str, type_: str, kept: object, warned: str
) -> None:
    made = writing(f"select unnest([{value}, null]) as v, {in_system('EPSG:2263')}", "shp")
    read = reading(made.content, "shapefile")
    assert (read.columns["v"], read.values("v"), read.warnings) == (type_, [kept, None], [])
    assert [told for told in made.warnings if warned and told.startswith(warned)] == list(made.warnings)


def test_a_shapefile_refuses_what_it_cannot_hold_at_all(writing: Writing) -> None:
    with pytest.raises(ValueError, match="collections of shapes, which shapefiles do not have"):
        writing("select 'GEOMETRYCOLLECTION (POINT (1 2))'::geometry as g", "shp")
    said = "row 2, column x of table a has text longer than the 254 bytes that a shapefile holds"
    with pytest.raises(ValueError, match=said):
        writing(f"select unnest(['é', repeat('é', 128)]) as x, {SHAPE}", "shp")
    assert writing(f"select repeat('e', 254) as x, -999999999999999999 as y, {SHAPE}", "shp").warnings == ()


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["much_longer_than_ten", "much_longe"], ["much_lon_1", "much_longe"]),
        (["longer_name_a", "longer_name_b", "Longer_nam"], ["longer_n_1", "longer_n_2", "Longer_nam"]),
        (["ten_chars_", "straße_und_platz", "上海市浦东新区"], ["ten_chars_", "straße_un", "上海市"]),
        ([f"a_long_name_{at}" for at in range(11)][-2:], ["a_long_nam", "a_long_n_1"]),
    ],
)
def test_a_name_that_fits_stays(
    writing: Writing, reading: Reading, columns: list[str], names: list[str]
) -> None:
    assert list(short_names(columns).values()) == names
    values = ", ".join(f'{at} as "{name}"' for at, name in enumerate(columns))
    made = writing(f"select {values}, {in_system('EPSG:2263')}", "shp")
    read = reading(made.content, "shapefile")
    assert (list(read.columns)[:-1], read.rows[0][:-1]) == (names, tuple(range(len(names))))
    cut = [f"{column!r} to {name}" for column, name in zip(columns, names, strict=True) if column != name]
    assert made.warnings == (f"columns renamed: {', '.join(cut)}",)


def test_geojson_names_a_reference_system_that_has_a_code(writing: Writing) -> None:
    made = writing(f"select 1 as n, {in_system('EPSG:2263', 990629, 207012)}", "geojson")
    assert made.json["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::2263"
    assert made.features[0]["geometry"]["coordinates"] == [990629, 207012]
    assert made.warnings == ()


def test_geojson_is_in_longitude_and_latitude_where_a_reference_system_has_no_code(
    writing: Writing, reading: Reading
) -> None:
    query = f"select 1 as n, {in_system(CITY, 990629, 207012)}"
    made = writing(query, "geojson")
    assert "crs" not in made.json
    assert made.features[0]["geometry"]["coordinates"] == pytest.approx([-73.7733070, 40.6677526], abs=1e-6)
    assert made.warnings == (
        "the shapes are in longitude and latitude, since GeoJSON cannot name their reference system",
    )
    assert (
        reading(writing(query, "shp").content, "shapefile").columns["geometry"]
        == "GEOMETRY('City_grid_feet')"
    )
    with pytest.raises(
        ValueError, match=r"the reference system of table a has no code, .*: export it as gpkg or shp"
    ):
        writing(f"select 1 as n, {in_system(NOWHERE)}", "geojson")


def test_no_reference_system_is_invented(writing: Writing, tmp_path: Path) -> None:
    feet = "'POINT (990629 207012)' as wkt"
    made = writing(f"select 1 as n, {feet}", "geojson", geom_column="wkt")
    assert "crs" not in made.json
    (told,) = made.warnings
    assert told.startswith(
        "no reference system is known, and readers take the shapes for longitude and latitude"
    )
    assert told.endswith("say `custom: {crs: …}`, as EPSG:2263")
    (tmp_path / "a.gpkg").write_bytes(writing(f"select 1 as n, {feet}", "gpkg", geom_column="wkt").content)
    assert pyogrio.read_info(tmp_path / "a.gpkg")["crs"] is None
    named = writing(f"select 1 as n, {feet}", "geojson", geom_column="wkt", crs="EPSG:2263")
    assert (named.json["crs"]["properties"]["name"], named.warnings) == ("urn:ogc:def:crs:EPSG::2263", ())
    with pytest.raises(ValueError, match=r"table a has a reference system, and .* says another"):
        writing(f"select {in_system('EPSG:4326')}", "geojson", crs="EPSG:2263")


def test_binary_text_is_text_in_csv_and_sheets_too(writing: Writing, reading: Reading) -> None:
    query = r"select encode('é') as text, '\xFF'::blob as bytes"
    made = writing(query, "csv")
    assert list(csv.reader(io.StringIO(made.content.decode()))) == [["text", "bytes"], ["é", "FF"]]
    assert made.warnings == (
        r"row 1, column bytes: \xFF is no text, and the column is written as hexadecimal digits",
    )
    assert reading(writing(query, "xlsx").content, "xlsx").rows == [("é", "FF")]


def test_gdal_says_nothing_on_stderr(writing: Writing, capfd: pytest.CaptureFixture[str]) -> None:
    values = "1 as much_longer_than_ten, {'a': 'nan'::double} as s, 'nan'::double as n, 1e300 as wide"
    for kind in ("shp", "geojson", "gpkg"):
        writing(f"select {values}, {SHAPE}", kind)
    assert capfd.readouterr() == ("", "")


def test_a_shapefile_says_the_encoding_of_its_text(writing: Writing) -> None:
    with zipfile.ZipFile(io.BytesIO(writing(f"select 'é' as x, {SHAPE}", "shp").content)) as archive:
        assert archive.read("a.cpg") == b"UTF-8"
        assert "é".encode() in archive.read("a.dbf")


def test_a_parquet_file_without_a_reference_system_says_so(writing: Writing, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(writing(f"select 1 as n, {SHAPE}", "parquet").content)
    query = f"select value from parquet_kv_metadata('{tmp_path}/a.parquet')"
    assert b'"crs":null' in duckdb.sql(query).fetchall()[0][0]


def test_nested_properties_come_back_nested(writing: Writing, reading: Reading, tmp_path: Path) -> None:
    feature = {
        "type": "Feature",
        "properties": {"o": {"a": [1, None]}, "l": ["x"], "t": "[1]"},
        "geometry": None,
    }
    table = reading(json.dumps(feature), "geojson").table
    made = writing(f"from '{table.file}'", "geojson")
    assert made.features[0]["properties"] == feature["properties"]
