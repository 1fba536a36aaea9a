"""What pandas, and departments that use it, call the options of a reader."""

from collections.abc import Mapping
from typing import Any

from flows.tables.file_types import FileType

OTHER_WORDS = {
    FileType.CSV: {
        "sep": "delimiter",
        "quotechar": "quote",
        "escapechar": "escape",
        "skiprows": "skip_rows",
        "skipfooter": "skip_footer",
    },
    FileType.XLSX: {"sheet_name": "sheet", "skiprows": "skip_rows", "skipfooter": "skip_footer"},
}
"""Our own word for each, by file type."""


def in_our_words(file_type: FileType, custom: Mapping[str, Any]) -> dict[str, Any]:
    """What `custom` says, where it says anything, in our own words."""
    ours = OTHER_WORDS.get(file_type, {})
    return {ours.get(name, name): value for name, value in custom.items() if value is not None}
