"""Columns: the types that the files of a job have in common."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from flows.medallion.stages.layer import FileColumn, FileColumns, TableColumn, TableColumns
from flows.medallion.stages.source import UnreadableFileError, opened, said
from flows.medallion.workflow.files import FileOptions
from flows.tables.audit import require_free
from flows.tables.column_types import DATE, INTEGER, NUMBER, TEXT, TIMESTAMP, sql_type
from flows.tables.csv_reader import CsvText
from flows.tables.inference import fitting_types
from flows.tables.table import database

WIDER = {
    "TINYINT": (INTEGER, NUMBER),
    "SMALLINT": (INTEGER, NUMBER),
    "INTEGER": (INTEGER, NUMBER),
    "UTINYINT": (INTEGER, NUMBER),
    "USMALLINT": (INTEGER, NUMBER),
    "UINTEGER": (INTEGER, NUMBER),
    "FLOAT": (NUMBER,),
    DATE: (TIMESTAMP,),
}
"""The types that hold every value of a file's own type besides itself and text."""


class NothingLandedError(Exception):
    """There is no file to begin with."""


def infer(file: Path, source_file: str, options: FileOptions, scratch: Path) -> FileColumns:
    """Find the columns of one file, and the types that hold all of their values.

    Types of CSV files and sheets are inferred with Polars; JSON and Parquet bring theirs.

    Raises:
        UnreadableFileError: where the file is not what it is said to be.
    """
    with database(scratch) as connection:
        try:
            source = opened(connection, file, source_file, options, scratch)
            if isinstance(source.text, CsvText):
                require_free(source.text.names)
                fitting = fitting_types(source.text)
            else:
                described = connection.execute(f"describe from {source.rows}").fetchall()
                require_free([name for name, *_ in described])
                fitting = {name: (type_, *WIDER.get(type_, ())) for name, type_, *_ in described}
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except (duckdb.Error, csv.Error, ValueError) as error:
            raise UnreadableFileError(source_file, said(error, file)) from error
    columns = tuple(FileColumn(name=name, types=_known(types)) for name, types in fitting.items())
    return FileColumns(source_file=source_file, columns=columns)


def _known(types: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if types is None else tuple(type_ for type_ in types if type_ != TEXT)


def unify(files: Sequence[FileColumns], declared: Mapping[str, str], place: str) -> TableColumns:
    """Give every column the declared type, else the narrowest that holds its values in all files.

    Columns come in the order in which files first name them.

    Args:
        place: where the files lie, for who has to put one there.

    Raises:
        NothingLandedError: if there is no file.
        UnreadableFileError: if a declared column is in no file.
    """
    if not files:
        raise NothingLandedError(f"No file lies at {place}: put one there.")
    found: dict[str, list[tuple[str, ...]]] = {}
    names: dict[str, str] = {}
    for file in files:
        for column in file.columns:
            name = names.setdefault(column.name.lower(), column.name)
            found.setdefault(name, [])
            if column.types is not None:
                found[name].append(column.types)
    for name in declared:
        if name.lower() not in names:
            there = f"it declares the column {name}; the files have {', '.join(found)}"
            raise UnreadableFileError("the job's configuration", there)
    given = {names[name.lower()]: sql_type(type_) for name, type_ in declared.items()}
    columns = tuple(
        TableColumn(name=name, type=given.get(name) or _common(types)) for name, types in found.items()
    )
    return TableColumns(columns=columns)


def _common(types: Sequence[tuple[str, ...]]) -> str:
    if not types:
        return TEXT
    common = [type_ for type_ in types[0] if all(type_ in others for others in types)]
    return common[0] if common else TEXT
