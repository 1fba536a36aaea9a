"""Which cells of a workbook are meant: the sheet, and the part of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.tables.cell_names import column_number
from flows.tables.file_types import FileType
from flows.tables.other_words import in_our_words
from flows.tables.sheet_parts import sheet_sizes

SIZE_WITH_CELLS = 2**13
"""A sheet whose part of the file is larger has cells."""
CELLS = re.compile(
    r"(?:'?(?P<sheet>.+?)'?!)?\$?(?P<left>[A-Za-z]{1,3})\$?(?P<top>\d*)"
    r"(?P<to>:\$?(?P<right>[A-Za-z]{1,3})\$?(?P<bottom>\d*))?"
)
SHEET = "`custom: {sheet: …}`"


@dataclass(frozen=True)
class Area:
    """Some cells of a sheet, both ends included and counted from 0; None is its end."""

    top: int = 0
    bottom: int | None = None
    left: int = 0
    right: int | None = None

    def holds(self, row: int, column: int) -> bool:
        """Whether a cell is one of them."""
        return self.top <= row <= (row if self.bottom is None else self.bottom) and self.left <= column <= (
            column if self.right is None else self.right
        )


def area_of(options: Mapping[str, Any]) -> Area:
    """The part of a sheet that `range` names; all of it where it names none."""
    found = CELLS.fullmatch(str(options.get("range") or "A1"))
    if found is None:
        raise ValueError(f"{options['range']} is no range of cells: say it as A4:F120")
    top, left = int(found["top"] or 1) - 1, column_number(found["left"])
    if not found["to"]:
        return Area(top=top, left=left)
    bottom = int(found["bottom"]) - 1 if found["bottom"] else None
    right = column_number(found["right"])
    if bottom is not None:
        top, bottom = min(top, bottom), max(top, bottom)
    return Area(top=top, bottom=bottom, left=min(left, right), right=max(left, right))


def opened(source: Path) -> Any:
    """A workbook.

    Raises:
        ValueError: if it is none.
    """
    import python_calamine

    try:
        return python_calamine.CalamineWorkbook.from_path(str(source))
    except python_calamine.PasswordError as error:
        raise ValueError("it is protected by a password: save it without") from error
    except python_calamine.CalamineError as error:
        raise ValueError(f"it is no workbook ({error})") from error


def choose_sheet(book: Any, source: Path, custom: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The name of the sheet that is meant, and what people are told of the choice.

    Without one that is named it is the first that is visible, no chart, and not empty.

    Raises:
        ValueError: if there is no such sheet.
    """
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    sheets = [about for about in book.sheets_metadata if about.typ == SheetTypeEnum.WorkSheet]
    prefix = CELLS.fullmatch(str(custom.get("range") or ""))
    wanted = in_our_words(FileType.XLSX, custom).get("sheet", prefix and prefix["sheet"])
    if wanted is not None:
        numbered = isinstance(custom.get("sheet_name"), int)
        return _named([about.name for about in sheets], wanted, numbered=numbered), []
    visible = [about for about in sheets if about.visible == SheetVisibleEnum.Visible]
    sizes = sheet_sizes(source)
    names = [about.name for about in visible or sheets if _has_cells(book, about.name, sizes)]
    if not names:
        raise ValueError("none of its sheets has a cell")
    told = [] if visible else [f"sheet {names[0]} was taken, although it is hidden"]
    if len(names) > 1:
        told.append(f"sheet {names[0]} was taken, the first of {', '.join(names)}: say {SHEET}")
    return names[0], told


def _has_cells(book: Any, name: str, sizes: Mapping[str, int]) -> bool:
    return sizes.get(name, 0) > SIZE_WITH_CELLS or bool(book.get_sheet_by_name(name).height)


def _named(names: Sequence[str], wanted: Any, *, numbered: bool) -> str:
    """The sheet of a name; where pandas' word says a number, the one of that number, from 0."""
    if str(wanted) in names:
        return str(wanted)
    if numbered and 0 <= wanted < len(names):
        return names[int(wanted)]
    close = [name for name in names if name.strip().lower() == str(wanted).strip().lower()]
    meant = f"; {close[0]!r} may be meant" if close else ""
    raise ValueError(f"there is no sheet {wanted}; there are {', '.join(names)}{meant}")
