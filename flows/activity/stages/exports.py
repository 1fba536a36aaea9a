"""Exports: tables as CSV files, in UTF-8, with a header, line feeds, and quotes where they are needed."""

from pathlib import Path

from flows.tables.export import Export
from flows.tables.exports import write_export
from flows.tables.file_types import ExportFormat
from flows.tables.table import Table
from larder.artifacts import File, Output


class CsvFile(Output):
    """One table as CSV."""

    file: File
    rows: int


def users(users: Table, scratch: Path) -> CsvFile:
    """The users."""
    return _csv("users", users, scratch)


def posts_enriched(enriched: Table, scratch: Path) -> CsvFile:
    """The posts with their authors."""
    return _csv("posts_enriched", enriched, scratch)


def user_stats(activity: Table, scratch: Path) -> CsvFile:
    """What each user wrote, in numbers."""
    return _csv("user_stats", activity, scratch)


def top_authors(authors: Table, scratch: Path) -> CsvFile:
    """The authors with most posts."""
    return _csv("top_authors", authors, scratch)


def summary(summary: Table, scratch: Path) -> CsvFile:
    """The numbers of all users and posts."""
    return _csv("summary", summary, scratch)


def _csv(name: str, table: Table, scratch: Path) -> CsvFile:
    export = Export(name=name, format=ExportFormat.CSV)
    written = write_export(export.file_name, export, table, scratch)
    return CsvFile(file=written.file, rows=table.rows)
