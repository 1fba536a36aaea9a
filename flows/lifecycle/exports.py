"""The files of a package, with the same bytes every time."""

import csv
import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from flows.artifacts import File, Frozen, Output, Warnings
from flows.lifecycle.folders import stored_zip
from flows.lifecycle.maps import DRIVERS, write_features
from flows.lifecycle.quoting import identifier, literal
from flows.lifecycle.tables import Table, database, is_geometry
from flows.recipe import Export, ExportFormat, Exports

DICTIONARY = ("table", "column", "type", "rows", "nulls", "distinct", "min", "max", "example")
_LONGEST = 80
SHEET_ROWS, SHEET_COLUMNS, CELL_CHARACTERS = 2**20, 2**14, 2**15 - 1
CELLS = re.compile(r"(U?(TINY|SMALL|BIG)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN|VARCHAR)$")
"""The types that a sheet has cells for."""
FLOAT_DIGITS = 15
ROWS_AT_ONCE = 2**13
FILES_AT_ONCE = 4
LARGEST_EXACT = 2**53
"""Sheets hold numbers as floats: integers beyond stand there as text."""


class PackagedFile(Frozen):
    """One file of a package."""

    name: str
    """Its path within the package."""
    format: str
    file: File
    rows: int | None = None
    warnings: Warnings = None


class Package(Output):
    """The product files of one version."""

    files: tuple[PackagedFile, ...]

    @property
    def warned(self) -> tuple[str, ...]:
        """The warnings of each file."""
        return tuple(f"{file.name}: {warning}" for file in self.files for warning in file.warnings or ())


def export_names(exports: Exports, tables: Mapping[str, Table]) -> dict[str, tuple[Export, ...]]:
    """The exports that go into each file, by its path within the package.

    A recipe without exports exports every table as CSV.
    """
    wanted = exports.datasets or tuple(
        Export.model_construct(name=name, format=ExportFormat.CSV) for name in sorted(tables)
    )
    folder = f"{exports.output_folder}/" if exports.output_folder else ""
    files: dict[str, tuple[Export, ...]] = {}
    for export in wanted:
        name = folder + export.file_name
        files[name] = (*files.get(name, ()), export)
    return files


def write_export(name: str, export: Export, table: Table, scratch: Path) -> PackagedFile:
    """Write a table in the format of an export, in its own row order. As Parquet it is there already.

    Raises:
        ValueError: if the format cannot hold it.
    """
    path, kind, rows, warnings = _place(name, scratch), export.format, table.rows, list[str]()
    if kind is ExportFormat.PARQUET:
        return PackagedFile(name=name, format=kind, file=table.file, rows=table.rows)
    with database(scratch) as connection:
        if kind in DRIVERS:
            source = Path(str(table.file))
            rows, warnings = write_features(connection, source, kind, export.name, path, export.custom)
        elif kind is ExportFormat.XLSX:
            _write_workbook(connection, table, export.name, path)
        else:
            options = _csv_options(export.custom) if kind is ExportFormat.CSV else "format json, array true"
            connection.execute(
                f"copy (select {_columns_of(table, kind)} from read_parquet($table)) to $file ({options})",  # noqa: S608
                {"table": str(table.file), "file": str(path)},
            )
    return PackagedFile(name=name, format=kind, file=path, rows=rows, warnings=tuple(warnings) or None)


def _columns_of(table: Table, kind: ExportFormat) -> str:
    """The columns as a format without their types has them."""
    return ", ".join(
        f"{_as_written(identifier(column.name), column.type, kind)} as {identifier(column.name)}"
        for column in table.columns
    )


def _as_written(column: str, type_: str, kind: ExportFormat) -> str:
    """Geometry as WKT; in JSON, which has no word for them, NaN and infinity as null; in a sheet, text."""
    if is_geometry(type_):
        return f"st_astext({column})"
    if kind is ExportFormat.JSON and type_ in {"FLOAT", "DOUBLE"}:
        return f"case when isfinite({column}) then {column} end"
    if kind is ExportFormat.XLSX and not CELLS.match(type_):
        return f"{column}::varchar"
    return column


def _csv_options(custom: Mapping[str, Any]) -> str:
    header = str(custom.get("header", True)).lower() != "false"
    quoted = ", force_quote *" if custom.get("quote") == "all" else ""
    delimiter = literal(str(custom.get("delimiter") or ","))
    new_line = r", new_line '\r\n'" if custom.get("line_endings") == "crlf" else ""
    return f"format csv, header {header}, delimiter {delimiter}{quoted}{new_line}"


def _write_workbook(connection: duckdb.DuckDBPyConnection, table: Table, name: str, path: Path) -> None:
    import xlsxwriter

    if table.rows >= SHEET_ROWS:
        raise ValueError(f"table {name} has {table.rows:,} rows, and a sheet has {SHEET_ROWS:,}")
    if len(table.columns) > SHEET_COLUMNS:
        raise ValueError(
            f"table {name} has {len(table.columns):,} columns, and a sheet has {SHEET_COLUMNS:,}"
        )
    deflated = path.with_name(f"{path.name}.deflated")
    book = xlsxwriter.Workbook(deflated, {"constant_memory": True, "strings_to_urls": False})
    book.set_properties({"created": datetime(1980, 1, 1, tzinfo=UTC).replace(tzinfo=None)})
    sheet = book.add_worksheet(name[:31])
    for number, column in enumerate(table.columns):
        sheet.write_string(0, number, column.name)
    columns = _columns_of(table, ExportFormat.XLSX)
    rows = connection.execute(f"select {columns} from read_parquet(?)", [str(table.file)])  # noqa: S608
    at = 0
    while batch := rows.fetchmany(ROWS_AT_ONCE):
        for row in batch:
            at += 1
            for number, value in enumerate(row):
                _write_cell(sheet, at, number, value)
    book.close()
    with zipfile.ZipFile(deflated) as archive:
        parts = path.with_name(f"{path.name}.parts")
        archive.extractall(parts)
        stored_zip(path, [(part, parts / part) for part in archive.namelist()])
    shutil.rmtree(parts)
    deflated.unlink()


def _write_cell(sheet: Any, row: int, column: int, value: object) -> None:
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() if abs(value) < LARGEST_EXACT:
            sheet.write_number(row, column, value)
        case Decimal() if len(value.as_tuple().digits) <= FLOAT_DIGITS:
            sheet.write_number(row, column, float(value))
        case _ if len(str(value)) > CELL_CHARACTERS:
            raise ValueError(
                f"row {row:,}, column {column + 1} has {len(str(value)):,} characters, and a cell of a sheet "
                f"{CELL_CHARACTERS:,}"
            )
        case _:
            sheet.write_string(row, column, str(value))


def write_text(name: str, kind: str, lines: Iterable[str], scratch: Path) -> PackagedFile:
    """Write lines of text as one file."""
    path = _place(name, scratch)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return PackagedFile(name=name, format=kind, file=path)


def zipped(name: str, exported: Iterable[PackagedFile], scratch: Path) -> PackagedFile:
    """All exported files in one archive."""
    entries = [
        (PurePosixPath(export.name).name, Path(str(export.file)))
        for export in sorted(exported, key=lambda export: export.name)
    ]
    return PackagedFile(name=name, format="zip", file=stored_zip(_place(name, scratch), entries))


def with_checksums(files: Iterable[PackagedFile], scratch: Path) -> Package:
    """The files in the order of their names, and `SHA256SUMS` of them."""
    listed = sorted(files, key=lambda file: file.name)
    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        digests = threads.map(_sha256, [Path(str(file.file)) for file in listed])
        sums = [f"{digest}  {file.name}" for digest, file in zip(digests, listed, strict=True)]
    return Package(files=(*listed, write_text("SHA256SUMS", "txt", sums, scratch)))


def dictionary(
    title: str, sources: Mapping[str, str], tables: Mapping[str, Table], scratch: Path
) -> tuple[PackagedFile, PackagedFile]:
    """What each column holds, as `data_dictionary.csv` and `data_dictionary.md`."""
    rows = [row for name in sorted(tables) for row in _described(name, tables[name], scratch)]
    path = _place("data_dictionary.csv", scratch)
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, lineterminator="\n").writerows([DICTIONARY, *rows])
    readable = [f"# {title}", "", *_markdown(DICTIONARY, rows)]
    if sources:
        readable += ["", "## Sources", "", *_markdown(("input", "version"), sorted(sources.items()))]
    return (
        PackagedFile(name="data_dictionary.csv", format="csv", file=path, rows=len(rows)),
        write_text("data_dictionary.md", "md", readable, scratch),
    )


def _described(name: str, table: Table, scratch: Path) -> list[tuple[str, ...]]:
    with database(scratch, threads=os.cpu_count() or 1) as connection:
        return [
            (name, column.name, column.type, *_summary(connection, table, column.name))
            for column in table.columns
        ]


def _summary(connection: duckdb.DuckDBPyConnection, table: Table, column: str) -> tuple[str, ...]:
    """Rows, nulls, distinct values, least, greatest and first value of one column."""
    file, quoted = str(table.file), identifier(column)
    grouped = f"select {quoted} as value, count(*) as times from read_parquet(?) where {quoted} is not null group by 1"  # noqa: S608, E501
    least = connection.execute(
        f"select coalesce(sum(times), 0)::bigint, count(*), min(value)::varchar, max(value)::varchar from ({grouped})",  # noqa: S608, E501
        [file],
    ).fetchall()[0]
    first = connection.execute(
        f"select {quoted}::varchar from read_parquet(?) where {quoted} is not null limit 1",  # noqa: S608
        [file],
    ).fetchall()
    filled, distinct, low, high = least
    example = first[0][0] if first else None
    return (
        *(str(count) for count in (table.rows, table.rows - filled, distinct)),
        *(_short(value) for value in (low, high, example)),
    )


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    titles = tuple(header)
    return [
        _markdown_row(titles),
        _markdown_row("---" for _ in titles),
        *(_markdown_row(row) for row in rows),
    ]


def _markdown_row(cells: Iterable[str]) -> str:
    shown = (" ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"


def _place(name: str, scratch: Path) -> Path:
    path = scratch / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
