import re

import pytest

from tests.flows.tables.conftest import Reading
from tests.shapefiles import Parts, named, parts, table, zipped

NAMES = ["Valle del Árrago", "Embalse de Tentudía", "plain"]
CHINESE = ["臺北市", "高雄市", "plain"]
TEXT = [("name", "C", 40, 0)]


def written_in(encoding: str, names: list[str] = NAMES, cpg: str | None = None, language: int = 0) -> Parts:
    """A shapefile whose text is in an encoding, and what it says of that."""
    made = parts(names)
    made[".dbf"] = table(TEXT, [[name.encode(encoding)] for name in names], language)
    return {**made, **({".cpg": cpg.encode()} if cpg else {})}


@pytest.mark.parametrize(
    ("encoding", "cpg", "language", "names"),
    [
        ("utf-8", None, 0, NAMES),
        ("utf-8", "UTF-8", 0, NAMES),
        ("utf-8", "1252", 0, NAMES),
        ("utf-8", None, 0x57, CHINESE),
        ("latin-1", None, 0x57, NAMES),
        ("latin-1", "ISO-8859-1", 0, NAMES),
        ("latin-1", "ISO 88591", 0, NAMES),
        ("latin-1", "ANSI 1252", 0, NAMES),
        ("latin-1", "UTF-8", 0x03, NAMES),
        ("latin-1", "no such thing", 0x57, NAMES),
        ("big5", "BIG5", 0, CHINESE),
        ("big5", "950", 0x57, CHINESE),
        ("cp950", None, 0x4F, CHINESE),
        ("gbk", "GBK", 0, ["上海市", "北京"]),
        ("gbk", "936\r\n", 0, ["上海市", "北京"]),
        ("cp932", "SHIFT_JIS", 0, ["東京", "大阪"]),
        ("cp949", None, 0x79, ["서울", "부산"]),
        ("cp866", None, 0x26, ["Привет", "мир"]),
        ("mac-roman", "MACINTOSH", 0, NAMES),
    ],
)
def test_text_is_utf_8_or_in_what_the_shapefile_says(
    reading: Reading, encoding: str, cpg: str | None, language: int, names: list[str]
) -> None:
    read = reading(zipped(named(written_in(encoding, names, cpg, language))), "shapefile")
    assert read.values("name") == names
    lies = (
        bool(cpg)
        and encoding in {"utf-8", "latin-1"}
        and cpg in {"1252", "UTF-8"}
        and cpg.lower() != encoding
    )
    assert read.warnings == (
        [f"its .cpg says {cpg}, but its text is {'utf-8' if encoding == 'utf-8' else 'cp1252'}"] * lies
    )


def test_an_encoding_that_nothing_says_is_asked_for_with_its_place(reading: Reading) -> None:
    content = zipped(named(written_in("latin-1")))
    place, hint = r"row 1, column name, has Valle del \xc1rrago", "(in cp1252 it is Valle del Árrago)"
    said = f"{place}, which is not utf-8: say `custom: {{encoding: …}}` {hint}"
    with pytest.raises(ValueError, match=re.escape(said)):
        reading(content, "shapefile")
    assert reading(content, "shapefile", encoding="latin-1").values("name") == NAMES
    with pytest.raises(ValueError, match="there is no encoding latin-99; some are"):
        reading(content, "shapefile", encoding="latin-99")
    with pytest.raises(ValueError, match=r"row 1, column name, has .* which is neither utf-8 nor euc_jp"):
        reading(zipped(named(written_in("latin-1", cpg="EUC-JP"))), "shapefile")
    with pytest.raises(ValueError, match="which is not ascii"):
        reading(content, "shapefile", encoding="ascii")


def test_what_the_recipe_says_wins(reading: Reading) -> None:
    content = zipped(named(written_in("utf-8", ["é"])))
    assert reading(content, "shapefile", encoding="latin-1").values("name") == ["Ã©"]


def test_a_character_cut_at_the_end_of_its_field_is_left_out_and_told(reading: Reading) -> None:
    made = parts(["a", "b"])
    made[".dbf"] = table([("name", "C", 4, 0)], [["abcé".encode()[:4]], ["é".encode()]])
    read = reading(zipped(named(made)), "shapefile")
    assert read.values("name") == ["abc", "é"]
    assert read.warnings == ["row 1, column name, ends in the middle of a character, which is left out"]


def test_names_of_fields_are_in_the_encoding_too(reading: Reading) -> None:
    made = parts(["a"])
    made[".dbf"] = table([("straße".encode("latin-1"), "C", 5, 0)], [[b"x"]], language=0x57)
    assert list(reading(zipped(named(made)), "shapefile").columns) == ["straße", "geometry"]


NUMBERS = [
    ((9, 0), [b"12", b""], "INTEGER", [12, None], None),
    ((18, 0), [b"123456789012345678", b"-5"], "BIGINT", [123456789012345678, -5], None),
    ((20, 0), [b"9223372036854775807", b"1"], "BIGINT", [9223372036854775807, 1], None),
    (
        *((20, 0), [b"1", b"12345678901234567890"], "VARCHAR", ["1", "12345678901234567890"]),
        "row 2, column n: 12345678901234567890 has more digits than a number holds, and the column is text",
    ),
    ((24, 15), [b"0.100000000000000", b"1623819823.8099999427795"], "DOUBLE", [0.1, 1623819823.81], None),
    ((24, 15), [b"123456789012345.67187500", b"1.5e-18"], "DOUBLE", [123456789012345.67, 1.5e-18], None),
    (
        *((24, 6), [b"12345678901234567.89", b"1.5"], "VARCHAR", ["12345678901234567.89", "1.5"]),
        "row 1, column n: 12345678901234567.89 has more digits than a number holds, and the column is text",
    ),
    ((10, 0), [b"1.5", b"2"], "DOUBLE", [1.5, 2.0], None),
    ((10, 2), [b"*" * 10, b"2.00"], "DOUBLE", [None, 2.0], None),
    ((10, 2), [b"nan", b"-inf"], "DOUBLE", [None, None], "column n: 2 NaN or infinite values are null"),
    (
        *((10, 2), [b"1,5", b"2.5"], "VARCHAR", ["1,5", "2.5"]),
        "row 1, column n: 1,5 is no number, and the column is text",
    ),
]


@pytest.mark.parametrize(("size", "cells", "type_", "values", "warning"), NUMBERS)
@pytest.mark.parametrize("kind", ["N", "F"])
def test_numbers_keep_all_digits(
    reading: Reading,
    size: tuple[int, int],
    cells: list[bytes],
    type_: str,
    values: list[object],
    warning: str | None,
    kind: str,
) -> None:
    made = parts(["a", "b"])
    made[".dbf"] = table([("n", kind, *size)], [[cell] for cell in cells])
    read = reading(zipped(named(made)), "shapefile")
    assert read.columns["n"] == type_
    assert read.values("n") == values
    assert read.warnings == ([warning] if warning else [])


def test_dates_are_dates_or_told(reading: Reading) -> None:
    made = parts(["a", "b", "c"])
    fields = [("good", "D", 8, 0), ("bad", "D", 8, 0), ("truth", "L", 1, 0)]
    made[".dbf"] = table(
        fields, [[b"20240131", b"20240131", b"T"], [b"", b"20241399", b"F"], [b"00000000", b"", b"?"]]
    )
    read = reading(zipped(named(made)), "shapefile")
    assert [str(value) for value in read.values("good")] == ["2024-01-31", "None", "None"]
    assert read.values("bad") == ["20240131", "20241399", None]
    assert read.values("truth") == [True, False, None]
    assert read.warnings == ["row 2, column bad: 20241399 is no date, and the column is text"]


@pytest.mark.parametrize("name", ["nybb_25a/nybb", "data/2025/nybb", r"data\nybb", "NYBB"])
@pytest.mark.parametrize("upper", [False, True])
def test_a_shapefile_may_stand_anywhere_in_its_zip_file(reading: Reading, name: str, upper: bool) -> None:
    made = parts(["Bronx", "Queens"])
    entries = {f"{name}{suffix.upper() if upper else suffix}": content for suffix, content in made.items()}
    others = {
        "__MACOSX/._nybb.shp": b"x",
        "data/._nybb.shp": b"x",
        "readme.txt": b"x",
        "nybb_25a/nybb.shp.xml": b"<x/>",
    }
    assert reading(zipped({**others, **entries}), "shapefile").values("name") == ["Bronx", "Queens"]


def test_parts_may_differ_in_their_case(reading: Reading) -> None:
    made = parts(["Bronx"])
    entries = {"a/NYBB.SHP": made[".shp"], "a/nybb.shx": made[".shx"], "A/Nybb.dbf": made[".dbf"]}
    assert reading(zipped(entries), "shapefile", crs="EPSG:4326").values("name") == ["Bronx"]


def test_of_several_shapefiles_one_is_named(reading: Reading) -> None:
    one, other = named(parts(["1"]), "a/one"), named(parts(["2"]), "b/other")
    with pytest.raises(
        ValueError, match=r"there are 2 shapefiles; say `custom: {layer: …}`, one of one, other"
    ):
        reading(zipped({**one, **other}), "shapefile")
    assert reading(zipped({**one, **other}), "shapefile", layer="other").values("name") == ["2"]
    assert reading(zipped({**one, **other}), "shapefile", layer_name="one").values("name") == ["1"]
    with pytest.raises(ValueError, match=r"there is no layer third; .*one of one, other"):
        reading(zipped({**one, **other}), "shapefile", layer="third")
    twins = zipped({**named(parts(["1"]), "a/same"), **named(parts(["2"]), "b/same")})
    with pytest.raises(ValueError, match="one of a/same, b/same"):
        reading(twins, "shapefile")
    assert reading(twins, "shapefile", layer="b/same").values("name") == ["2"]


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (".shp", r"there is no .shp in it; it holds (x\..*, ){2}x\..*"),
        (".dbf", r"its x.dbf is missing: a shapefile is at least"),
    ],
)
def test_a_missing_part_is_named(reading: Reading, left_out: str, said: str) -> None:
    made = named({suffix: content for suffix, content in parts(["1"]).items() if suffix != left_out})
    with pytest.raises(ValueError, match=said):
        reading(zipped(made), "shapefile")


def test_a_part_that_can_be_done_without_is_told(reading: Reading, capfd: pytest.CaptureFixture[str]) -> None:
    made = parts(["1", "2"])
    index = reading(zipped(named({**made, ".shx": b""} | {".shx": made[".shx"]})), "shapefile")
    assert index.warnings == []
    without = {suffix: content for suffix, content in made.items() if suffix not in {".shx", ".prj"}}
    read = reading(zipped(named(without)), "shapefile")
    assert read.rows == [("1", "POINT (0 40)"), ("2", "POINT (1 40)")]
    assert read.columns["geometry"] == "GEOMETRY"
    assert read.warnings == [
        "its x.shx is missing, and was made from its .shp",
        "x.prj is missing, and its shapes have no reference system: say `custom: {crs: …}`, as EPSG:2263",
    ]
    told = reading(zipped(named(without)), "shapefile", crs="EPSG:2263")
    assert (told.columns["geometry"], len(told.warnings)) == ("GEOMETRY('EPSG:2263')", 1)
    with pytest.raises(ValueError, match="EPSG:1 is no known reference system; one is EPSG:2263"):
        reading(zipped(named(without)), "shapefile", crs="EPSG:1")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"no zip file", zipped(named(parts(["1"])))[:200]])
def test_what_is_no_whole_zip_file_is_told(reading: Reading, content: bytes) -> None:
    with pytest.raises(ValueError, match="it is no whole zip file"):
        reading(content, "shapefile")
