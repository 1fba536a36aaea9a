"""CSV as Parquet of text columns."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.column_names import column_names, naming_warnings
from flows.tables.complaints import DIALECT, is_page
from flows.tables.csv_dialect import find_dialect
from flows.tables.csv_exact import rewritten
from flows.tables.encodings import PIECE_CHARACTERS, in_utf8
from flows.tables.file_types import FileType
from flows.tables.other_words import in_our_words
from flows.tables.quoting import literal
from flows.tables.table import NO_PATH_COLUMNS, PARQUET

LINE_BYTES = 2**25


@dataclass(frozen=True)
class CsvText:
    """A CSV file that can be read: in UTF-8, its dialect and its header known."""

    file: Path
    given: tuple[str, ...]
    """The columns as the header names them."""
    delimiter: str
    quote: str
    warnings: tuple[str, ...] = ()
    """What people are told of how it is read."""

    @property
    def names(self) -> list[str]:
        """The columns as SQL calls them."""
        return column_names(self.given)

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
    """Find out how a CSV file is read; it is written anew beside `target` if it is not plain, or not UTF-8.

    Args:
        custom: `delimiter` (else found by looking), `encoding` (else that of its byte order mark, else
            UTF-8), `quote` (else `"`), `escape` (else none), `header_row` or `skip_rows` (else found by
            looking), `skip_footer`.

    Raises:
        ValueError: if there is no header, the text is not in its encoding, or a line is too long; of a file
            that is not plain also if a line does not fit the header.
    """
    return _csv_text(source, target, in_our_words(FileType.CSV, custom), exactly=False)


def _csv_text(source: Path, target: Path, options: Mapping[str, Any], *, exactly: bool) -> CsvText:
    text = in_utf8(source, options.get("encoding"), target)
    _require_text(text)
    _require_lines(text)
    dialect = find_dialect(text, options)
    marks, header = dialect.marks, dialect.header.cells
    if dialect.plain and not exactly:
        warnings = (*dialect.warnings, *naming_warnings(header))
        return CsvText(text, header, marks.delimiter, marks.quote, warnings)
    table = rewritten(text, target.with_suffix(".plain.csv"), dialect, options)
    warnings = (*dialect.warnings, *table.warnings, *naming_warnings(table.names))
    return CsvText(table.file, table.names, ",", '"', warnings)


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
    try:
        copy_text(connection, text, target)
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error:
        text = _csv_text(source, target, in_our_words(FileType.CSV, custom), exactly=True)
        copy_text(connection, text, target)
    return list(text.warnings)


def copy_text(connection: duckdb.DuckDBPyConnection, text: CsvText, target: Path) -> None:
    """Write the rows of a text as Parquet.

    Raises:
        duckdb.Error: if a row does not fit the header.
    """
    connection.execute(f"copy (from {text.rows}) to $target ({PARQUET})", {"target": str(target)})


def _require_text(text: Path) -> None:
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
    if "\0" in first:
        raise ValueError("its first line has NUL bytes, as UTF-16 has: say `custom: {encoding: utf-16-le}`")


def _require_lines(text: Path) -> None:
    """Return if every line is shorter than DuckDB's buffer: it loses a longer one, and says nothing."""
    piece = LINE_BYTES // 2
    with text.open("rb") as content:
        for start in range(0, text.stat().st_size - piece, piece):
            content.seek(start)
            ends = (b"\n" in some or b"\r" in some for some in iter(lambda: content.read(2**16), b""))
            if not any(itertools.islice(ends, piece // 2**16)):
                raise ValueError(f"a line is longer than {piece // 2**20} MiB (at byte {start:,}): {DIALECT}")
