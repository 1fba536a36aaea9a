"""The file types that are read, and the formats that are written."""

from enum import StrEnum


class FileType(StrEnum):
    """What an input is in its catalog."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    GEOJSON = "geojson"
    XLSX = "xlsx"
    SHAPEFILE = "shapefile"
    GDB = "gdb"
    PG_DUMP = "pg_dump"
    OTHER = "Other"


class ExportFormat(StrEnum):
    """What a table is exported as."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    GEOJSON = "geojson"
    GEOPARQUET = "geoparquet"
    GPKG = "gpkg"
    XLSX = "xlsx"
    SHP = "shp"
    GDB = "gdb"
    DAT = "dat"
