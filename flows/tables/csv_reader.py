"""CSV as Parquet of text columns."""

import csv
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.complaints import DIALECT, is_page
from flows.tables.encodings import PIECE_CHARACTERS, in_utf8
from flows.tables.quoting import literal
from flows.tables.table import NO_PATH_COLUMNS, PARQUET, renamed, usable

DELIMITERS = ",\t;|"
LINE_BYTES = 2**25


@dataclass(frozen=True)
class CsvText:
    """A CSV file that can be read: in UTF-8, its dialect and its header known."""

    file: Path
    given: tuple[str, ...]
    """The columns as the header names them."""
    delimiter: str
    quote: str

    @property
    def names(self) -> list[str]:
        """The columns as SQL calls them."""
        return usable(list(self.given))

    @property
    def rows(self) -> str:
        """Its rows as they stand in SQL: all columns are text, empty fields are null."""
        return self.rows_as({})

    def rows_as(self, types: Mapping[str, str]) -> str:
        """The same with columns of these SQL types; the others are text."""
        columns = ", ".join(f"{literal(name)}: {literal(types.get(name, 'VARCHAR'))}" for name in self.names)
        size = f"max_line_size = {LINE_BYTES}, buffer_size = {LINE_BYTES}"
        given = f"{NO_PATH_COLUMNS}, auto_detect = false, header = true, {size}"
        quote = literal(self.quote)
        marks = f"delim = {literal(self.delimiter)}, quote = {quote}, escape = {quote}"
        return f"read_csv({literal(str(self.file))}, {given}, {marks}, columns = {{{columns}}})"


def csv_text(source: Path, target: Path, custom: Mapping[str, Any]) -> CsvText:
    """Find out how a CSV file is read; one that is not in UTF-8 is written anew beside `target`.

    Args:
        custom: `delimiter` (else found in the header), `encoding` (else that of its byte order mark, else
            UTF-8), `quote` (else `"`).

    Raises:
        ValueError: if the header is missing or names a column twice, the text is not in its encoding, or a
            line is too long.
    """
    text = in_utf8(source, custom.get("encoding"), target)
    first = _first_line(text)
    _require_lines(text)
    delimiter, quote = str(custom.get("delimiter") or _delimiter(first)), str(custom.get("quote") or '"')
    with text.open(newline="", encoding="utf-8", errors="replace") as lines:
        given = next(csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True), [])
    usable(given)
    return CsvText(text, tuple(given), delimiter, quote)


def csv_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a CSV file with a header as Parquet: all columns are text, empty fields are null.

    Args:
        custom: as `csv_text` takes it.

    Raises:
        ValueError: where `csv_text` does.
        duckdb.Error: if a row does not fit the header.
    """
    text = csv_text(source, target, custom)
    connection.execute(f"copy (from {text.rows}) to $target ({PARQUET})", {"target": str(target)})
    return renamed(list(text.given))


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
