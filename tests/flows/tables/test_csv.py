"""CSV as it is written by many programs: the right rows, or what is wrong, where, and what helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.tables.complaints import complaint
from flows.tables.csv_dialect import has_one_line_end
from flows.tables.csv_reader import csv_to_parquet
from flows.tables.table import database

Loaded = tuple[list[str], list[tuple[str | None, ...]], list[str]]
Load = Callable[..., Loaded]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Columns, rows and warnings of a text."""

    def load(content: str | bytes, **custom: Any) -> Loaded:
        source, target = tmp_path / "given.csv", tmp_path / "table.parquet"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        with database(tmp_path) as connection:
            warnings = csv_to_parquet(connection, source, target, custom)
            found = connection.execute(f"from '{target}'")
            return [column[0] for column in found.description], found.fetchall(), warnings

    return load


def refusal(load: Load, content: str | bytes, **custom: Any) -> str:
    with pytest.raises(Exception, match=r".") as caught:
        load(content, **custom)
    return complaint(caught.value, Path("given.csv"))


@pytest.mark.parametrize(
    ("content", "columns", "first"),
    [
        (
            "SKU (unique);Name (long, or less);Price (no tax);Size (cm, needed)\n0007;Fire;10.5;3\n8;b;7;4\n",
            4,
            ("0007", "Fire", "10.5", "3"),
        ),
        ('"id","status (1;2;3;4)","kind (a;b;c)"\n"001","1","a"\n"002","4","c"\n', 3, ("001", "1", "a")),
        ('id\t"a,b,c;d"\n1\tx\n', 2, ("1", "x")),
        ("id|a, b, c\n1|x\n2|y\n", 2, ("1", "x")),
        ("id;price\n1;10,5\n2;3,5\n", 2, ("1", "10,5")),
        ("id;address\n1;Main St, NY\n2;Oak, NJ\n", 2, ("1", "Main St, NY")),
    ],
)
def test_what_tells_fields_apart_is_found_in_all_lines(
    load: Load, content: str, columns: int, first: tuple[str, ...]
) -> None:
    names, rows, _ = load(content)
    assert (len(names), rows[0]) == (columns, first)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("name\nx;y\nz\n", [("x;y",), ("z",)]),
        ("name\nx\ty\np|q\n", [("x\ty",), ("p|q",)]),
        ('name\n"Doe, Jane"\n""\nRoe\n', [("Doe, Jane",), (None,), ("Roe",)]),
        ('name\r"x ""y"""\r"a\rb"\r', [('x "y"',), ("a\rb",)]),
    ],
)
def test_a_single_column_may_hold_what_tells_others_apart(
    load: Load, content: str, rows: list[tuple[str | None]]
) -> None:
    assert load(content) == (["name"], rows, [])


@pytest.mark.parametrize(
    "content",
    [
        "address\nMain St, Bronx, NY\nOak Ave, Newark, NJ\n",
        "address\nMain St, NY\nOak Ave, NJ\n",
        "address;\nfirst\n\nMain St; NY\nx; y; z\n",
    ],
)
def test_a_first_row_of_texts_is_not_taken_for_a_header(load: Load, content: str) -> None:
    assert "line" in refusal(load, content)


def test_where_two_delimiters_fit_it_is_said_which_was_taken(load: Load) -> None:
    _, rows, warnings = load("a,b;c\n1,5;2\n3,1;4\n")
    assert rows == [("1", "5;2"), ("3", "1;4")]
    assert warnings[0].startswith("',' was taken for what tells fields apart (2 columns); ';' would give 2")
    assert load("a,b;c\n1,5;2\n3,1;4\n", delimiter=";")[1:] == ([("1,5", "2"), ("3,1", "4")], [])


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'id,note\r\n1,"first\rsecond"\r\n2,plain\r\n', [("1", "first\rsecond"), ("2", "plain")]),
        (b'id,note\r\n1,"first\nsecond"\r\n2,plain\r\n', [("1", "first\nsecond"), ("2", "plain")]),
        (b"id,x\r\n1,a\r\n2,b\n3,c\n", [("1", "a"), ("2", "b"), ("3", "c")]),
        (b'id,x\n1,a\r\n2,"b\r\nc"\n', [("1", "a"), ("2", "b\r\nc")]),
        (b"id,x\r1,a\r2,b\r", [("1", "a"), ("2", "b")]),
        (b"id,x\r1,a\r2,b\n3,c\n", [("1", "a"), ("2", "b"), ("3", "c")]),
        (b'id,x\n1,5" pipe\r\n2,b\r\n3,6" pipe\n', [("1", '5" pipe'), ("2", "b"), ("3", '6" pipe')]),
        (b'id\r\n"1\r2"\r\n3\r\n', [("1\r2",), ("3",)]),
    ],
)
def test_lines_may_end_in_several_ways(load: Load, content: bytes, rows: list[tuple[str, ...]]) -> None:
    assert load(content)[1:] == (rows, [])


def test_a_carriage_return_outside_quotes_makes_no_row_that_was_not_there(load: Load) -> None:
    _, rows, warnings = load(b"id,note,x\n1,one\rtwo,a\n2,plain,b\n")
    assert rows == [("1", "one\rtwo", "a"), ("2", "plain", "b")]
    assert warnings == ["a carriage return within a value stays there, first in line 2 by line feeds"]
    assert "line 2 has a carriage return outside quotes" in refusal(load, b"id\n1\r2\n3\n")


def test_line_ends_are_looked_at_over_pieces_and_quotes(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for content, one in [
        (b"a\r\n" * 400_000, True),
        (b'a,"b\nc"\r\n' * 200_000, True),
        (b"a\r\n" * 400_000 + b"b\n", False),
        (b"a\n" * 600_000, True),
        (b"\r" * 2**20 + b"\n", False),
    ]:
        file.write_bytes(content)
        assert has_one_line_end(file, '"') is one


@pytest.mark.parametrize(
    ("header", "names", "said"),
    [
        (
            ",GEOID,NAME",
            ["column_1", "GEOID", "NAME"],
            "columns without a name are named: column 1 to column_1",
        ),
        ("id,,NAME", ["id", "column_2", "NAME"], "columns without a name are named: column 2 to column_2"),
        ("id,name,name", ["id", "name", "name_2"], "columns renamed: 'name' to name_2"),
        ("id,ID,Id", ["id", "ID_2", "Id_3"], "columns renamed: 'ID' to ID_2, 'Id' to Id_3"),
        ("name,name,name_2", ["name", "name_3", "name_2"], "columns renamed: 'name' to name_3"),
        (
            "column_2,,b",
            ["column_2", "column_2_2", "b"],
            "columns without a name are named: column 2 to column_2_2",
        ),
        ("a-b,a b,c", ["a_b", "a_b_2", "c"], "columns renamed: 'a-b' to a_b, 'a b' to a_b_2"),
    ],
)
def test_every_column_gets_a_name_of_its_own_and_it_is_said(
    load: Load, header: str, names: list[str], said: str
) -> None:
    assert load(f"{header}\n0,36005,Bronx\n1,36047,Kings\n") == (
        names,
        [("0", "36005", "Bronx"), ("1", "36047", "Kings")],
        [said],
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,x,\n1,a,\n2,b,\n", "column 3 has no name and no values, and is left out"),
        ("id,x,\n1,a\n2,b\n", "column 3 has no name and no values, and is left out"),
        ("id,x\n1,a,\n2,b,\n", "a delimiter at the end of lines is left out"),
        ("id,x\n1,a\n2,b,\n", "a delimiter at the end of lines is left out"),
        ("id,,x\n1,,a\n2,,b\n", "column 2 has no name and no values, and is left out"),
    ],
)
def test_a_delimiter_too_many_is_no_column(load: Load, content: str, said: str) -> None:
    assert load(content) == (["id", "x"], [("1", "a"), ("2", "b")], [said])


def test_a_column_without_a_name_that_has_one_value_stays(load: Load) -> None:
    lines = "".join(f"{number},a,\n" for number in range(50_000))
    names, rows, _ = load(f"id,x,\n{lines}7,a,late\n")
    assert names == ["id", "x", "column_3"]
    assert (len(rows), rows[-1]) == (50_001, ("7", "a", "late"))


TITLES = "School capacity 2025\nas of 31 January\n\n"
TABLE = "id,name,seats\n001,PS 1,300\n002,PS 2,250\n"
ROWS = [("001", "PS 1", "300"), ("002", "PS 2", "250")]


@pytest.mark.parametrize(
    ("content", "custom", "said"),
    [
        (
            TITLES + TABLE,
            {},
            ["the table begins in line 4; left out above it: line 1 ('School capacity 2025'), "],
        ),
        (
            TITLES.replace("\n", ",,\n") + TABLE,
            {},
            ["the table begins in line 4; left out above it: line 1 ("],
        ),
        (
            "# from the portal\n" + TABLE,
            {},
            ["the table begins in line 2; left out above it: line 1 ('# from"],
        ),
        ("By:,DCP\n\n" + TABLE, {}, ["the table begins in line 3; left out above it: line 1 ('By:; DCP')"]),
        (
            TABLE + "\nSource: DCP\n\nprinted today\n",
            {},
            ["left out below the table: line 5 ('Source: DCP'), l"],
        ),
        (TABLE + ",,\nSource: DCP,,\n", {}, ["left out below the table: line 5 ('Source: DCP')"]),
        (TABLE + ",,\n,,\n", {}, ["lines without any value at the end, from line 4 on, are left out"]),
        (
            "sep=;\n" + TABLE.replace(",", ";"),
            {},
            ["line 1 (sep=;) says what tells fields apart, and is left out"],
        ),
        ("\n\n" + TABLE, {}, []),
        (TITLES + TABLE, {"skip_rows": 2}, []),
        (TITLES + TABLE, {"skiprows": 3}, []),
        (TITLES + TABLE, {"header_row": 4}, []),
        ("a,b,c\nd,e,f\n" + TABLE, {"header_row": "3"}, []),
        ('"not closed\n' + TABLE, {"skip_rows": 1}, []),
        (TABLE + "in all,,550\n", {"skip_footer": 1}, []),
        (TABLE + "Total\n", {"skipfooter": 1}, []),
    ],
)
def test_a_table_may_stand_between_a_title_and_notes(
    load: Load, content: str, custom: dict[str, Any], said: list[str]
) -> None:
    names, rows, warnings = load(content, **custom)
    assert (names, rows) == (["id", "name", "seats"], ROWS)
    assert [warning[: len(start)] for warning, start in zip(warnings, said, strict=True)] == said


def test_a_last_row_that_may_be_a_note_is_told(load: Load) -> None:
    _, rows, warnings = load(TABLE + "Source: DCP,,\n")
    assert rows == [*ROWS, ("Source: DCP", None, None)]
    said = "the last row has a value in its first column alone ('Source: DCP'): if that is no row, say "
    assert warnings == [f"{said}`custom: {{skip_footer: 1}}`"]


@pytest.mark.parametrize(
    ("content", "custom", "parts"),
    [
        ("Report\n1,2,3\n4,5,6\n", {}, ["line 1 holds 'Report' alone", "3 columns", "{header_row: …}"]),
        (
            ",2024,,2025,\nid,a,b,a,b\n1,2,3,4,5\n",
            {},
            ["line 1 names 2 of 5 columns", "line 2 may be the header"],
        ),
        ("id,x\n1,2\n3\n", {}, ["line 3 has 1 in place of 2 columns (3)", "delimiter", "skip_footer"]),
        ("id\n1,2\n3,4\n", {}, ["line 2 has 2 in place of 1 columns (1,2)", "delimiter"]),
        ("id,x\n1,a\\,b\n", {}, ["line 2 has 3 in place of 2 columns", r"say `custom: {escape: \}`"]),
        (
            'id,x\n1,"a \\"b\\", c"\n',
            {},
            ["line 2 has a quote that is not closed", r"say `custom: {escape: \}`"],
        ),
        ("id,x\n1,2\n", {"header_row": 9}, ["nothing in line 9 or below", "header_row"]),
        (TITLES + TABLE + "3,PS 3\n", {}, ["line 7 has 2 in place of 3 columns (3,PS 3)"]),
    ],
)
def test_what_is_not_clear_is_told_with_line_and_option(
    load: Load, content: str, custom: dict[str, Any], parts: list[str]
) -> None:
    said = refusal(load, content, **custom)
    assert not [part for part in parts if part not in said], said


def test_escapes_are_taken_off_where_they_are_declared(load: Load) -> None:
    content = 'id,x\n1,"say \\"hi\\", he"\n2,c\\,d\n3,"a ""b"" c"\n4,\\N\n\\N,e\\\\\n5,"two\\\nlines"\n'
    assert load(content, escape="\\")[1:] == (
        [
            *(("1", 'say "hi", he'), ("2", "c,d"), ("3", 'a "b" c'), ("4", None)),
            *((None, "e\\"), ("5", "two\nlines")),
        ],
        [],
    )
    assert load("id,x\n1,a^,b\n", escapechar="^")[1] == [("1", "a,b")]
    assert load('id,x\n1,"C:\\new"\n', escape="\\")[1:] == (
        [("1", "C:new")],
        ["\\n is read as n, first in '1,\"C:\\\\new\"'"],
    )


def test_the_same_rows_come_whichever_way_they_are_read(load: Load) -> None:
    lines = [f'{number},"{number} ""x""\nand {number}",é{number}' for number in range(2000)]
    plain = load("\n".join(["id,a,b", *lines, ""]))
    mixed = load(
        "id,a,b\n" + "".join(f"{line}\r\n" if at % 2 else f"{line}\n" for at, line in enumerate(lines))
    )
    assert plain[:2] == mixed[:2]
    assert len(plain[1]) == 2000
