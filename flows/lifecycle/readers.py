"""Files of many formats as Parquet. Text stays text: an id `00042` keeps its zeros."""

import csv
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb

from flows.lifecycle.geometry import features_to_parquet
from flows.lifecycle.quoting import identifier, literal
from flows.lifecycle.tables import PARQUET, usable
from flows.recipe import FileType

Connection = duckdb.DuckDBPyConnection
Reader = Callable[[Connection, Path, Path, Mapping[str, Any]], None]

DELIMITERS = ",\t;|"
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SCALARS = frozenset({"BIGINT", "HUGEINT", "UBIGINT", "DOUBLE", "BOOLEAN"})
"""What JSON itself tells apart from text; dates and ids it does not."""
PIECE_CHARACTERS = 2**20


def csv_to_parquet(connection: Connection, source: Path, target: Path, custom: Mapping[str, Any]) -> None:
    """Write a CSV file with a header as Parquet: all columns are text, empty fields are null.

    Args:
        custom: `delimiter` (else found in the header), `encoding` (else that of its byte order mark, else
            UTF-8), `quote` (else `"`).

    Raises:
        ValueError: if the header is missing or names a column twice, or the text is not in its encoding.
        duckdb.Error: if a row does not fit the header.
    """
    text = _in_utf8(source, custom.get("encoding"), target)
    first = _first_line(text)
    delimiter, quote = str(custom.get("delimiter") or _delimiter(first)), str(custom.get("quote") or '"')
    with text.open(newline="", encoding="utf-8") as lines:
        names = usable(next(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True), []))
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    dialect = f"delim = {literal(delimiter)}, quote = {literal(quote)}, escape = {literal(quote)}"
    query = f"from read_csv($source, auto_detect = false, header = true, {dialect}, columns = {{{columns}}})"
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"source": str(text), "target": str(target)})


def json_to_parquet(connection: Connection, source: Path, target: Path, custom: Mapping[str, Any]) -> None:
    """Write records as Parquet: numbers and truth stay what they are; all else is text, nested values JSON.

    Args:
        custom: `records`, the dotted path to the list of records within one document; else the document
            is a list of records, one record, or one record on each line.

    Raises:
        ValueError: if there are no records.
        duckdb.Error: if it is no JSON.
    """
    size = max(source.stat().st_size, 2**24)
    path = str(custom.get("records") or "")
    if path:
        unpacked = target.with_suffix(".records.json")
        where = literal("$." + ".".join(f'"{part}"' for part in path.split(".")) + "[*]")
        objects = f"read_json_objects($source, format = 'unstructured', maximum_object_size = {size})"
        records = f"select unnest(json_extract(json, {where})) as record from {objects}"  # noqa: S608
        given = {"source": str(source), "target": str(unpacked)}
        connection.execute(f"copy ({records}) to $target (format json)", given)
        if not unpacked.stat().st_size:
            raise ValueError(f"it holds no records at {path}")
        source = unpacked
    read = f"read_json({literal(str(source))}, sample_size = -1, maximum_object_size = {size}"
    chosen = "unnest(record)" if path else "*"
    found = connection.execute(f"describe select {chosen} from {read})").fetchall()  # noqa: S608
    kinds = {name: kind if kind in SCALARS else "VARCHAR" for name, kind, *_ in found}
    if not kinds or list(kinds) == ["json"]:
        raise ValueError("it holds no records")
    names = dict(zip(kinds, usable(list(kinds)), strict=True))
    if path:
        fields = ", ".join(f"{identifier(name)} {kind}" for name, kind in kinds.items())
        columns = f"'record': {literal(f'STRUCT({fields})')}"
        selected = ", ".join(f"record.{identifier(name)} as {identifier(names[name])}" for name in kinds)
    else:
        columns = ", ".join(f"{literal(name)}: '{kind}'" for name, kind in kinds.items())
        selected = ", ".join(f"{identifier(name)} as {identifier(names[name])}" for name in kinds)
    query = f"select {selected} from {read}, columns = {{{columns}}})"  # noqa: S608
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"target": str(target)})


def xlsx_to_parquet(connection: Connection, source: Path, target: Path, custom: Mapping[str, Any]) -> None:
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
            csv.writer(lines, lineterminator="\n").writerow(map(_cell, row))
    csv_to_parquet(connection, text, target, {"delimiter": ","})
    text.unlink()


READERS: dict[FileType, Reader] = {
    FileType.CSV: csv_to_parquet,
    FileType.JSON: json_to_parquet,
    FileType.XLSX: xlsx_to_parquet,
    FileType.GEOJSON: features_to_parquet,
    FileType.SHAPEFILE: features_to_parquet,
    FileType.GDB: features_to_parquet,
}


def _in_utf8(source: Path, encoding: Any, target: Path) -> Path:
    with source.open("rb") as content:
        head = content.read(4)
    found = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    used = str(encoding or found)
    if used.lower().replace("_", "-") in {"utf-8", "utf8"}:
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
            f"it is not UTF-8 ({error.reason} at byte {error.start}): say `custom: {{encoding: …}}`"
        ) from error
    if not first.strip():
        raise ValueError("it is empty, or its first line does not name every column")
    if first.lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
        raise ValueError("it is a page of HTML or XML")
    return first


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
