"""Shapefiles in zip files as Parquet."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.dbf import DATES, NUMBERS, Header, as_text, header_of
from flows.tables.dbf_columns import typed_columns
from flows.tables.dbf_encoding import encoding_of, gdals_name
from flows.tables.features_reader import GEOMETRY, write_features
from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.quoting import identifier, literal
from flows.tables.shapefile_parts import PLACE, extract_shapefile
from flows.tables.table import NO_PATH_COLUMNS


def shapefile_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a shapefile of a zip file, in whatever folder of it, as Parquet.

    A column of numbers that no number holds with all of their digits is text, with a warning.

    Args:
        custom: `layer` or `layer_name`, else the only one; `encoding`, else UTF-8 where the text is that,
            else what its .cpg file or its table says; `crs`, else what its .prj file says.

    Raises:
        ValueError: if it is not whole, there is no such layer or there are several, or its text is not in its
            encoding.
    """
    folder = target.with_suffix(".shapefile")
    folder.mkdir()
    warnings: list[str] = []
    name = extract_shapefile(source, folder, custom, warnings)
    header, encoding = _prepared(folder, custom, warnings)
    if not (folder / f"{PLACE}.prj").is_file() and not custom.get("crs"):
        hint = "say `custom: {crs: …}`, as EPSG:2263"
        warnings.append(f"{name}.prj is missing, and its shapes have no reference system: {hint}")
    raw = folder / "raw.parquet"
    write_features(
        connection, folder / f"{PLACE}.shp", raw, PLACE, custom, warnings, ENCODING=gdals_name(encoding)
    )
    read = f"read_parquet({literal(str(raw))}, {NO_PATH_COLUMNS}, file_row_number = true)"
    names = [column for column, *_ in connection.execute(f"describe from {read}").fetchall()][:-1]
    fields = dict(zip([column for column in names if column != GEOMETRY], header.fields, strict=False))
    typed, told = typed_columns(connection, read, fields)
    columns = ", ".join(
        f"{typed.get(column) or identifier(column)} as {identifier(column)}" for column in names
    )
    copy_to_parquet(connection, f"select {columns} from {read}", target)  # noqa: S608
    shutil.rmtree(folder)
    return [*warnings, *told]


def _prepared(folder: Path, custom: Mapping[str, Any], warnings: list[str]) -> tuple[Header, str]:
    """What its table says, and the encoding of its text. GDAL takes all of its fields for text from here."""
    table, cpg = folder / f"{PLACE}.dbf", folder / f"{PLACE}.cpg"
    header = header_of(table)
    declared = cpg.read_text(encoding="latin-1") if cpg.is_file() else None
    encoding, told = encoding_of(table, header, declared, str(custom.get("encoding") or "") or None)
    as_text(table, [at for at, field in enumerate(header.fields) if field.type in NUMBERS + DATES])
    warnings += told
    return header, encoding
