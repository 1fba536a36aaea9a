"""Which formats can be written, and what a recipe may say of each. No code: a check counts this alone."""

from flows.recipe import ExportFormat, FileType

OPTIONS = {
    FileType.CSV: frozenset({"delimiter", "encoding", "quote"}),
    FileType.JSON: frozenset({"records"}),
    FileType.XLSX: frozenset({"sheet"}),
    FileType.GEOJSON: frozenset({"layer"}),
    FileType.SHAPEFILE: frozenset({"layer"}),
    FileType.GDB: frozenset({"layer"}),
}
"""What an input's `custom` may say of how it is read, by its file type."""
WRITABLE = (
    *(ExportFormat.CSV, ExportFormat.PARQUET, ExportFormat.JSON, ExportFormat.XLSX),
    *(ExportFormat.GEOJSON, ExportFormat.GPKG, ExportFormat.SHP),
)
"""The formats that a real build can write."""
EXPORT_OPTIONS = {ExportFormat.CSV: frozenset({"delimiter", "header", "quote"})}
"""What an export's `custom` may say of how it is written, by its format."""
