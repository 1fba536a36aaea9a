"""The files of a package, with the same bytes every time."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from flows.tables.export import Export, Exports
from flows.tables.file_types import ExportFormat
from flows.tables.fitted import fitted
from flows.tables.folders import stored_zip
from flows.tables.json_text import without_nan
from flows.tables.maps import DRIVERS, write_features
from flows.tables.quoting import identifier, literal
from flows.tables.sheets import CELLS, write_workbook
from flows.tables.table import Table, database, rows_of
from larder.artifacts import File, Frozen, Output, Warnings

FILES_AT_ONCE = 4


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
    path, kind, rows, warnings = place_of(name, scratch), export.format, table.rows, list[str]()
    if kind is ExportFormat.PARQUET:
        return PackagedFile(name=name, format=kind, file=table.file, rows=table.rows)
    source = Path(str(table.file))
    with database(scratch) as connection:
        if kind in DRIVERS:
            rows, warnings = write_features(connection, source, kind, export.name, path, export.custom)
        else:
            columns, warnings = _columns_of(connection.sql(f"from {rows_of(source)}"), kind)
            if kind is ExportFormat.XLSX:
                write_workbook(connection, table, columns, export.name, path)
            elif kind is ExportFormat.JSON:
                warnings += _write_json(connection, source, columns, path)
            else:
                query = f"select {columns} from {rows_of(source)}"  # noqa: S608
                options = _csv_options(export.custom)
                connection.execute(f"copy ({query}) to {literal(str(path))} ({options})")
    return PackagedFile(name=name, format=kind, file=path, rows=rows, warnings=tuple(warnings) or None)


def _write_json(connection: duckdb.DuckDBPyConnection, source: Path, columns: str, path: Path) -> list[str]:
    """Write rows as a list of records; what JSON has no word for (NaN, infinity) is null, with a warning."""
    written = path.with_name(f"{path.name}.written")
    query = f"select {columns} from {rows_of(source)}"  # noqa: S608
    connection.execute(f"copy ({query}) to {literal(str(written))} (format json, array true)")
    finite, warnings = without_nan(written, path)
    if finite == written:
        written.rename(path)
    else:
        written.unlink()
    return warnings


def _columns_of(rows: duckdb.DuckDBPyRelation, kind: ExportFormat) -> tuple[str, list[str]]:
    """The columns as a format without shapes has them, shapes as WKT, in a sheet much as text; warnings."""
    made, warnings = fitted(rows, kind)
    columns = []
    for name, type_ in zip(rows.columns, map(str, rows.types), strict=True):
        column = identifier(name)
        written = made.get(name) or f"st_astext({column})"
        if kind is ExportFormat.XLSX and written == column and not CELLS.match(type_):
            written = f"{column}::varchar"
        columns.append(f"{written} as {column}")
    return ", ".join(columns), warnings


def _csv_options(custom: Mapping[str, Any]) -> str:
    header = str(custom.get("header", True)).lower() != "false"
    quoted = ", force_quote *" if custom.get("quote") == "all" else ""
    delimiter = literal(str(custom.get("delimiter") or ","))
    new_line = r", new_line '\r\n'" if custom.get("line_endings") == "crlf" else ""
    return f"format csv, header {header}, delimiter {delimiter}{quoted}{new_line}"


def write_text(name: str, kind: str, lines: Iterable[str], scratch: Path) -> PackagedFile:
    """Write lines of text as one file."""
    path = place_of(name, scratch)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return PackagedFile(name=name, format=kind, file=path)


def zipped(name: str, exported: Iterable[PackagedFile], scratch: Path) -> PackagedFile:
    """All exported files in one archive."""
    entries = [
        (PurePosixPath(export.name).name, Path(str(export.file)))
        for export in sorted(exported, key=lambda export: export.name)
    ]
    return PackagedFile(name=name, format="zip", file=stored_zip(place_of(name, scratch), entries))


def with_checksums(files: Iterable[PackagedFile], scratch: Path) -> Package:
    """The files in the order of their names, and `SHA256SUMS` of them."""
    listed = sorted(files, key=lambda file: file.name)
    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        digests = threads.map(_sha256, [Path(str(file.file)) for file in listed])
        sums = [f"{digest}  {file.name}" for digest, file in zip(digests, listed, strict=True)]
    return Package(files=(*listed, write_text("SHA256SUMS", "txt", sums, scratch)))


def place_of(name: str, scratch: Path) -> Path:
    """Where a file of the package is written."""
    path = scratch / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
