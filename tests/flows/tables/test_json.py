import json

import pytest

from tests.flows.tables.conftest import Reading

LONG = 12345678901234567890123
DIGITS = "has more digits than a number holds, and is text"


@pytest.mark.parametrize(
    ("content", "values", "warning"),
    [
        ('[{"a": 9223372036854775807}]', [2**63 - 1], None),
        ('[{"a": -9223372036854775808}]', [-(2**63)], None),
        (f'[{{"a": 1}}, {{"a": {LONG}}}]', ["1", str(LONG)], f"line 1, a: {LONG} {DIGITS}"),
        (f'[{{"a":\n [1, {LONG}]}}]', [f'[1,"{LONG}"]'], f"line 2: {LONG} {DIGITS}"),
        (f'{{"a": {{"b": {LONG}}}}}\n', [f'{{"b":"{LONG}"}}'], f"line 1, b: {LONG} {DIGITS}"),
        ('[{"a": 0.1}, {"a": 0.10000000000000001}]', [0.1, 0.1], None),
        ('[{"a": -73.98765432109876}]', [-73.98765432109876], None),
        (
            '[{"a": 12345678901234567.89}]',
            ["12345678901234567.89"],
            f"line 1, a: 12345678901234567.89 {DIGITS}",
        ),
        ('[{"a": {"b": 1.00000000000000000001}}]', ['{"b":"1.00000000000000000001"}'], "line 1, b"),
        ('[{"a": 1e400}]', ["1e400"], f"line 1, a: 1e400 {DIGITS}"),
        ('[{"a": 1e22}, {"a": 2E-7}]', [1e22, 2e-7], None),
        (
            *('[{"a": 9007199254740993}, {"a": 0.5}]', ["9007199254740993", "0.5"]),
            "column a: 9007199254740993 has more digits than a decimal number holds, and the column is text",
        ),
        ('[{"a": 9007199254740992}, {"a": 0.5}]', [9007199254740992.0, 0.5], None),
        ('[{"a": "12345678901234567890123 NaN"}]', [f"{LONG} NaN"], None),
    ],
)
def test_numbers_keep_all_digits(
    reading: Reading, content: str, values: list[object], warning: str | None
) -> None:
    read = reading(content, "json")
    assert read.values("a") == values
    assert [told for told in read.warnings if told.startswith(str(warning))] == read.warnings


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "-inf"])
@pytest.mark.parametrize("custom", [{}, {"records": "a.b"}])
def test_what_is_no_number_is_null_at_any_depth(reading: Reading, word: str, custom: dict[str, str]) -> None:
    records = f'[{{"x": {word}, "s": "a: {word}, \\"{word}"}}, {{"x": 1.5, "n": [{{"y": {word}}}, {word}]}}]'
    read = reading(f'{{"a": {{"b": {records}}}}}' if custom else records, "json", **custom)
    assert read.values("x") == [None, 1.5]
    assert read.values("s") == [f'a: {word}, "{word}', None]
    assert json.loads(read.values("n")[1]) == [{"y": None}, None]
    assert read.warnings == [f"line 1, x: {word} is no JSON, and is null (so are 2 others)"]


def test_records_within_a_document_keep_all_digits(reading: Reading) -> None:
    read = reading(f'{{"a": [{{"n": 0.1234567890123456789, "m": {LONG}}}]}}', "json", records="a")
    assert read.rows == [("0.1234567890123456789", str(LONG))]


@pytest.mark.parametrize(
    ("encoding", "said"), [("latin-1", "latin-1"), ("gbk", "gbk"), ("utf-16-le", "utf-16-le")]
)
@pytest.mark.parametrize("file_type", ["json", "geojson"])
def test_an_encoding_is_declared(reading: Reading, encoding: str, said: str, file_type: str) -> None:
    word = "上海" if encoding == "gbk" else "é"
    record = {"type": "Feature", "properties": {"name": word}, "geometry": None}
    content = json.dumps([{"name": word}] if file_type == "json" else record, ensure_ascii=False).encode(
        encoding
    )
    assert reading(content, file_type, encoding=said).values("name") == [word]
    if encoding != "utf-16-le":
        with pytest.raises(ValueError, match=r"its text is not UTF-8 .*: say `custom: {encoding: …}`"):
            reading(content, file_type)
