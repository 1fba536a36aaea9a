"""Files of many formats as Parquet. Text stays text: an id `00042` keeps its zeros."""

import csv
import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import ijson

from flows.tables.complaints import DIALECT, is_page
from flows.tables.file_types import FileType
from flows.tables.geometry import features_to_parquet
from flows.tables.quoting import identifier, literal
from flows.tables.table import PARQUET, renamed, usable

Connection = duckdb.DuckDBPyConnection
Reader = Callable[[Connection, Path, Path, Mapping[str, Any]], list[str]]
"""Reads a file into a Parquet file as `custom` says; what it warns of."""

DELIMITERS = ",\t;|"
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SCALARS = frozenset({"BIGINT", "DOUBLE", "BOOLEAN"})
"""What JSON itself tells apart from text; dates and ids it does not."""
MANY_DIGITS = r"^-?[0-9]{16,}$"
MADE_UP = re.compile(r"_\d+$|^C\d+$")
"""How DuckDB calls fields that it cannot tell apart, or that have no name."""
PIECE_CHARACTERS = 2**20
RECORD_BYTES = 2**24
LINE_BYTES = 2**25


def parquet_to_parquet(
    connection: Connection,
    source: Path,
    target: Path,
    custom: Mapping[str, Any],  # noqa: ARG001
) -> list[str]:
    """Take a Parquet file as it is; only where SQL could not say a column's name it is written anew.

    Raises:
        ValueError: if a column has no name.
        duckdb.Error: if it is no Parquet.
    """
    given = [row[0] for row in connection.execute("describe from read_parquet($1)", [str(source)]).fetchall()]
    if warnings := renamed(given):
        query = f"select {_selected(given)} from read_parquet($source)"  # noqa: S608
        written = {"source": str(source), "target": str(target)}
        connection.execute(f"copy ({query}) to $target ({PARQUET})", written)
    elif source.parent == target.parent:
        source.rename(target)
    else:
        shutil.copyfile(source, target)
    return warnings


def csv_to_parquet(
    connection: Connection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a CSV file with a header as Parquet: all columns are text, empty fields are null.

    Args:
        custom: `delimiter` (else found in the header), `encoding` (else that of its byte order mark, else
            UTF-8), `quote` (else `"`).

    Raises:
        ValueError: if the header is missing or names a column twice, the text is not in its encoding, or a
            line is too long.
        duckdb.Error: if a row does not fit the header.
    """
    text = _in_utf8(source, custom.get("encoding"), target)
    first = _first_line(text)
    _require_lines(text)
    delimiter, quote = str(custom.get("delimiter") or _delimiter(first)), str(custom.get("quote") or '"')
    with text.open(newline="", encoding="utf-8", errors="replace") as lines:
        given = next(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True), [])
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in usable(given))
    size = f"max_line_size = {LINE_BYTES}, buffer_size = {LINE_BYTES}"
    dialect = f"{size}, delim = {literal(delimiter)}, quote = {literal(quote)}, escape = {literal(quote)}"
    query = f"from read_csv($source, auto_detect = false, header = true, {dialect}, columns = {{{columns}}})"
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"source": str(text), "target": str(target)})
    return renamed(given)


def json_to_parquet(
    connection: Connection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write records as Parquet: numbers and truth stay what they are; all else is text, nested values JSON.

    Args:
        custom: `records`, the dotted path to the list of records within one document; else the document
            is a list of records, one record, or one record on each line.

    Raises:
        ValueError: if there are no records, or one is larger than 16 MiB.
        duckdb.Error: if it is no JSON.
    """
    source = _in_utf8(source, None, target)
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
    query = f"select {_selected(list(kinds))} from {_json(source, kinds)}"  # noqa: S608
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"target": str(target)})
    return renamed(list(kinds))


def _json(source: Path, kinds: Mapping[str, str] | None = None) -> str:
    columns = ", ".join(f"{literal(name)}: '{kind}'" for name, kind in (kinds or {}).items())
    options = f"records = true, sample_size = -1, maximum_object_size = {RECORD_BYTES}"
    found = (
        f"columns = {{{columns}}}"
        if kinds
        else "map_inference_threshold = -1, field_appearance_threshold = 0"
    )
    return f"read_json({literal(str(source))}, {options}, {found})"


def _json_kinds(connection: Connection, source: Path) -> dict[str, str]:
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


def _require_fields(connection: Connection, source: Path, kinds: Mapping[str, str]) -> None:
    """Return if DuckDB calls each field as the file does: it makes up names for those that differ by case."""
    objects = f"read_json_objects({literal(str(source))}, maximum_object_size = {RECORD_BYTES})"
    fields = connection.execute(f"select distinct unnest(json_keys(json)) from {objects}").fetchall()  # noqa: S608
    usable(sorted(name for (name,) in fields))
    if made_up := sorted(kinds.keys() - {name for (name,) in fields}):
        raise ValueError(f"its field {made_up[0]} cannot be told from another")


def xlsx_to_parquet(
    connection: Connection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a sheet with a header as Parquet: all columns are text, empty cells are null.

    Args:
        custom: `sheet`, by its name; else the first.

    Raises:
        ValueError: if it is no workbook, or there is no such sheet.
    """
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_path(str(source))
    except python_calamine.CalamineError as error:
        raise ValueError(f"it is no workbook ({error})") from error
    wanted = str(custom.get("sheet") or book.sheet_names[0])
    if wanted not in book.sheet_names:
        raise ValueError(f"there is no sheet {wanted}; there are {', '.join(book.sheet_names)}")
    text = target.with_suffix(".csv")
    with text.open("w", newline="", encoding="utf-8") as lines:
        for row in book.get_sheet_by_name(wanted).iter_rows():
            csv.writer(lines, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(map(_cell, row))
    warnings = csv_to_parquet(connection, text, target, {"delimiter": ","})
    text.unlink()
    return warnings


READERS: dict[FileType, Reader] = {
    FileType.PARQUET: parquet_to_parquet,
    FileType.CSV: csv_to_parquet,
    FileType.JSON: json_to_parquet,
    FileType.XLSX: xlsx_to_parquet,
    FileType.GEOJSON: features_to_parquet,
    FileType.SHAPEFILE: features_to_parquet,
    FileType.GDB: features_to_parquet,
}


def _selected(names: list[str]) -> str:
    named = zip(names, usable(names), strict=True)
    return ", ".join(f"{identifier(name)} as {identifier(made)}" for name, made in named)


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


def _in_utf8(source: Path, encoding: Any, target: Path) -> Path:
    with source.open("rb") as content:
        head = content.read(4)
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    used = str(encoding or marked or "utf-8").lower().replace("_", "-")
    if marked and used.startswith(marked.removesuffix("-sig")):
        used = marked
    if used in {"utf-8", "utf8"}:
        return source
    text = target.with_suffix(".utf8")
    try:
        with (
            source.open(encoding=used, newline="") as lines,
            text.open("w", encoding="utf-8", newline="") as out,
        ):
            while piece := lines.read(PIECE_CHARACTERS):
                out.write(piece)
    except (UnicodeError, LookupError) as error:
        raise ValueError(f"it is not in the encoding {used} ({error})") from error
    return text


def _first_line(text: Path) -> str:
    with text.open("rb") as content:
        line = content.readline(PIECE_CHARACTERS)
    try:
        first = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"its first line is not UTF-8 (at byte {error.start + 1}): say `custom: {{encoding: …}}`"
        ) from error
    if is_page(text):
        raise ValueError("it is a page of HTML or XML")
    if not first.strip():
        raise ValueError("it is empty, or its first line does not name every column")
    if "\0" in first:
        raise ValueError("its first line has NUL bytes, as UTF-16 has: say `custom: {encoding: utf-16-le}`")
    return first


def _require_lines(text: Path) -> None:
    """Return if every line is shorter than DuckDB's buffer: it loses a longer one, and says nothing."""
    piece = LINE_BYTES // 2
    with text.open("rb") as content:
        for start in range(0, text.stat().st_size - piece, piece):
            content.seek(start)
            ends = (b"\n" in some or b"\r" in some for some in iter(lambda: content.read(2**16), b""))
            if not any(itertools.islice(ends, piece // 2**16)):
                raise ValueError(f"a line is longer than {piece // 2**20} MiB (at byte {start:,}): {DIALECT}")


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


def _cell(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case datetime() if value.time() == time():
            return value.date().isoformat()
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)
