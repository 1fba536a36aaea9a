"""The fields of JSON records and their types: numbers and truth stay what they are, all else is text."""

import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from flows.tables.quoting import identifier, literal
from flows.tables.table import NO_PATH_COLUMNS, usable

SCALARS = frozenset({"BIGINT", "DOUBLE", "BOOLEAN"})
"""What JSON itself tells apart from text; dates and ids it does not."""
MADE_UP = re.compile(r"_\d+$|^C\d+$")
"""How DuckDB calls fields that it cannot tell apart, or that have no name."""
RECORD_BYTES = 2**24
_ROUNDED = (
    "regexp_matches({0}, '^-?[0-9]{{16,}}$') and try_cast({0} as hugeint) is distinct from "
    "try_cast(try_cast({0} as double) as hugeint)"
)


def records(source: Path, kinds: Mapping[str, str] | None = None) -> str:
    """SQL for the records of a file; DuckDB says what their fields are where `kinds` does not."""
    options = f"{NO_PATH_COLUMNS}, records = true, sample_size = -1, maximum_object_size = {RECORD_BYTES}"
    columns = ", ".join(f"{literal(name)}: '{kind}'" for name, kind in (kinds or {}).items())
    found = (
        f"columns = {{{columns}}}"
        if kinds
        else "map_inference_threshold = -1, field_appearance_threshold = 0"
    )
    return f"read_json({literal(str(source))}, {options}, {found})"


def kinds_of(
    connection: duckdb.DuckDBPyConnection, source: Path, *, lists: bool = False
) -> tuple[dict[str, str], list[str]]:
    """The type of each field, and what is text although it is a number: a double would not hold its digits.

    Args:
        lists: whether lists of numbers, truth and text stay lists, and other nested values JSON; else both
            are text.

    Raises:
        ValueError: if fields cannot be told apart, or the file is not UTF-8.
        duckdb.Error: if it is no JSON.
    """
    found = connection.execute(f"describe from {records(source)}").fetchall()
    kinds = {name: _kind(kind, lists=lists) for name, kind, *_ in found}
    if any(MADE_UP.search(name) for name in kinds):
        _require_fields(connection, source, kinds)
    doubles = {name: kind for name, kind in kinds.items() if kind.startswith("DOUBLE")}
    if not doubles:
        return kinds, []
    as_text = {name: kind.replace("DOUBLE", "VARCHAR") for name, kind in doubles.items()}
    asked = ", ".join(f"any_value({_rounded(name, kind)})" for name, kind in doubles.items())
    answers = connection.execute(f"select {asked} from {records(source, {**kinds, **as_text})}").fetchall()[0]  # noqa: S608
    rounded = {name: value for name, value in zip(doubles, answers, strict=True) if value is not None}
    told = [
        f"column {name}: {value} has more digits than a decimal number holds, and the column is text"
        for name, value in rounded.items()
    ]
    return kinds | dict.fromkeys(rounded, "VARCHAR"), told


def _kind(kind: str, *, lists: bool) -> str:
    if kind in SCALARS:
        return kind
    element = kind.removesuffix("[]")
    if not lists or (kind == element and not kind.startswith(("STRUCT", "MAP"))):
        return "VARCHAR"
    if kind == element or re.search(r"[\[(]|JSON", element):
        return "JSON"
    return kind if element in SCALARS else "VARCHAR[]"


def _rounded(name: str, kind: str) -> str:
    """SQL for a whole number of which a double would not hold all digits."""
    column = identifier(name)
    if kind == "DOUBLE":
        return f"case when {_ROUNDED.format(column)} then {column} end"
    return f"list_filter({column}, lambda element: {_ROUNDED.format('element')})[1]"


def _require_fields(connection: duckdb.DuckDBPyConnection, source: Path, kinds: Mapping[str, str]) -> None:
    """Return if DuckDB calls each field as the file does: it makes up names for those that differ by case."""
    objects = (
        f"read_json_objects({literal(str(source))}, maximum_object_size = {RECORD_BYTES}, {NO_PATH_COLUMNS})"
    )
    fields = connection.execute(f"select distinct unnest(json_keys(json)) from {objects}").fetchall()  # noqa: S608
    usable(sorted(name for (name,) in fields))
    if made_up := sorted(kinds.keys() - {name for (name,) in fields}):
        raise ValueError(f"its field {made_up[0]} cannot be told from another")
