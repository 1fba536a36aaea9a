"""CSV as Parquet of text columns."""

import csv
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.complaints import DIALECT, is_page
from flows.tables.encodings import PIECE_CHARACTERS, in_utf8
from flows.tables.quoting import literal
from flows.tables.table import NO_PATH_COLUMNS, PARQUET, renamed, usable

DELIMITERS = ",\t;|"
LINE_BYTES = 2**25


def csv_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
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
    text = in_utf8(source, custom.get("encoding"), target)
    first = _first_line(text)
    _require_lines(text)
    delimiter, quote = str(custom.get("delimiter") or _delimiter(first)), str(custom.get("quote") or '"')
    with text.open(newline="", encoding="utf-8", errors="replace") as lines:
        given = next(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True), [])
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in usable(given))
    size = f"max_line_size = {LINE_BYTES}, buffer_size = {LINE_BYTES}"
    given_dialect = f"{NO_PATH_COLUMNS}, auto_detect = false, header = true"
    dialect = f"{size}, delim = {literal(delimiter)}, quote = {literal(quote)}, escape = {literal(quote)}"
    query = f"from read_csv($source, {given_dialect}, {dialect}, columns = {{{columns}}})"
    connection.execute(f"copy ({query}) to $target ({PARQUET})", {"source": str(text), "target": str(target)})
    return renamed(given)


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
