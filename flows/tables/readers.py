"""Files of many formats as Parquet. Text stays text: an id `00042` keeps its zeros."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.csv_reader import csv_to_parquet
from flows.tables.file_types import FileType
from flows.tables.geodatabase_reader import geodatabase_to_parquet
from flows.tables.geojson_reader import geojson_to_parquet
from flows.tables.json_reader import json_to_parquet
from flows.tables.parquet_reader import parquet_to_parquet
from flows.tables.shapefile_reader import shapefile_to_parquet
from flows.tables.sheets_reader import xlsx_to_parquet

Reader = Callable[[duckdb.DuckDBPyConnection, Path, Path, Mapping[str, Any]], list[str]]
"""Reads a file into a Parquet file as `custom` says; what it warns of."""

READERS: dict[FileType, Reader] = {
    FileType.PARQUET: parquet_to_parquet,
    FileType.CSV: csv_to_parquet,
    FileType.JSON: json_to_parquet,
    FileType.XLSX: xlsx_to_parquet,
    FileType.GEOJSON: geojson_to_parquet,
    FileType.SHAPEFILE: shapefile_to_parquet,
    FileType.GDB: geodatabase_to_parquet,
}
