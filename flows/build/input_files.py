"""How the files of inputs are called in a catalog."""

from flows.build.unpacking import PACKINGS
from flows.tables.file_types import FileType

EXTENSIONS = {
    FileType.PARQUET: "parquet",
    FileType.CSV: "csv",
    FileType.JSON: "json",
    FileType.GEOJSON: "geojson",
    FileType.XLSX: "xlsx",
    FileType.SHAPEFILE: "shp.zip",
    FileType.GDB: "gdb.zip",
    FileType.PG_DUMP: "sql",
    FileType.OTHER: "zip",
}
PREFERRED = (
    FileType.PARQUET,
    FileType.CSV,
    FileType.JSON,
    FileType.GEOJSON,
    FileType.XLSX,
    FileType.SHAPEFILE,
)
"""Where a recipe gives no file type, the first of these that the catalog has."""
READABLE = (
    *(FileType.CSV, FileType.PARQUET, FileType.JSON, FileType.XLSX),
    *(FileType.GEOJSON, FileType.SHAPEFILE, FileType.GDB),
)
"""The file types that a real build can read."""
PACKABLE = (FileType.CSV, FileType.PARQUET, FileType.JSON, FileType.XLSX, FileType.GEOJSON)
"""Those that may be packed, each file by itself."""


def file_names(dataset: str, file_type: FileType) -> list[tuple[str, str]]:
    """The names that the file of a dataset may have, and how each is packed."""
    name = f"{dataset}.{EXTENSIONS[file_type]}"
    packings = PACKINGS if file_type in PACKABLE else ("",)
    return [(name + packing, packing) for packing in packings]
