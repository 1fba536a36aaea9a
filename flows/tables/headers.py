"""Where a table begins among rows that may begin with a title, and end with notes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Row = Sequence[str]
"""The texts of its cells; an empty one is none."""

MOST_TITLE_ROWS = 40
LONGEST_SHOWN = 60
NUMBER = re.compile(r"[-+$€£]?[-\d.,:/ ]*\d[-\d.,:/ T]*%?")
YEAR = re.compile(r"(19|20|21)\d\d")
HEADER_ROW = "`custom: {header_row: …}`"


@dataclass(frozen=True)
class Beginning:
    """Where a table's header stands."""

    at: int
    """Index of its row."""
    skipped: tuple[int, ...] = ()
    """Indexes of rows above it that are no part of the table."""


def filled(row: Row) -> list[int]:
    """The indexes of its cells that hold something."""
    return [at for at, cell in enumerate(row) if cell.strip()]


def find_header(rows: Sequence[Row], place: Callable[[int], str]) -> Beginning:
    """Find the row that names the columns: the first one, unless a title clearly stands above another.

    Args:
        rows: the first of the table's rows.
        place: what people call the row of an index, as `row 4`.

    Raises:
        ValueError: if all of them are empty, or it is not clear which one it is.
    """
    first = next((at for at, row in enumerate(rows) if filled(row)), None)
    if first is None:
        raise ValueError("it is empty")
    if _is_complete(rows, first):
        return Beginning(first)
    if (found := _below_titles(rows, first)) is not None:
        if _is_clear(rows, first, found):
            return Beginning(found, tuple(at for at in range(first, found) if filled(rows[at])))
        raise ValueError(
            f"{place(first)} names {len(filled(rows[first]))} of {len(filled(rows[found]))} columns, and "
            f"{place(found)} may be the header: say {HEADER_ROW}, the number of its row"
        )
    width = max(len(filled(row)) for row in rows[first:])
    if len(filled(rows[first])) == 1 and width > 2:
        raise ValueError(
            f"{place(first)} holds {shown(rows[first])} alone, and rows below have {width} columns: "
            f"say {HEADER_ROW}, the number of the row that names them"
        )
    return Beginning(first)


def _is_complete(rows: Sequence[Row], at: int) -> bool:
    """Whether a row names a block of columns to which no column on its sides belongs."""
    named = filled(rows[at])
    low, high = named[0], named[-1]
    if len(named) != high - low + 1:
        return False
    below = {column for row in rows[at + 1 :] for column in filled(row)}
    if len(named) == 1:
        return below <= {low}
    return not below & {low - 1, high + 1}


def _below_titles(rows: Sequence[Row], first: int) -> int | None:
    """The row that may be the header, where the first one is not it."""
    for at in range(first + 1, min(first + MOST_TITLE_ROWS, len(rows) - 1)):
        names = filled(rows[at])
        if len(names) < 2 or not _is_complete(rows, at) or not _are_names(rows[at]):
            continue
        most = max(len(filled(row)) for row in rows[first:at])
        is_title = most == 1 and _is_left(rows[first], rows[at]) and _are_distinct(rows[at])
        apart = not filled(rows[at - 1])
        return at if is_title or apart or len(names) - most > 1 else None
    return None


def _is_left(row: Row, header: Row) -> bool:
    return filled(row)[0] <= filled(header)[0]


def _are_names(row: Row) -> bool:
    """Whether its cells are such as name columns: texts, and years."""
    return not any(NUMBER.fullmatch(cell.strip()) and not YEAR.fullmatch(cell.strip()) for cell in row)


def _are_distinct(row: Row) -> bool:
    names = [cell.strip().lower() for cell in row if cell.strip()]
    return len(set(names)) == len(names)


def _is_clear(rows: Sequence[Row], first: int, found: int) -> bool:
    """Whether what stands above a header can only be a title."""
    above = rows[first:found]
    blank = not filled(rows[found - 1])
    if any(len(filled(row)) > 1 for row in above):
        return blank
    return blank or (_is_left(rows[first], rows[found]) and _differs(rows, found))


def _differs(rows: Sequence[Row], at: int) -> bool:
    """Whether a column has numbers alone below a row that has a text in it: then it may name them."""
    for column in filled(rows[at]):
        below = [row[column].strip() for row in rows[at + 1 :] if len(row) > column and row[column].strip()]
        if below and all(map(NUMBER.fullmatch, below)):
            return True
    return False


def find_notes(rows: Sequence[Row]) -> int | None:
    """The index of the first of the notes that end a table, if it clearly ends with some.

    They stand below an empty row, each in its first cell alone.

    Args:
        rows: the last of the table's rows.
    """
    last = max((at for at, row in enumerate(rows) if filled(row)), default=-1)
    notes = None
    for at in range(last, -1, -1):
        cells = filled(rows[at])
        if not cells:
            notes = at + 1
        elif cells != [0]:
            return notes
    return None


def shown(row: Row) -> str:
    """What a row holds, for people."""
    text = "; ".join(cell.strip() for cell in row if cell.strip())
    return repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…")
