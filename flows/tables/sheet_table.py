"""The table within a sheet: where it begins and ends, its columns, and the form of each."""

import itertools
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from flows.tables.cell_names import column_letters
from flows.tables.cells import Form, texts
from flows.tables.headers import HEADER_ROW, Row, filled, find_header, find_notes, shown
from flows.tables.workbook import Area

SAMPLE_ROWS = 300
TAIL_ROWS = 40
MOST_SHOWN = 5
RANGE = "`custom: {range: …}`"
DATED = frozenset({datetime, date, time, timedelta})
Cells = Sequence[Any]
"""The cells of one row; an empty one is the empty text."""


@dataclass(frozen=True)
class Sheet:
    """The cells of a part of a sheet."""

    sheet: Any
    area: Area

    @property
    def first_column(self) -> int:
        return max(self._start, self.area.left)

    def rows(self, top: int = 0) -> Iterator[tuple[int, Cells]]:
        """Each row from `top` on, with its number from 0, and its cells from the first column on."""
        begins = max(self.area.top, top)
        ends = None if self.area.bottom is None else self.area.bottom + 1
        left = self.first_column - self._start
        right = None if self.area.right is None else max(self.area.right + 1 - self._start, 0)
        for number, cells in itertools.islice(enumerate(self.sheet.iter_rows()), begins, ends):
            yield number, cells[left:right]

    @property
    def _start(self) -> int:
        return int(self.sheet.start[1]) if self.sheet.start else 0


@dataclass
class Table:
    """A table within a sheet. Rows and columns are counted from 0, columns from the sheet's first one."""

    header_row: int
    names: Row
    """What the header calls each column; empty where it has no name."""
    last_row: int = 0
    columns: Sequence[int] = ()
    """Those that have a name or a value."""
    forms: Mapping[int, Form] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def rows(self, sheet: Sheet) -> Iterator[list[str]]:
        """The texts of each row that has any; what is left out is told."""
        empty = []
        for number, cells in sheet.rows(self.header_row + 1):
            if number > self.last_row:
                break
            row = [self.forms[at].text(cells[at]) for at in self.columns]
            if any(row):
                yield row
            else:
                empty.append(number)
        if empty:
            self.warnings.append(f"empty rows are left out: {_rows(empty)}")


def find_table(sheet: Sheet, options: Mapping[str, Any]) -> Table:
    """Find the table of a sheet.

    Raises:
        ValueError: if there is none, or it is not clear where it begins.
    """
    begins = _begins(options)
    rows = sheet.rows(begins or 0)
    sample = list(itertools.islice(rows, SAMPLE_ROWS))
    found = [texts(cells) for _, cells in sample]
    if not any(map(filled, found)):
        where = f"{options.get('range') or 'the sheet'} from row {(begins or 0) + 1} on"
        raise ValueError(f"there is nothing in {where}: look at `range`, `header_row` and `skip_rows`")
    at, skipped = _header(sample, found, options)
    table = Table(sample[at][0], found[at])
    if skipped:
        above = ", ".join(f"row {sample[one][0] + 1} ({shown(found[one])})" for one in skipped[:3])
        table.warnings.append(f"the table begins in row {table.header_row + 1}; left out above it: {above}")
    _look_at(table, itertools.chain(sample[at + 1 :], rows), sheet, options)
    return table


def _begins(options: Mapping[str, Any]) -> int | None:
    if "header_row" in options:
        return int(options["header_row"]) - 1
    return int(options["skip_rows"]) if "skip_rows" in options else None


def _header(
    sample: Sequence[tuple[int, Cells]], found: Sequence[Row], options: Mapping[str, Any]
) -> tuple[int, tuple[int, ...]]:
    begins = _begins(options)
    if begins is None:
        beginning = find_header(found, lambda at: f"row {sample[at][0] + 1}")
        return beginning.at, beginning.skipped
    at = next((at for at, row in enumerate(found) if filled(row)), None)
    if at is None or ("header_row" in options and sample[at][0] != begins):
        raise ValueError(f"row {begins + 1} is empty: mend {HEADER_ROW}, or `skip_rows`")
    return at, ()


def _look_at(
    table: Table, rows: Iterator[tuple[int, Cells]], sheet: Sheet, options: Mapping[str, Any]
) -> None:
    """Find the columns of a table, their forms, and its end."""
    forms: dict[int, Form] = defaultdict(Form)
    valued, unvalued = set[int](), set(range(len(table.names)))
    footer = int(options.get("skip_footer") or 0)
    ends: deque[int] = deque(maxlen=footer + 1)
    tail: deque[tuple[int, Cells]] = deque(maxlen=TAIL_ROWS)
    for number, cells in rows:
        tail.append((number, cells))
        if all(cell == "" for cell in cells):
            continue
        ends.append(number)
        if found := {at for at in unvalued if cells[at] != ""}:
            valued |= found
            unvalued -= found
        if not DATED.isdisjoint(map(type, cells)):
            for at, value in enumerate(cells):
                if type(value) in DATED:
                    forms[at].see(value)
    table.forms = forms
    table.last_row = ends[0] if len(ends) > footer else table.header_row
    _find_columns(table, valued, sheet, has_range="range" in options)
    if not footer:
        _find_end(table, list(tail))


def _find_columns(table: Table, valued: set[int], sheet: Sheet, *, has_range: bool) -> None:
    named = filled(table.names)
    left, right = named[0], named[-1]
    while left - 1 in valued:
        left -= 1
    while right + 1 in valued:
        right += 1
    everything = valued | set(named)
    inside = everything if has_range else {at for at in everything if left <= at <= right}
    table.columns = sorted(inside)
    if beside := sorted(everything - inside):
        letters = column_letters(sheet.first_column + beside[0])
        said = f"say {RANGE} if they are part of it"
        table.warnings.append(f"cells beside the table, from column {letters} on, are left out: {said}")


def _find_end(table: Table, tail: Sequence[tuple[int, Cells]]) -> None:
    rows = [texts(cells[at] for at in table.columns) for _, cells in tail]
    notes = find_notes(rows)
    if notes is not None:
        numbers = [(number, row) for (number, _), row in zip(tail, rows, strict=True)][notes:]
        listed = ", ".join(f"row {number + 1} ({shown(row)})" for number, row in numbers[:3] if filled(row))
        table.warnings.append(f"left out below the table: {listed}")
        table.last_row = max(
            (tail[at][0] for at in range(notes) if filled(rows[at])), default=table.header_row
        )
        return
    held = [row for row in rows if filled(row)]
    lonely = [row for row in held if filled(row) == [0]]
    if len(table.columns) > 2 and len(held) > 2 and lonely == held[-1:]:
        said = f"has a value in its first column alone ({shown(lonely[0])})"
        hint = f"if that is no row, say {RANGE} or `skip_footer: 1`"
        table.warnings.append(f"row {table.last_row + 1}, the last, {said}: {hint}")


def _rows(numbers: Sequence[int]) -> str:
    listed = ", ".join(str(number + 1) for number in numbers[:MOST_SHOWN])
    more = f" and {len(numbers) - MOST_SHOWN} more" if len(numbers) > MOST_SHOWN else ""
    return f"{'row' if len(numbers) == 1 else 'rows'} {listed}{more}"
