"""How files begin: what does not begin as its type does is not opened."""

import re
import zipfile
from pathlib import Path

from flows.tables.complaints import is_page
from flows.tables.file_types import FileType

ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
PARQUET = (b"PAR1", b"PARE")
MARK = b"\xef\xbb\xbf"
HEAD_BYTES = 2**16
ZIPPED = {FileType.SHAPEFILE: r"\.shp$", FileType.GDB: r"\.gdb/|\.gdbtable$"}
"""What has to be in a zip file of each type."""


def require_signature(file_type: FileType, source: Path) -> None:
    """Return if a file begins as files of its type do.

    Raises:
        ValueError: it does not; says what it begins with.
    """
    with source.open("rb") as content:
        head = content.read(HEAD_BYTES)
    match file_type:
        case FileType.PARQUET if not head.startswith(PARQUET):
            raise ValueError(f"it does not begin as Parquet does{_with(head)}")
        case FileType.XLSX if not head.startswith(ZIP):
            raise ValueError(f"it is no workbook: it does not begin as one does{_with(head)}")
        case FileType.GEOJSON if not head.removeprefix(MARK).lstrip().startswith(b"{") and not is_page(
            source
        ):
            raise ValueError(f"it does not begin with an object of JSON{_with(head)}")
        case FileType.SHAPEFILE | FileType.GDB:
            _require_in_zip(file_type, source, head)


def _require_in_zip(file_type: FileType, source: Path, head: bytes) -> None:
    if not head.startswith((ZIP, EMPTY_ZIP)):
        raise ValueError(f"it is no zip file{_with(head)}")
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is no whole zip file ({error})") from error
    if not any(re.search(ZIPPED[file_type], name, re.IGNORECASE) for name in names):
        wanted = "a .shp file" if file_type is FileType.SHAPEFILE else "a folder .gdb"
        listed = ", ".join(names[:5]) or "nothing"
        raise ValueError(f"its zip file holds {listed}, and {wanted} is expected")


def _with(head: bytes) -> str:
    return f" (it begins with {head[:8]!r})" if head else " (it is empty)"
