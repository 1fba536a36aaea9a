import json

import pytest

from tests.flows.tables.conftest import Reading

LONG = 12345678901234567890123
PROJECTED = "urn:ogc:def:crs:EPSG::2263"


def features(*properties: object, ids: list[object] | None = None, **members: object) -> str:
    """A collection of points; an id of `...` is none at all."""
    given = ids or [...] * len(properties)
    found = [
        {
            "type": "Feature",
            **({} if id_ is ... else {"id": id_}),
            "properties": own,
            "geometry": {"type": "Point", "coordinates": [at, 40.5]},
        }
        for at, (own, id_) in enumerate(zip(properties, given, strict=True))
    ]
    return json.dumps({"type": "FeatureCollection", "features": found, **members})


@pytest.mark.parametrize(
    ("ids", "type_", "kept"),
    [
        ([11125, 11126, 3], "BIGINT", [11125, 11126, 3]),
        ([5, 5, -1], "BIGINT", [5, 5, -1]),
        (["a-1", "", "00042"], "VARCHAR", ["a-1", "", "00042"]),
        ([3, None, ...], "BIGINT", [3, None, None]),
        ([3, "x", None], "VARCHAR", ["3", "x", None]),
        ([1.5, 2, 3], "VARCHAR", ["1.5", "2", "3"]),
        ([LONG, 1, 2], "VARCHAR", [str(LONG), "1", "2"]),
    ],
)
def test_ids_of_every_kind_are_kept_in_the_order_of_the_file(
    reading: Reading, ids: list[object], type_: str, kept: list[object]
) -> None:
    read = reading(features({"n": 0}, {"n": 1}, {"n": 2}, ids=ids), "geojson")
    assert read.columns == {"id": type_, "n": "INTEGER", "geometry": "GEOMETRY('EPSG:4326')"}
    assert read.rows == [(id_, n, f"POINT ({n} 40.5)") for n, id_ in enumerate(kept)]


def test_ids_stand_beside_a_property_of_that_name(reading: Reading) -> None:
    read = reading(features({"ID": "own0"}, {"ID": "own1"}, ids=[901, 902]), "geojson")
    assert list(read.columns) == ["feature_id", "ID", "geometry"]
    assert [row[:2] for row in read.rows] == [(901, "own0"), (902, "own1")]
    assert read.warnings == ["the ids of features are column feature_id, for there is a property id"]
    both = reading(features({"id": "1", "feature_id": 5}, ids=[2]), "geojson")
    assert [row[:3] for row in both.rows] == [(2, "1", 5)]
    assert next(iter(both.columns)) == "feature_id_"
    same = reading(features({"id": "1"}, {"id": None}, ids=[1, None]), "geojson")
    assert (list(same.columns), same.warnings) == (["id", "geometry"], [])


def test_properties_are_read_as_json_is(reading: Reading) -> None:
    given = {
        "whole": 1,
        "wide": 2**40,
        "x": 1.5,
        "t": True,
        "day": "2024-01-31",
        "none": None,
        "object": {"a": [1]},
    }
    lists = {"texts": ["a", "2024-01-01"], "numbers": [1, 2], "mixed": [1, "a"], "nested": [[1]]}
    read = reading(features({**given, **lists}, {}), "geojson")
    assert list(read.columns.values()) == [
        *("INTEGER", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "VARCHAR", "JSON"),
        *("VARCHAR[]", "BIGINT[]", "JSON", "JSON", "GEOMETRY('EPSG:4326')"),
    ]
    assert read.rows[0][:7] == (1, 2**40, 1.5, True, "2024-01-31", None, '{"a":[1]}')
    assert read.rows[0][7:11] == (["a", "2024-01-01"], [1, 2], '[1,"a"]', "[[1]]")
    assert read.rows[1][:11] == (None,) * 11


def test_numbers_of_properties_keep_all_digits_and_nan_is_null(
    reading: Reading, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"big": LONG, "deep": {"x": [LONG, float("nan")]}, "nan": float("inf"), "few": 0.5}
    read = reading(features(given, {"big": 1, "few": 9007199254740993}), "geojson")
    assert read.rows[0][:4] == (str(LONG), f'{{"x":["{LONG}",null]}}', None, "0.5")
    assert read.rows[1][:4] == ("1", None, None, "9007199254740993")
    assert read.warnings == [
        "line 1: NaN is no JSON, and is null (so are 1 others)",
        f"line 1, big: {LONG} has more digits than a number holds, and is text (so are 1 others)",
        "column few: 9007199254740993 has more digits than a decimal number holds, and the column is text",
    ]
    assert capfd.readouterr() == ("", "")


def test_coordinates_keep_all_that_a_double_holds(reading: Reading) -> None:
    point = {"type": "Point", "coordinates": [-73.98765432109876, 40.123456789012344]}
    feature = {"type": "Feature", "properties": {"coordinates": "[1"}, "geometry": point}
    read = reading(json.dumps(feature, indent=1), "geojson")
    assert read.rows == [("[1", "POINT (-73.98765432109876 40.123456789012344)")]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (json.dumps({"type": "Feature", "id": 7, "properties": None, "geometry": None}), [(7, None)]),
        (
            "\n".join(
                json.dumps({"type": "Feature", "properties": {"a": n}, "geometry": None}) for n in (1, 2)
            ),
            [(1, None), (2, None)],
        ),
        (features({}, None), [("POINT (0 40.5)",), ("POINT (1 40.5)",)]),
        ('{"features": [], "type": "FeatureCollection"}', []),
        ('{"type": "Point", "coordinates": [1, 2]}', [("POINT (1 2)",)]),
    ],
)
def test_features_come_in_other_forms_too(
    reading: Reading, content: str, rows: list[tuple[object, ...]]
) -> None:
    assert reading(content, "geojson").rows == rows


@pytest.mark.parametrize(
    ("crs", "type_"),
    [
        (PROJECTED, "GEOMETRY('EPSG:2263')"),
        ("EPSG:2263", "GEOMETRY('EPSG:2263')"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", "GEOMETRY('EPSG:4326')"),
        ("urn:ogc:def:crs:EPSG::4326", "GEOMETRY('EPSG:4326')"),
    ],
)
def test_a_reference_system_is_what_the_file_says(reading: Reading, crs: str, type_: str) -> None:
    read = reading(features({"a": 1}, crs={"type": "name", "properties": {"name": crs}}), "geojson")
    assert (read.columns["geometry"], read.warnings) == (type_, [])


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "name", "properties": {"name": "City grid"}},
        {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::999999"}},
        {"type": "link", "properties": {"href": "https://example.org/crs"}},
        "x",
    ],
)
def test_a_reference_system_that_nobody_knows_is_asked_for(reading: Reading, crs: object) -> None:
    content = features({"a": 1}, crs=crs)
    with pytest.raises(ValueError, match=r"its crs is .*: say `custom: {crs: …}`, as EPSG:2263"):
        reading(content, "geojson")
    assert reading(content, "geojson", crs="EPSG:2263").columns["geometry"] == "GEOMETRY('EPSG:2263')"


def test_no_reference_system_is_told_and_so_are_feet_that_pass_for_degrees(reading: Reading) -> None:
    read = reading(features({"a": 1}, crs=None), "geojson")
    assert read.columns["geometry"] == "GEOMETRY"
    assert read.warnings == [
        "its crs is null, and its shapes have no reference system: say `custom: {crs: …}`, as EPSG:2263"
    ]
    feet = features({"a": 1}, {"a": 2}).replace("[1, 40.5]", "[990629.0, 207012.0]")
    (told,) = reading(feet, "geojson").warnings
    assert told.startswith(
        "feature 2 is not in longitude and latitude, and no crs is named: say `custom: {crs"
    )
    assert told.endswith("(POINT (990629 207012))")
    assert reading(feet, "geojson", crs="EPSG:2263").warnings == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (features([1]), "feature 1 is none: its properties are ARRAY"),
        (
            '{"type": "FeatureCollection", "features": [{"type": "Point"}]}',
            "feature 1 is none: its type is Point",
        ),
        ('{"type": "FeatureCollection", "features": [{"type": "Feature"', "GDAL|JSON|not recognized|Failed"),
        ("{}", "not recognized"),
        ('{"geometryType": "esriGeometryPoint", "features": []}', "it is Esri's JSON or TopoJSON"),
    ],
)
def test_what_is_no_feature_is_told(reading: Reading, content: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reading(content, "geojson")
