import csv
import gzip
import hashlib
import io
import json
import shutil
import zipfile
from datetime import date
from pathlib import Path

import duckdb
import pyogrio
import pytest
import xlsxwriter

from flows.build.catalog import Catalog, InputError
from flows.build.recipe.file import read_recipe
from flows.build.recipe.lock import LockedDataset
from flows.build.recipe.schema import StageConfig, simulated
from flows.build.stages import simulate
from flows.build.stages.build import build
from flows.build.stages.load import load
from flows.build.stages.package import package
from flows.tables.export import Export, Exports
from tests.shared import RECIPES

EVERYTHING = {
    "zip_name": "all",
    "datasets": [{"name": "a", "format": "csv"}, {"name": "a", "format": "parquet"}],
}


@pytest.fixture
def scratch(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("scratch")


@pytest.fixture
def given(tmp_path, scratch):
    def given(content, file_type="csv", packing="", limit=2**30, extension=None, **custom):
        shutil.rmtree(tmp_path / "catalog", ignore_errors=True)
        file = tmp_path / "catalog" / "a" / "1" / f"a.{extension or file_type}{packing}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        catalog = Catalog(str(tmp_path / "catalog"), limit_bytes=limit)
        dataset = locked(file_type=file_type, made_up=False, custom=custom)
        return load(dataset, catalog=catalog, scratch=scratch())

    return given


def locked(**changes):
    content = {"source": "catalog", "id": "a", "version": "1", "file_type": "csv", "made_up": True}
    return LockedDataset(**{**content, **changes})


def rows(table):
    return duckdb.sql(f"from '{table.file}'").fetchall()


def packaged(table, exports, scratch, make=package, **keywords):
    exports = Exports.model_validate(exports)
    return make("A", "a", "24Q4", exports, {"a": "1"}, {"a": table}, scratch=scratch, **keywords)


def contents(made):
    return {file.name: Path(file.file).read_bytes() for file in made.files}


def test_columns_of_csv_are_text_and_empty_is_null(given):
    table = given('id,name,n\n00042,"x, ""y""\nz",\n7,,1e5\n')
    assert rows(table) == [("00042", 'x, "y"\nz', None), ("7", None, "1e5")]
    assert table.rows == 2
    assert [(column.name, column.type) for column in table.columns] == [
        ("id", "VARCHAR"),
        ("name", "VARCHAR"),
        ("n", "VARCHAR"),
    ]
    assert table.file.name == "a.parquet"


@pytest.mark.parametrize("content", ["\ufeffid,x\n1,2\n", "id,x\r\n1,2\r\n", "id,x\n1,2", "id,x\n1,2\n\n"])
def test_csv_as_it_comes_from_other_programs(given, content):
    table = given(content)
    assert [column.name for column in table.columns] == ["id", "x"]
    assert rows(table) == [("1", "2")]


def test_a_header_alone_is_an_empty_table(given):
    assert given("id,x\n").rows == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("id,x\n1,2\n3\n", "line 3 has 1 in place of 2 columns (3): mend the file, or say its `custom:"),
        ("id,x\n1,2,3\n", "line 2 has 3 in place of 2 columns (1,2,3)"),
        ('id,x\n1,"2\n', "line 2 has a quote that is not closed, or not doubled"),
        (b"id,x\n1,\xe9\n", "line 2 is not UTF-8 (1,?): say `custom: {encoding: …}`"),
        ("id,x\n1,2\n".encode("utf-16-le"), "say `custom: {encoding: utf-16-le}`"),
        (f"id,x\n1,{'x' * 2**26}\n", "a line is longer than 16 MiB (at byte 16,777,216): mend the file"),
        ("id,x\n1,2\n" * 10 + f"1,{'x' * 2**25}", "a line is longer than 16 MiB"),
    ],
)
def test_broken_csv_is_told_and_not_repaired(given, content, said):
    with pytest.raises(InputError, match="Input a 1 cannot be loaded") as caught:
        given(content)
    assert said in str(caught.value)


def test_a_line_may_be_long(given):
    assert rows(given(f"id,x\n1,{'x' * 10**7}\n")) == [("1", "x" * 10**7)]


def test_columns_get_names_that_sql_can_say(given):
    table = given(" id ,owner's-name,year built\n1,2,3\n")
    assert [column.name for column in table.columns] == ["id", "owner_s_name", "year_built"]
    renamed = """columns renamed: ' id ' to id, "owner's-name" to owner_s_name, 'year built' to year_built"""
    assert table.warnings == (renamed,)
    table = given("a-b,a b\n1,2\n")
    assert [column.name for column in table.columns] == ["a_b", "a_b_2"]
    assert table.warnings == ("columns renamed: 'a-b' to a_b, 'a b' to a_b_2",)


def test_columns_of_parquet_get_such_names_too_and_keep_their_types(given, tmp_path):
    file = tmp_path / "x.parquet"
    duckdb.sql(f"""copy (select 7 as "bin id", date '2024-01-31' as built) to '{file}'""")
    table = given(file.read_bytes(), "parquet")
    types = [(column.name, column.type) for column in table.columns]
    assert types == [("bin_id", "INTEGER"), ("built", "DATE")]
    assert table.warnings == ("columns renamed: 'bin id' to bin_id",)


def test_a_table_without_rows_is_warned_of(given):
    assert given("id,x\n").warnings == ("it has no rows",)


def test_only_the_table_is_left(given):
    for content, file_type, custom in (
        ("id\n1\n".encode("utf-16"), "csv", {}),
        ('{"a": [{"b": 1}]}', "json", {"records": "a"}),
    ):
        file = Path(given(content, file_type, **custom).file)
        assert [one.name for one in file.parent.iterdir() if one.is_file()] == ["a.parquet"]


def test_a_header_may_run_over_lines(given):
    table = given('id,"year\nbuilt"\n1,2\n')
    assert [column.name for column in table.columns] == ["id", "year\nbuilt"]
    assert rows(table) == [("1", "2")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_or_declared(given, delimiter):
    content = f"id{delimiter}x\n00042{delimiter}b c\n"
    assert rows(given(content)) == rows(given(content, delimiter=delimiter)) == [("00042", "b c")]
    assert [column.name for column in given(content, delimiter="^").columns] != ["id", "x"]


def test_quotes_may_be_others(given):
    assert rows(given("id,x\n1,'a,b'\n", quote="'")) == [("1", "a,b")]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le"])
def test_an_encoding_is_declared_or_marked(given, encoding):
    content = "id,x\n1,é\n".encode(encoding)
    assert rows(given(content, encoding=encoding)) == [("1", "é")]
    if encoding == "utf-16":
        assert rows(given(content)) == [("1", "é")]


@pytest.mark.parametrize(
    ("content", "custom", "said"),
    [
        (b"id,\xe9\n1,2\n", {}, "encoding"),
        (b"id,x\n1,\xff\n", {"encoding": "ascii"}, "not in the encoding ascii"),
        (b"id,x\n1,2\n", {"encoding": "klingon"}, "not in the encoding klingon"),
        (b"<!DOCTYPE html>\n<html></html>", {}, "HTML"),
        (b"\n \n", {}, "empty"),
    ],
)
def test_what_is_no_csv_is_told(given, content, custom, said):
    with pytest.raises(InputError) as caught:
        given(content, **custom)
    assert said in str(caught.value)


RECORDS = [
    {"id": "00042", "n": 1, "d": "2024-01-31", "x": 1.5, "b": True, "nested": {"a": [1]}, "mixed": 1},
    {"id": "7", "n": 2**40, "d": None, "x": 2.0, "b": None, "nested": None, "mixed": "t"},
]
COLUMNS = {
    "id": "VARCHAR",
    "n": "BIGINT",
    "d": "VARCHAR",
    "x": "DOUBLE",
    "b": "BOOLEAN",
    "nested": "VARCHAR",
    "mixed": "VARCHAR",
}


@pytest.mark.parametrize(
    ("content", "custom"),
    [
        (json.dumps(RECORDS), {}),
        ("\n".join(map(json.dumps, RECORDS)), {}),
        (json.dumps({"meta": 1, "a": {"b c": RECORDS}}, indent=1), {"records": "a.b c"}),
    ],
)
def test_json_keeps_numbers_and_truth_and_leaves_text_alone(given, content, custom):
    table = given(content, "json", **custom)
    assert {column.name: column.type for column in table.columns} == COLUMNS
    assert rows(table) == [
        ("00042", 1, "2024-01-31", 1.5, True, '{"a":[1]}', "1"),
        ("7", 2**40, None, 2.0, None, None, "t"),
    ]


@pytest.mark.parametrize(
    ("content", "custom", "said"),
    [
        ("<html>", {}, "it is a page of HTML or XML"),
        ("{]", {}, "Malformed JSON"),
        ("", {}, "holds no records"),
        ("[1, 2]", {}, "holds no records"),
        ("[]", {}, "holds no records"),
        ('{"a": [{"b": 1}]}', {"records": "c"}, "holds no records"),
        ('{"a": [{"b": 1}', {"records": "a"}, "it is no JSON"),
        ("\n<?xml version", {"records": "a"}, "it is a page of HTML or XML"),
        (json.dumps({"a": [{"b": "x" * 2**20}] * 17}), {}, "say `custom: {records: …}`"),
        ('[{"a b": 1, "a-b": 2}]', {}, "names a column twice"),
        ('[{"id": 1}, {"ID": 2}]', {}, "names a column twice: id"),
        ('[{"": 1, "a": 2}]', {}, "does not name every column"),
    ],
)
def test_json_without_records_is_told(given, content, custom, said):
    with pytest.raises(InputError, match="no readable json") as caught:
        given(content, "json", **custom)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('[{"a": 18446744073709551615}]', "18446744073709551615"),
        ('[{"a": 9007199254740993}, {"a": 1.5}]', "9007199254740993"),
        ('[{"a": 1e400}]', "1e400"),
        ('[{"a": 1.5}, {"a": 2}]', 1.5),
        ('[{"a_1": 7}]', 7),
        ('\ufeff[{"a": 7}]', 7),
        ('[{"json": 7}]', 7),
    ],
)
def test_json_keeps_all_digits_or_text(given, content, value):
    assert rows(given(content, "json"))[0] == (value,)


@pytest.mark.parametrize(
    "records", [[{f"k{at}": at for at in range(300)}], [{f"k{at}": at} for at in range(300)]]
)
def test_json_may_have_many_fields(given, records):
    assert len(given(json.dumps(records), "json").columns) == 300


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "utf-16-le", "utf-16"])
def test_a_mark_is_no_part_of_the_first_column(given, encoding):
    content = ("\ufeff" if encoding != "utf-16" else "") + "id,x\n1,2\n"
    assert [column.name for column in given(content.encode(encoding), encoding=encoding).columns] == [
        "id",
        "x",
    ]


def test_a_cell_may_hold_a_carriage_return(given, tmp_path):
    file = tmp_path / "lines.xlsx"
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet()
    for at, row in enumerate([("id", "text"), ("1", "one\rtwo"), ("2", 'a "b"\nc'), ("3", "")]):
        sheet.write_row(at, 0, row)
    book.close()
    assert rows(given(file.read_bytes(), "xlsx")) == [("1", "one\rtwo"), ("2", 'a "b"\nc'), ("3", None)]


@pytest.fixture
def workbook(tmp_path):
    file = tmp_path / "book.xlsx"
    book = xlsxwriter.Workbook(file)
    first, other = book.add_worksheet("Data"), book.add_worksheet("Other")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for at, row in enumerate([("id", "n o", "x", "b"), ("00042", 7, 1.5, True), ("", 2**33, "", False)]):
        first.write_row(at, 0, row)
    first.write_string(1, 0, "00042")
    first.write(0, 4, "day")
    first.write_datetime(1, 4, date(2024, 1, 31), day)
    other.write_row(0, 0, ["only"])
    other.write_row(1, 0, ["there"])
    book.close()
    return file.read_bytes()


def test_a_sheet_is_read_as_text(given, workbook):
    table = given(workbook, "xlsx")
    assert [column.name for column in table.columns] == ["id", "n_o", "x", "b", "day"]
    assert rows(table) == [
        ("00042", "7", "1.5", "true", "2024-01-31"),
        (None, str(2**33), None, "false", None),
    ]
    assert rows(given(workbook, "xlsx", sheet="Other")) == [("there",)]
    with pytest.raises(InputError, match="no sheet Third; there are Data, Other"):
        given(workbook, "xlsx", sheet="Third")
    with pytest.raises(InputError, match="no workbook"):
        given(workbook[:1000], "xlsx")


FEATURES = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"bin id": "00042", "floors": 3, "built": "2024-01-31", "height": 1.5},
            "geometry": {"type": "Point", "coordinates": [-73.9, 40.7]},
        },
        {
            "type": "Feature",
            "properties": {"bin id": "7", "floors": None, "built": None, "height": 2.0},
            "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [0, 0]]]},
        },
    ],
}
POINTS = {**FEATURES, "features": FEATURES["features"][:1]}


def shapes(table):
    return duckdb.sql(f"select st_astext(geometry) from '{table.file}'").fetchall()


def test_features_keep_their_types_text_and_reference_system(given):
    table = given(json.dumps(FEATURES), "geojson")
    assert [(column.name, column.type) for column in table.columns] == [
        ("bin_id", "VARCHAR"),
        ("floors", "INTEGER"),
        ("built", "VARCHAR"),
        ("height", "DOUBLE"),
        ("geometry", "GEOMETRY('EPSG:4326')"),
    ]
    assert [row[:4] for row in rows(table)] == [("00042", 3, "2024-01-31", 1.5), ("7", None, None, 2.0)]
    assert shapes(table) == [("POINT (-73.9 40.7)",), ("POLYGON ((0 0, 0 1, 1 1, 0 0))",)]


@pytest.mark.parametrize("content", ["<html>", "", "{}", '{"type": "FeatureCollection"'])
def test_what_is_no_geojson_is_told(given, content):
    with pytest.raises(InputError, match="no readable geojson"):
        given(content, "geojson")


@pytest.mark.parametrize(
    ("kind", "extension"), [("geojson", "geojson"), ("shp", "shp.zip"), ("gpkg", "gpkg")]
)
def test_geometry_goes_out_and_comes_back_with_the_same_bytes_every_time(given, scratch, kind, extension):
    table = given(json.dumps(POINTS), "geojson")
    exports = {"datasets": [{"name": "a", "format": kind}]}
    first, second = (contents(packaged(table, exports, scratch())) for _ in range(2))
    assert first == second
    name = "a.zip" if kind == "shp" else f"a.{kind}"
    if kind == "gpkg":
        file = scratch() / name
        file.write_bytes(first[name])
        assert pyogrio.read_info(file)["crs"] == "EPSG:4326"
        return
    back = given(first[name], "shapefile" if kind == "shp" else kind, extension=extension)
    assert shapes(back) == [("POINT (-73.9 40.7)",)]
    assert rows(back)[0][:2] == ("00042", 3)
    assert back.columns[-1].type == "GEOMETRY('EPSG:4326')"


def test_a_layer_is_named_where_there_are_several(given, scratch):
    folder = scratch()
    for name in ("one", "other"):
        file = folder / f"{name}.geojson"
        file.write_text(json.dumps(POINTS))
        table = given(json.dumps(POINTS), "geojson")
        made = contents(
            packaged(
                table, {"datasets": [{"name": "a", "format": "shp", "filename": f"{name}.zip"}]}, scratch()
            )
        )
        with zipfile.ZipFile(io.BytesIO(made[f"{name}.zip"])) as archive:
            archive.extractall(folder / "both")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for part in sorted((folder / "both").iterdir()):
            archive.write(part, part.name)
    with pytest.raises(InputError, match=r"there are 2 shapefiles; say .*one of one, other"):
        given(target.getvalue(), "shapefile", extension="shp.zip")
    assert given(target.getvalue(), "shapefile", extension="shp.zip", layer="other").rows == 1
    with pytest.raises(InputError, match="no layer third"):
        given(target.getvalue(), "shapefile", extension="shp.zip", layer="third")


@pytest.mark.parametrize(("geometry_type", "shape"), [("points", "POINT"), ("polygons", "POLYGON")])
def test_shapes_of_several_types_are_exported_one_by_one(given, scratch, geometry_type, shape):
    table = given(json.dumps(FEATURES), "geojson")
    export = {"name": "a", "format": "shp", "filename": "some.shp.zip"}
    said = "table a has points, polygons, and a shapefile holds one of them: .*geometry_type: …"
    with pytest.raises(ValueError, match=said):
        packaged(table, {"datasets": [export]}, scratch())
    made = packaged(table, {"datasets": [{**export, "custom": {"geometry_type": geometry_type}}]}, scratch())
    assert {file.name: file.rows for file in made.files}["some.shp.zip"] == 1
    content = contents(made)["some.shp.zip"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "some.shp" in archive.namelist()
    assert shapes(given(content, "shapefile", extension="shp.zip"))[0][0].startswith(shape)


@pytest.mark.parametrize("stored", ["st_aswkb(geometry)", "st_astext(geometry)", "geometry"])
def test_shapes_may_be_wkb_or_wkt(given, scratch, stored, tmp_path):
    table = given(json.dumps(FEATURES), "geojson")
    file = tmp_path / "wkb.parquet"
    query = f"select bin_id, {stored} as wkb_geometry from '{table.file}'"
    duckdb.sql(f"copy ({query}) to '{file}'")
    custom = {"geom_column": "wkb_geometry", "geometry_type": "polygons"}
    exports = {"datasets": [{"name": "a", "format": "geojson", "custom": custom}]}
    made = contents(packaged(given(file.read_bytes(), "parquet"), exports, scratch()))["a.geojson"]
    features = json.loads(made)["features"]
    assert [feature["properties"] for feature in features] == [{"bin_id": "7"}]
    assert features[0]["geometry"] == FEATURES["features"][1]["geometry"]
    wrong = {"datasets": [{"name": "a", "format": "geojson", "custom": {"geom_column": "shape"}}]}
    with pytest.raises(ValueError, match="no column shape; it has bin_id, wkb_geometry"):
        packaged(given(file.read_bytes(), "parquet"), wrong, scratch())


@pytest.fixture
def exported(given, scratch, tmp_path):
    """The bytes of a query's rows in one format, or with `warned` what they are warned of."""

    def exported(query, kind, warned=False, **custom):
        file = tmp_path / "query.parquet"
        duckdb.sql(f"copy ({query}) to '{file}' (geoparquet_version 'BOTH')")
        export = {"name": "a", "format": kind, "filename": f"out.{kind}", "custom": custom}
        made = packaged(given(file.read_bytes(), "parquet"), {"datasets": [export]}, scratch())
        return made.warned if warned else contents(made)[f"out.{kind}"]

    return exported


@pytest.mark.parametrize(
    "shape",
    ["POLYGON ((0 0, 0 1, 1 1, 0 0))", "POINT (1 2)", "MULTIPOINT (1 2, 3 4)", "LINESTRING Z (0 0 1, 1 1 2)"],
)
def test_a_first_row_without_a_shape_does_not_decide_what_a_shapefile_is(given, exported, shape):
    content = exported(f"select 1 as n, null::geometry as g union all select 2, '{shape}'::geometry", "shp")
    assert shapes(given(content, "shapefile", extension="shp.zip")) == [(None,), (shape,)]


@pytest.mark.parametrize(("column", "at"), [("one", 1), ("other", 3), ("text", 5), (None, 1)])
def test_the_column_of_shapes_that_is_named_is_the_one_exported(exported, column, at):
    points = "'POINT (1 2)'::geometry as one, 'POINT (3 4)'::geometry as other, 'POINT (5 6)' as text"
    custom = {"geom_column": column} if column else {}
    (feature,) = json.loads(exported(f"select {points}", "geojson", **custom))["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [at, at + 1]}
    assert set(feature["properties"]) == {"one", "other", "text"} - {column or "one"}


def test_properties_of_features_are_kept_whatever_they_are_called(given, exported):
    properties = {"OGC_FID": 5, "fid": 6, "wkb_geometry": 7, "mixed": "00042"}
    first = {**POINTS["features"][0], "properties": properties}
    other = {**first, "properties": {**properties, "mixed": 42}}
    table = given(json.dumps({**POINTS, "features": [first, other]}), "geojson")
    assert [row[:4] for row in rows(table)] == [(5, 6, 7, "00042"), (5, 6, 7, "42")]
    assert shapes(table) == [("POINT (-73.9 40.7)",)] * 2
    named = {**first, "properties": {"geometry": 1}}
    with pytest.raises(InputError, match="names a column twice: geometry"):
        given(json.dumps({**POINTS, "features": [named]}), "geojson")


@pytest.mark.parametrize("features", [[], [{"type": "Feature", "properties": {"id": "7"}, "geometry": None}]])
@pytest.mark.parametrize("kind", ["geojson", "gpkg", "shp"])
def test_a_map_without_shapes_is_a_map(given, scratch, features, kind):
    table = given(json.dumps({**POINTS, "features": features}), "geojson")
    assert table.columns[-1].type.startswith("GEOMETRY")
    assert packaged(table, {"datasets": [{"name": "a", "format": kind}]}, scratch()).files


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("9007199254740993::ubigint", 9007199254740993),
        ("18446744073709551615::ubigint", "18446744073709551615"),
        ("12345678901234567.89::decimal(19,2)", "12345678901234567.89"),
        ("1.5::decimal(38,9)", 1.5),
        ("null::decimal(38,9)", None),
    ],
)
def test_numbers_of_a_map_keep_their_digits(exported, value, shown):
    content = exported(f"select {value} as n, 'POINT (1 2)'::geometry as g", "geojson")
    assert json.loads(content)["features"][0]["properties"]["n"] == shown


def test_a_geopackage_keeps_its_columns_and_the_order_of_its_rows(exported, tmp_path):
    query = "select unnest([7, 5]) as fid, unnest(['b', 'a']) as FID_, 'POINT (1 2)'::geometry as geom"
    file = tmp_path / "out.gpkg"
    file.write_bytes(exported(query, "gpkg"))
    read = pyogrio.raw.read(file)
    assert list(read[0]["fields"]) == ["fid", "FID_"]
    assert [list(column) for column in read[3]] == [[7, 5], ["b", "a"]]


def test_a_sheet_holds_what_is_text_as_text_and_refuses_what_does_not_fit(given, exported):
    values = "interval '1 month 2 days' as \"=x\", 1.50::decimal(4,2) as d, '=1+1' as f"
    query = f"select {values}, date '2024-01-31' as day"
    back = given(exported(query, "xlsx"), "xlsx")
    assert [column.name for column in back.columns] == ["=x", "d", "f", "day"]
    assert rows(back) == [("1 month 2 days", "1.5", "=1+1", "2024-01-31")]
    with pytest.raises(
        ValueError, match="row 1, column 2 has 32,768 characters, and a cell of a sheet 32,767"
    ):
        exported("select 1 as n, repeat('x', 32768) as text", "xlsx")


def test_a_table_without_geometry_is_no_map(given, scratch):
    with pytest.raises(ValueError, match="table a has no column of geometry"):
        packaged(given("id\n1\n"), {"datasets": [{"name": "a", "format": "geojson"}]}, scratch())


def test_geometry_stands_as_text_where_there_is_no_column_for_it(given, scratch):
    table = given(json.dumps(POINTS), "geojson")
    exports = {"datasets": [{"name": "a", "format": kind} for kind in ("csv", "json", "xlsx")]}
    made = contents(packaged(table, exports, scratch()))
    assert (
        made["a.csv"] == b"bin_id,floors,built,height,geometry\n00042,3,2024-01-31,1.5,POINT (-73.9 40.7)\n"
    )
    assert json.loads(made["a.json"])[0]["geometry"] == "POINT (-73.9 40.7)"
    dictionary = list(csv.DictReader(io.StringIO(made["data_dictionary.csv"].decode())))
    assert dictionary[-1]["type"] == "GEOMETRY('EPSG:4326')"
    assert dictionary[-1]["example"] == "POINT (-73.9 40.7)"


def test_a_workbook_holds_numbers_and_text_with_the_same_bytes_every_time(given, scratch, tmp_path):
    file = tmp_path / "x.parquet"
    numbers = "7 as n, 2::bigint ** 60 as big, 1.5 as x"
    query = f"select '00042' as id, {numbers}, true as b, date '2024-01-31' as d, null as e"
    duckdb.sql(f"copy ({query}) to '{file}'")
    table = given(file.read_bytes(), "parquet")
    exports = {"datasets": [{"name": "a", "format": "xlsx"}]}
    first, second = (contents(packaged(table, exports, scratch())) for _ in range(2))
    assert first == second
    back = given(first["a.xlsx"], "xlsx")
    assert rows(back)[0][:2] == ("00042", "7")
    assert rows(back)[0][3:] == ("1.5", "true", "2024-01-31", None)


def test_csv_is_written_as_the_export_says(given, scratch):
    table = given("id,x\n00042,a;b\n7,\n")
    custom = {"delimiter": ";", "header": False, "quote": "all"}
    exports = {"datasets": [{"name": "a", "format": "csv", "custom": custom}]}
    assert contents(packaged(table, exports, scratch()))["a.csv"] == b'"00042";"a;b"\n"7";\n'


def test_csv_ends_its_lines_as_the_export_says_and_leaves_those_within_fields(given, scratch):
    table = given('id,x\n1,"a\nb"\n')
    exports = {"datasets": [{"name": "a", "format": "csv", "custom": {"line_endings": "crlf"}}]}
    assert contents(packaged(table, exports, scratch()))["a.csv"] == b'id,x\r\n1,"a\nb"\r\n'


def packed(content, packing):
    if packing == ".gz":
        return gzip.compress(content)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("whatever.csv", content)
    return target.getvalue()


@pytest.mark.parametrize("packing", [".gz", ".zip"])
def test_packed_files_are_unpacked_within_a_limit(given, packing):
    content = b"id,x\n" + b"1,2\n" * 1000
    assert given(packed(content, packing), packing=packing).rows == 1000
    with pytest.raises(InputError, match="more than 3,000 bytes, which LARDER_INPUT_BYTES allows"):
        given(packed(content, packing), packing=packing, limit=3000)
    with pytest.raises(InputError, match=f"no whole {packing[1:]}"):
        given(packed(content, packing)[:30], packing=packing)


@pytest.mark.parametrize("packing", [".gz", ".zip"])
@pytest.mark.parametrize("file_type", ["parquet", "json", "xlsx", "geojson"])
def test_every_format_may_be_packed(given, scratch, file_type, packing):
    table = given(json.dumps(POINTS), "geojson")
    exports = {"datasets": [{"name": "a", "format": file_type}]}
    content = contents(packaged(table, exports, scratch()))[f"a.{file_type}"]
    assert rows(given(packed(content, packing), file_type, packing=packing))[0][0] == "00042"


def test_what_macos_adds_to_a_zip_file_does_not_count(given):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.csv", "id\n1\n")
        archive.writestr("__MACOSX/._a.csv", "?")
    assert given(target.getvalue(), packing=".zip").rows == 1


def test_a_zip_file_of_several_is_refused(given):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.csv", "id\n1\n")
        archive.writestr("b.csv", "id\n1\n")
    with pytest.raises(InputError, match="holds 2 files"):
        given(target.getvalue(), packing=".zip")


def test_parquet_stays_what_it_is(given, tmp_path):
    file = tmp_path / "x.parquet"
    duckdb.sql(f"copy (select 1 as n, 'x' as t, date '2024-01-01' as d) to '{file}'")
    table = given(file.read_bytes(), "parquet")
    assert Path(table.file).read_bytes() == file.read_bytes()
    assert [column.type for column in table.columns] == ["INTEGER", "VARCHAR", "DATE"]


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet PAR1", b"id\n1\n"])
def test_broken_parquet_is_told(given, content):
    with pytest.raises(InputError, match="no readable parquet"):
        given(content, "parquet")


def test_loading_twice_gives_the_same_bytes_and_says_nothing_of_id_or_version(given):
    one, other = given("id\n1\n"), given("id\n1\n")
    assert Path(one.file).read_bytes() == Path(other.file).read_bytes()
    assert set(one.model_dump()) == {"file", "rows", "columns", "warnings"}
    assert one.warnings is None


def test_a_build_gives_its_models_or_else_its_inputs(given, scratch):
    table = given("id\n1\n")
    assert build("24Q4", {}, (), {"b": table, "a": table}, {}, {}, scratch()).tables == {
        "a": table,
        "b": table,
    }
    made = build("24Q4", {}, (), {"b": table}, {"m": table}, {"c": table}, scratch())
    assert list(made.tables) == ["c", "m"]


def test_a_package_holds_exports_dictionary_zip_and_checksums(given, scratch):
    table = given("id,note\n00042,x|y\n7,\n")
    made = contents(packaged(table, EVERYTHING, scratch()))
    assert list(made) == [
        "a.csv",
        "a.parquet",
        "all.zip",
        "data_dictionary.csv",
        "data_dictionary.md",
        "SHA256SUMS",
    ]
    assert made["a.csv"] == b"id,note\n00042,x|y\n7,\n"
    for line in made["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(made[name]).hexdigest() == digest
    assert len(made["SHA256SUMS"].splitlines()) == len(made) - 1


def test_the_zip_holds_the_exports_and_no_clock(given, scratch):
    made = packaged(given("id\n1\n"), EVERYTHING, scratch())
    archive = next(file.file for file in made.files if file.name == "all.zip")
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["a.csv", "a.parquet"]
        assert opened.read("a.csv") == b"id\n1\n"
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_data_dictionary_describes_every_column(given, scratch):
    table = given("id,note,none\n00042,x|y,\n7,,\n00042,a,\n")
    made = contents(packaged(table, EVERYTHING, scratch()))
    described = list(csv.DictReader(made["data_dictionary.csv"].decode().splitlines()))
    assert described[0] == {
        "table": "a",
        "column": "id",
        "type": "VARCHAR",
        "rows": "3",
        "nulls": "0",
        "distinct": "2",
        "min": "00042",
        "max": "7",
        "example": "00042",
    }
    assert [(row["nulls"], row["distinct"], row["example"]) for row in described[1:]] == [
        ("1", "2", "x|y"),
        ("3", "0", ""),
    ]
    assert "x\\|y" in made["data_dictionary.md"].decode()
    assert "| a | 1 |" in made["data_dictionary.md"].decode()


def test_packaging_twice_gives_the_same_bytes(given, scratch):
    table = given("id\n" + "".join(f"{n}\n" for n in range(5000)))
    one, other = (contents(packaged(table, EVERYTHING, scratch())) for _ in range(2))
    assert one == other


def test_times_do_not_depend_on_the_machines_zone(given, scratch, tmp_path, monkeypatch):
    file = tmp_path / "x.parquet"
    duckdb.sql(f"copy (select timestamptz '2024-01-01 12:00:00+00' as t) to '{file}'")
    table = given(file.read_bytes(), "parquet")
    monkeypatch.setenv("TZ", "America/New_York")
    made = contents(packaged(table, {"datasets": [{"name": "a", "format": "csv"}]}, scratch()))
    assert made["a.csv"] == b"t\n2024-01-01 12:00:00+00\n"


def test_file_names_and_the_output_folder_are_kept(given, scratch):
    exports = {
        "output_folder": "out/deep",
        "zip_name": "z",
        "datasets": [{"name": "a", "format": "csv", "filename": "My A.txt"}],
    }
    made = packaged(given("id\n1\n"), exports, scratch())
    assert [file.name for file in made.files][:3] == [
        "data_dictionary.csv",
        "data_dictionary.md",
        "out/deep/My A.txt",
    ]
    with zipfile.ZipFile(made.files[3].file) as opened:
        assert opened.namelist() == ["My A.txt"]


def test_without_exports_every_table_becomes_csv(given, scratch):
    made = packaged(given("id\n1\n"), {}, scratch())
    assert [file.name for file in made.files] == [
        "a.csv",
        "data_dictionary.csv",
        "data_dictionary.md",
        "SHA256SUMS",
    ]
    assert (made.files[0].rows, made.files[0].format) == (1, "csv")


def test_made_up_inputs_depend_on_id_and_version_alone(scratch):
    def made(**changes):
        return Path(simulate.load(locked(**changes), seconds=0, scratch=scratch()).file).read_bytes()

    assert made() == made() == made(custom={"x": 1})
    assert len({made(), made(version="2"), made(id="b")}) == 3


def test_made_up_tables_depend_on_version_and_the_content_of_inputs(scratch):
    inputs = {name: simulate.load(locked(id=name), seconds=0, scratch=scratch()) for name in "ab"}
    changed = {**inputs, "b": simulate.load(locked(id="b", version="2"), seconds=0, scratch=scratch())}

    def made(version="24Q4", given=inputs, config=StageConfig(), tables=("x",)):  # noqa: B008
        built = simulate.build(version, {}, config, tables, given, seconds=0, scratch=scratch())
        return {name: Path(table.file).read_bytes() for name, table in built.tables.items()}

    assert made() == made() == made(given=dict(reversed(inputs.items())))
    assert made() != made(version="25Q1")
    assert made() != made(given=changed)
    assert list(made(tables=("x", "y"))) == ["x", "y"]


def test_a_simulated_package_of_csv_and_parquet_is_a_real_one(given, scratch):
    table = given("id\n1\n")
    real = packaged(table, EVERYTHING, scratch())
    made_up = packaged(table, EVERYTHING, scratch(), make=simulate.package, seconds=0)
    assert contents(real) == contents(made_up)


def test_simulated_stages_take_their_seconds(scratch, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    table = simulate.load(locked(), seconds=3, scratch=scratch())
    simulate.build("1", {}, StageConfig(), ("a",), {"a": table}, seconds=4, scratch=scratch())
    packaged(table, {}, scratch(), make=simulate.package, seconds=2)
    assert slept == [3, 4, 2]


class NothingReleased:
    def versions(self):
        return []

    def lock(self, version):
        raise KeyError(version)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_in_daily_use_go_through_the_whole_simulated_lifecycle(path, scratch, tmp_path):
    (tmp_path / "catalog").mkdir()
    lock = simulate.plan(
        simulated(read_recipe(path)),
        day=date(2024, 5, 17),
        catalog=Catalog(str(tmp_path / "catalog")),
        releases=NothingReleased(),
        scratch=scratch(),
    )
    table = simulate.load(lock.inputs[0].dataset, seconds=0, scratch=scratch())
    inputs = {item.name: table for item in lock.inputs}
    built = simulate.build(
        lock.version, lock.env, lock.build, lock.tables, inputs, seconds=0, scratch=scratch()
    )
    made = simulate.package(
        lock.name,
        lock.product,
        lock.version,
        lock.exports,
        lock.source_versions,
        built.tables,
        seconds=0,
        scratch=scratch(),
    )
    names = [file.name for file in made.files]
    assert len(set(names)) == len(names)
    folder = f"{lock.exports.output_folder}/" if lock.exports.output_folder else ""
    wanted = lock.exports.datasets or [Export(name=lock.product, format="csv")]
    assert {folder + export.file_name for export in wanted} <= set(names)
