"""Which formats can be written, and what a recipe may say of each.

Knows no reader and no writer: a change of those does not make plan run again.
"""

import re
from dataclasses import dataclass
from typing import Any

from flows.tables.file_types import ExportFormat, FileType


@dataclass(frozen=True)
class Option:
    """What may stand behind one name in `custom`."""

    pattern: str
    valid: str
    """The same, for people."""

    def allows(self, value: Any) -> bool:
        """Whether this value may stand there; true and false as YAML writes them."""
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return not isinstance(value, dict | list) and re.fullmatch(self.pattern, text, re.DOTALL) is not None


DELIMITER = Option(r"[^\r\n\"]", "one character, no quote and no end of a line")
ANY_NAME = Option(r".+", "a name")
ENCODING = Option(r"[\w .:-]+", "the name of an encoding, as latin-1")
CRS = Option(r".+", "a coordinate reference system, as EPSG:2263")
ONE_CHARACTER = Option(r"[^\r\n]", "one character")
ROWS = Option(r"\d{1,7}", "a number of rows")
BEGINNING = {"header_row": Option(r"[1-9]\d{0,6}", "the number of a row, from 1"), "skip_rows": ROWS}
CELLS = Option(
    r"([^!]+!)?\$?[A-Za-z]{1,3}\$?\d{0,7}(:\$?[A-Za-z]{1,3}\$?\d{0,7})?", "cells of a sheet, as A4:F120 or A4"
)
LAYER = {"layer": ANY_NAME, "layer_name": ANY_NAME, "crs": CRS}
SHAPES = {
    "geom_column": ANY_NAME,
    "geometry_type": Option("points|lines|polygons", "points, lines or polygons"),
    "crs": CRS,
}
OPTIONS = {
    FileType.CSV: {
        "delimiter": DELIMITER,
        "encoding": ENCODING,
        "quote": ONE_CHARACTER,
        "escape": ONE_CHARACTER,
        "skip_footer": ROWS,
        **BEGINNING,
    },
    FileType.JSON: {"records": Option(r".+", "a path of keys, as result.records"), "encoding": ENCODING},
    FileType.XLSX: {"sheet": ANY_NAME, "range": CELLS, "skip_footer": ROWS, **BEGINNING},
    FileType.GEOJSON: {**LAYER, "encoding": ENCODING},
    FileType.SHAPEFILE: {**LAYER, "encoding": ENCODING},
    FileType.GDB: LAYER,
}
"""What an input's `custom` may say of how it is read, by its file type."""
WRITABLE = (
    *(ExportFormat.CSV, ExportFormat.PARQUET, ExportFormat.JSON, ExportFormat.XLSX),
    *(ExportFormat.GEOJSON, ExportFormat.GPKG, ExportFormat.SHP),
)
"""The formats that a real build can write."""
EXPORT_OPTIONS = {
    ExportFormat.CSV: {
        "delimiter": DELIMITER,
        "header": Option("true|false", "true or false"),
        "line_endings": Option("lf|crlf", "lf or crlf"),
        "quote": Option("all|needed", "all or needed"),
    },
    ExportFormat.SHP: SHAPES,
    ExportFormat.GEOJSON: SHAPES,
    ExportFormat.GPKG: SHAPES,
}
"""What an export's `custom` may say of how it is written, by its format."""
