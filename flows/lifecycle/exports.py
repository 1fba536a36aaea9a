"""The files of a package, with the same bytes every time."""

import csv
import hashlib
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.artifacts import File, Frozen, Output
from flows.lifecycle.tables import PARQUET, Table, database, identifier
from flows.recipe import Export, ExportFormat, Exports

DICTIONARY = ("table", "column", "type", "rows", "nulls", "distinct", "min", "max", "example")
_LONGEST = 80
_COPY_OPTIONS = {
    ExportFormat.CSV: "format csv, header",
    ExportFormat.PARQUET: PARQUET,
}


class PackagedFile(Frozen):
    """One file of a package."""

    name: str
    """Its path within the package."""
    format: str
    file: File
    rows: int | None = None


class Package(Output):
    """The product files of one version."""

    files: tuple[PackagedFile, ...]


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


def write_export(name: str, kind: ExportFormat, table: Table, scratch: Path) -> PackagedFile:
    """Write a table as CSV or Parquet, in its own row order."""
    path = _place(name, scratch)
    with database(scratch) as connection:
        connection.execute(
            f"copy (from read_parquet($table)) to $file ({_COPY_OPTIONS[kind]})",
            {"table": str(table.file), "file": str(path)},
        )
    return PackagedFile(name=name, format=kind, file=path, rows=table.rows)


def write_text(name: str, kind: str, lines: Iterable[str], scratch: Path) -> PackagedFile:
    """Write lines of text as one file."""
    path = _place(name, scratch)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return PackagedFile(name=name, format=kind, file=path)


def zipped(name: str, exported: Iterable[PackagedFile], scratch: Path) -> PackagedFile:
    """All exported files in one archive.

    They are stored, not deflated: what deflate writes differs between builds of zlib.
    """
    path = _place(name, scratch)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for export in sorted(exported, key=lambda export: export.name):
            source = Path(str(export.file))
            entry = zipfile.ZipInfo(source.name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            entry.file_size = source.stat().st_size
            with source.open("rb") as content, archive.open(entry, "w") as target:
                shutil.copyfileobj(content, target, 2**20)
    return PackagedFile(name=name, format="zip", file=path)


def with_checksums(files: Iterable[PackagedFile], scratch: Path) -> Package:
    """The files in the order of their names, and `SHA256SUMS` of them."""
    listed = sorted(files, key=lambda file: file.name)
    sums = [f"{_sha256(Path(str(file.file)))}  {file.name}" for file in listed]
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
    with database(scratch) as connection:
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
