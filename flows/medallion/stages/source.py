"""A file from landing as rows that SQL can read."""

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flows.medallion.workflow.files import FileOptions, file_type
from flows.tables.column_types import declared_type
from flows.tables.complaints import complaint
from flows.tables.csv_reader import CsvText, csv_text
from flows.tables.file_types import FileType
from flows.tables.json_reader import json_to_parquet
from flows.tables.sheets_reader import sheet_text
from flows.tables.table import renamed, rows_of, selected

NOT_CONVERTED = re.compile(
    r"CSV Error on Line: (?P<line>\d+).*?Error when converting column \"(?P<column>.*?)\"\."
    r" Could not convert string \"(?P<value>.*?)\" to '(?P<type>.*?)'",
    re.DOTALL,
)


class UnreadableFileError(Exception):
    """A file in landing that has to be mended.

    Args:
        source_file: what it is called.
        cause: what is wrong with it, where in it, and what is expected.
    """

    def __init__(self, source_file: str, cause: str) -> None:
        super().__init__(source_file, cause)
        self.source_file = source_file
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.source_file} cannot be read: {self.cause}."


@dataclass(frozen=True)
class Source:
    """A file that can be read."""

    rows: str
    """Its rows as they stand in SQL."""
    text: CsvText | None
    """How it is read where it is text, of which types are not known."""
    warnings: tuple[str, ...]


def opened(
    connection: duckdb.DuckDBPyConnection, file: Path, source_file: str, options: FileOptions, scratch: Path
) -> Source:
    """Find out how a file is read.

    Raises:
        ValueError, duckdb.Error, csv.Error: if it is not what it is said to be.
    """
    if file.stat().st_size == 0:
        raise ValueError("it is empty; expected is a file with a header and rows")
    kind, beside = file_type(source_file, options), scratch / "opened.parquet"
    if kind in (FileType.CSV, FileType.XLSX):
        read = csv_text if kind is FileType.CSV else sheet_text
        text = read(file, beside, options.options)
        return Source(text.rows, text, text.warnings)
    if kind is FileType.JSON:
        warnings = json_to_parquet(connection, file, beside, options.options)
        return Source(rows_of(beside), None, tuple(warnings))
    names = [row[0] for row in connection.execute(f"describe from {rows_of(file)}").fetchall()]
    rows = f"(select {selected(names)} from {rows_of(file)})"  # noqa: S608
    return Source(rows, None, tuple(renamed(names)))


def said(error: Exception, file: Path) -> str:
    """What is wrong with a file, for who has to mend it."""
    if found := NOT_CONVERTED.search(str(error)):
        expected = declared_type(found["type"])
        line, column = found["line"], found["column"]
        return f"line {line} has {found['value']!r} in column {column}, which is declared as {expected}"
    return complaint(error, file).replace("`custom: {", "`options: {")
