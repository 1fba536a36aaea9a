"""What a workbook's own XML says of cells that are read as empty: formulas without values, and errors."""

import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from flows.tables.cell_names import column_number

PIECE_BYTES = 2**18
OVERLAP_BYTES = 64
MARKS = (b"<f>", b"<f ", b"<f/", b":f>", b":f ", b":f/", b't="e"', b"t='e'")
"""Where one of them stands, there may be a formula or an error."""
CELL = re.compile(r"([A-Z]+)(\d+)")
Attributes = dict[str, str]


@dataclass
class OddCells:
    """Cells of a sheet, by row and column, both from 0."""

    without_value: dict[tuple[int, int], str] = field(default_factory=dict)
    """Formulas that were saved without what they come to."""
    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    """What stands there in place of a value: `#N/A`, `#REF!`."""


def sheet_sizes(source: Path) -> dict[str, int]:
    """How large the part of each sheet is, in bytes; nothing where the file is no XLSX."""
    with _archive(source) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()} if archive else {}
        return {name: sizes.get(part, 0) for name, part in _parts(archive).items()} if archive else {}


def odd_cells(source: Path, sheet: str) -> OddCells:
    """The cells of a sheet that are read as empty although something stands there."""
    found = OddCells()
    with _archive(source) as archive:
        part = _parts(archive).get(sheet) if archive else None
        if archive and part in archive.namelist() and _has_marks(archive, str(part)):
            _parse(archive, str(part), _Cells(found))
    return found


@contextmanager
def _archive(source: Path) -> Iterator[zipfile.ZipFile | None]:
    if not zipfile.is_zipfile(source):
        yield None
        return
    with zipfile.ZipFile(source) as archive:
        yield archive if "[Content_Types].xml" in archive.namelist() else None


def _parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """The part of each sheet, by its name."""
    roots = [target for kind, target in _relations(archive, "").values() if kind.endswith("/officeDocument")]
    if not roots:
        return {}
    sheets: dict[str, str] = {}
    related = _relations(archive, roots[0])

    def see(name: str, attributes: Attributes) -> None:
        link = next((value for key, value in attributes.items() if _local(key) == "id"), "")
        if _local(name) == "sheet" and link in related:
            sheets[attributes.get("name", "")] = related[link][1]

    _parse(archive, roots[0], see)
    return sheets


def _relations(archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """Kind and target of the relations of a part, by their ids."""
    folder, name = posixpath.split(part)
    file = posixpath.join(folder, "_rels", f"{name}.rels")
    found: dict[str, tuple[str, str]] = {}

    def see(name: str, attributes: Attributes) -> None:
        if _local(name) == "Relationship":
            target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", ""))).lstrip("/")
            found[attributes.get("Id", "")] = (attributes.get("Type", ""), target)

    if file in archive.namelist():
        _parse(archive, file, see)
    return found


def _has_marks(archive: zipfile.ZipFile, part: str) -> bool:
    """Whether a sheet has a formula or an error at all: to look for them cell by cell takes long."""
    with archive.open(part) as content:
        before = b""
        while piece := content.read(PIECE_BYTES):
            if any(mark in before + piece for mark in MARKS):
                return True
            before = piece[-OVERLAP_BYTES:]
    return False


class _Cells:
    """Hears of elements, and keeps the odd cells."""

    def __init__(self, found: OddCells) -> None:
        self.found = found
        self.row = self.column = -1
        self.attributes: Attributes = {}
        self.formula: str | None = None
        self.value: str | None = None
        self.hears = ""

    def __call__(self, name: str, attributes: Attributes) -> None:
        match _local(name):
            case "row":
                self.row, self.column = int(attributes.get("r", self.row + 2)) - 1, -1
            case "c":
                named = CELL.fullmatch(attributes.get("r", ""))
                self.column = column_number(named[1]) if named else self.column + 1
                self.row = int(named[2]) - 1 if named else self.row
                self.attributes, self.formula, self.value = attributes, None, None
            case "f":
                self.formula, self.hears = "", "f"
            case "v":
                self.value, self.hears = "", "v"

    def text(self, text: str) -> None:
        if self.hears == "f":
            self.formula = (self.formula or "") + text
        elif self.hears == "v":
            self.value = (self.value or "") + text

    def end(self, name: str) -> None:
        self.hears = ""
        if _local(name) != "c":
            return
        kind, at = self.attributes.get("t"), (self.row, self.column)
        if kind == "e":
            self.found.errors[at] = self.value or "an error"
        elif self.formula is not None and not self.value and not (kind == "str" and self.value == ""):
            self.found.without_value[at] = self.formula


def _parse(archive: zipfile.ZipFile, part: str, see: Callable[[str, Attributes], None]) -> None:
    parser = expat.ParserCreate()
    parser.StartElementHandler = see
    if isinstance(see, _Cells):
        parser.CharacterDataHandler, parser.EndElementHandler = see.text, see.end
    with archive.open(part) as content:
        parser.ParseFile(content)


def _local(name: str) -> str:
    return name.rpartition(":")[2]
