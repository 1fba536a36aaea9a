"""JSON as Parquet: a list of records, one record, or one record on each line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import ijson

from flows.tables.encodings import in_utf8
from flows.tables.json_records import kinds_of, records
from flows.tables.json_text import portable
from flows.tables.table import PARQUET, renamed, selected


def json_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write records as Parquet: numbers and truth stay what they are; all else is text, nested values JSON.

    NaN and infinity are null. A number of more digits than a number holds is text, with a warning.

    Args:
        custom: `records`, the dotted path to the list of records within one document, else the document is a
            list of records, one record, or one record on each line; `encoding`, else that of its byte order
            mark, else UTF-8.

    Raises:
        ValueError: if there are no records, one is larger than 16 MiB, or the text is not in its encoding.
        duckdb.Error: if it is no JSON.
    """
    text = in_utf8(source, custom.get("encoding"), target)
    plain, warnings = portable(text, target.with_suffix(".plain.json"))
    if path := str(custom.get("records") or ""):
        plain = _unpacked(plain, path, target.with_suffix(".records.json"))
    try:
        kinds, told = kinds_of(connection, plain)
    except duckdb.Error as error:
        raise explained(error) from error
    if not kinds:
        raise ValueError("it holds no records")
    query = f"select {selected(list(kinds))} from {records(plain, kinds)}"  # noqa: S608
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"target": str(target)})
    return [*warnings, *told, *renamed(list(kinds))]


def explained(error: duckdb.Error) -> Exception:
    """What DuckDB says of JSON, in the words of who has to mend it, where there are better ones."""
    said = str(error)
    if "non-record JSON" in said:
        return ValueError("it holds no records")
    if "maximum_object_size" in said:
        hint = "where the records stand deeper, say `custom: {records: …}`"
        return ValueError(f"a record is larger than 16 MiB; {hint}")
    if "UTF-8" in said:
        place = said.partition("Malformed JSON in file")[2].partition(", at ")[2].partition(":")[0]
        return ValueError(f"its text is not UTF-8 ({place or 'somewhere'}): say `custom: {{encoding: …}}`")
    return error


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
