"""JSON as Parquet: a list of records, one record, or one record on each line."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import ijson

from flows.tables.encodings import in_utf8
from flows.tables.quoting import identifier, literal
from flows.tables.table import NO_PATH_COLUMNS, PARQUET, renamed, selected, usable

SCALARS = frozenset({"BIGINT", "DOUBLE", "BOOLEAN"})
"""What JSON itself tells apart from text; dates and ids it does not."""
MANY_DIGITS = r"^-?[0-9]{16,}$"
MADE_UP = re.compile(r"_\d+$|^C\d+$")
"""How DuckDB calls fields that it cannot tell apart, or that have no name."""
RECORD_BYTES = 2**24


def json_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write records as Parquet: numbers and truth stay what they are; all else is text, nested values JSON.

    Args:
        custom: `records`, the dotted path to the list of records within one document; else the document
            is a list of records, one record, or one record on each line.

    Raises:
        ValueError: if there are no records, or one is larger than 16 MiB.
        duckdb.Error: if it is no JSON.
    """
    source = in_utf8(source, None, target)
    if path := str(custom.get("records") or ""):
        source = _unpacked(source, path, target.with_suffix(".records.json"))
    try:
        kinds = _json_kinds(connection, source)
    except duckdb.Error as error:
        if "non-record JSON" in str(error):
            raise ValueError("it holds no records") from error
        if "maximum_object_size" in str(error):
            hint = "where the records stand deeper, say `custom: {records: …}`"
            raise ValueError(f"a record is larger than 16 MiB; {hint}") from error
        raise
    query = f"select {selected(list(kinds))} from {_json(source, kinds)}"  # noqa: S608
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"target": str(target)})
    return renamed(list(kinds))


def _json(source: Path, kinds: Mapping[str, str] | None = None) -> str:
    columns = ", ".join(f"{literal(name)}: '{kind}'" for name, kind in (kinds or {}).items())
    options = f"{NO_PATH_COLUMNS}, records = true, sample_size = -1, maximum_object_size = {RECORD_BYTES}"
    found = (
        f"columns = {{{columns}}}"
        if kinds
        else "map_inference_threshold = -1, field_appearance_threshold = 0"
    )
    return f"read_json({literal(str(source))}, {options}, {found})"


def _json_kinds(connection: duckdb.DuckDBPyConnection, source: Path) -> dict[str, str]:
    """The type of each field. A number is text where a double would not hold all of its digits."""
    found = connection.execute(f"describe from {_json(source)}").fetchall()
    kinds = {name: kind if kind in SCALARS else "VARCHAR" for name, kind, *_ in found}
    if not kinds:
        raise ValueError("it holds no records")
    if any(MADE_UP.search(name) for name in kinds):
        _require_fields(connection, source, kinds)
    doubles = [name for name, kind in kinds.items() if kind == "DOUBLE"]
    if doubles:
        read = _json(source, {**kinds, **dict.fromkeys(doubles, "VARCHAR")})
        rounded = "not isfinite({0}::double) or regexp_matches({0}, '{1}')"
        asked = ", ".join(
            f"coalesce(bool_or({rounded.format(identifier(name), MANY_DIGITS)}), false)" for name in doubles
        )
        answers = connection.execute(f"select {asked} from {read}").fetchall()[0]  # noqa: S608
        kinds |= {name: "VARCHAR" for name, answer in zip(doubles, answers, strict=True) if answer}
    return kinds


def _require_fields(connection: duckdb.DuckDBPyConnection, source: Path, kinds: Mapping[str, str]) -> None:
    """Return if DuckDB calls each field as the file does: it makes up names for those that differ by case."""
    objects = (
        f"read_json_objects({literal(str(source))}, maximum_object_size = {RECORD_BYTES}, {NO_PATH_COLUMNS})"
    )
    fields = connection.execute(f"select distinct unnest(json_keys(json)) from {objects}").fetchall()  # noqa: S608
    usable(sorted(name for (name,) in fields))
    if made_up := sorted(kinds.keys() - {name for (name,) in fields}):
        raise ValueError(f"its field {made_up[0]} cannot be told from another")


def _unpacked(document: Path, path: str, target: Path) -> Path:
    """The records within a document, one on each line; in memory one after the other."""
    found = False
    try:
        with document.open("rb") as content, target.open("w", encoding="utf-8") as lines:
            for record in ijson.items(content, f"{path}.item"):
                found = True
                lines.write(
                    json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=float) + "\n"
                )
    except ijson.JSONError as error:
        raise ValueError(f"it is no JSON ({error})") from error
    if not found:
        raise ValueError(f"it holds no records at {path}")
    return target
