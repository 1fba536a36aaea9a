"""CSV that is not plain, field by field: written anew, with its header first and LF at each end."""

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.tables.complaints import DIALECT, MARKS
from flows.tables.csv_dialect import PIECE_BYTES, TAIL_ROWS, Dialect, Record, fits
from flows.tables.headers import filled, shown

RETURN = "\U0010fffd"
"""Stands for a carriage return that ends no line, while fields are told apart."""
LONE_RETURN = re.compile("\r(?!\n)")
LONGEST_SHOWN = 80
ESCAPE = r"`custom: {escape: \}`"


@dataclass(frozen=True)
class Table:
    """A table that was written anew, as plain CSV."""

    file: Path
    names: tuple[str, ...]
    """Its columns, as the header names them."""
    rows: int
    warnings: tuple[str, ...]


@dataclass
class _Reading:
    """One way through a file, and what is met on it."""

    text: Path
    dialect: Dialect
    footer: int
    returns_end_lines: bool
    met: dict[str, str] = field(default_factory=dict)
    """A warning of each kind."""
    begun: str = ""
    """The line that was read last."""

    @property
    def header(self) -> tuple[str, ...]:
        return self.dialect.header.cells

    def records(self) -> Iterator[Record]:
        """The fields of each line from the header on.

        Raises:
            ValueError: if a quote is not closed, or the text is not UTF-8.
        """
        begins = self.dialect.header.line
        at = begins
        with self.text.open(encoding="utf-8", newline="" if self.returns_end_lines else "\n") as content:
            lines = (self._prepared(line) for line in itertools.islice(content, begins - 1, None))
            reader = self.dialect.marks.fields(lines, strict=True)
            try:
                for cells in reader:
                    yield Record(at, tuple(cell.replace(RETURN, "\r") for cell in cells))
                    at = begins + reader.line_num
            except csv.Error as error:
                said = f"has a quote that is not closed, or not doubled ({_short(self.begun)})"
                raise ValueError(f"line {at} {said}: {self._hint(self.begun, MARKS)}") from error
            except UnicodeDecodeError as error:
                number, line = _undecodable_line(self.text)
                said = f"line {number} is not UTF-8 ({_short(line)}): say `custom: {{encoding: …}}`"
                raise ValueError(said) from error

    def _prepared(self, line: str) -> str:
        self.begun = line.rstrip("\r\n")
        if not self.returns_end_lines:
            line = LONE_RETURN.sub(RETURN, line)
        if self.dialect.marks.escape == "\\" and "\\" in line:
            line = self._without_nulls(line)
        return line

    def _without_nulls(self, line: str) -> str:
        r"""The line without fields `\N`, which databases write for null."""
        delimiter = re.escape(self.dialect.marks.delimiter)
        line = re.sub(rf"(^|{delimiter})\\N(?={delimiter}|\r?\n|$)", r"\1", line)
        if found := re.search(r"(?<!\\)(?:\\\\)*\\([0abefnrtvxZN])", line):
            said = rf"\{found[1]} is read as {found[1]}, first in {_short(line.strip())!r}"
            self.met.setdefault("escape", said)
        return line

    def rows(self) -> Iterator[Record]:
        """The rows below the header, as many fields in each, without notes and empty lines at their end.

        Raises:
            ValueError: if a line does not fit the header.
        """
        if len(self.header) == 1:
            yield from self._fitting(self._above_footer())
            return
        held: list[Record] = []
        begun = False
        for record in self._above_footer():
            cells = filled(record.cells)
            if not cells or (held and cells == [0] and len(held) < TAIL_ROWS):
                held.append(record)
                continue
            yield from self._fitting([*held, record])
            held, begun = [], True
        if not begun:
            yield from self._fitting(held)
        elif notes := [record for record in held if filled(record.cells)]:
            listed = ", ".join(f"line {note.line} ({shown(note.cells)})" for note in notes[:3])
            self.met["notes"] = f"left out below the table: {listed}"
        elif any(len(record.cells) > 1 for record in held):
            self.met["empty"] = (
                f"lines without any value at the end, from line {held[0].line} on, are left out"
            )

    def _above_footer(self) -> Iterator[Record]:
        records = itertools.islice(self.records(), 1, None)
        if not self.footer:
            yield from records
            return
        last: deque[Record] = deque()
        for record in (record for record in records if record.cells):
            last.append(record)
            if len(last) > self.footer:
                yield last.popleft()

    def _fitting(self, records: Iterable[Record]) -> Iterator[Record]:
        columns = len(self.header)
        for line, cells in ((record.line, record.cells) for record in records):
            if not cells and columns > 1:
                continue
            row = cells or ("",)
            if len(row) > columns and fits(row, self.header):
                self.met["delimiter"] = "a delimiter at the end of lines is left out"
            elif len(row) != columns and not fits(row, self.header):
                raise ValueError(self._misfit(line, row))
            yield Record(line, (*row, "")[:columns])

    def _misfit(self, line: int, cells: Sequence[str]) -> str:
        text = self.dialect.marks.delimiter.join(cells)
        said = f"line {line} has {len(cells)} in place of {len(self.header)} columns ({_short(text)})"
        return f"{said}: {self._hint(text, DIALECT)}"

    def _hint(self, text: str, otherwise: str) -> str:
        escaped = "\\" in text and not self.dialect.marks.escape
        return f"say {ESCAPE}, or {otherwise}" if escaped else otherwise


class _HasValueError(Exception):
    """A column that was to be left out has a value."""

    def __init__(self, column: int) -> None:
        super().__init__(column)
        self.column = column


def rewritten(text: Path, target: Path, dialect: Dialect, options: Mapping[str, Any]) -> Table:
    """Write the table of a file as plain CSV, each field in quotes.

    Raises:
        ValueError: if a line does not fit the header; it names the line, and what to do.
    """
    footer = int(options.get("skip_footer") or 0)
    lone = _line_with_a_lone_return(text)
    by_returns = _Reading(text, dialect, footer, returns_end_lines=True)
    if lone is None:
        return _written(by_returns, target)
    by_feeds = _Reading(text, dialect, footer, returns_end_lines=False)
    try:
        table = _written(by_returns, target)
    except ValueError as error:
        try:
            table = _written(by_feeds, target)
        except ValueError:
            raise error from None
        said = f"a carriage return within a value stays there, first in line {lone} by line feeds"
        return Table(table.file, table.names, table.rows, (*table.warnings, said))
    if len(dialect.header.cells) == 1 and _may_be_read_otherwise(by_feeds, table.rows):
        raise ValueError(
            f"line {lone} has a carriage return outside quotes, which may end a line or be part of a value: "
            f"let all lines end in one way, or put the value into quotes"
        )
    return table


def _may_be_read_otherwise(by_feeds: _Reading, rows: int) -> bool:
    """Whether a file of one column has other rows if returns end no lines."""
    try:
        return sum(1 for _ in by_feeds.rows()) != rows
    except ValueError:
        return False


def _written(reading: _Reading, target: Path) -> Table:
    unnamed = frozenset(at for at, name in enumerate(reading.header) if not name.strip())
    left_out = unnamed if len(unnamed) < len(reading.header) else frozenset()
    while True:
        try:
            rows = _write(reading, target, left_out)
        except _HasValueError as error:
            left_out -= {error.column}
        else:
            break
    names = tuple(name for at, name in enumerate(reading.header) if at not in left_out)
    empty = [f"column {at + 1} has no name and no values, and is left out" for at in sorted(left_out)]
    return Table(target, names, rows, (*empty, *reading.met.values()))


def _write(reading: _Reading, target: Path, left_out: frozenset[int]) -> int:
    kept = [at for at in range(len(reading.header)) if at not in left_out]
    rows = 0
    with target.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow([reading.header[at] for at in kept])
        for record in reading.rows():
            for at in left_out:
                if record.cells[at]:
                    raise _HasValueError(at)
            writer.writerow([record.cells[at] for at in kept])
            rows += 1
    return rows


def _line_with_a_lone_return(text: Path) -> int | None:
    """The first line, by line feeds, with a return that is not at its end; None if only returns end lines."""
    with text.open("rb") as content:
        if not any(b"\n" in piece for piece in iter(lambda: content.read(PIECE_BYTES), b"")):
            return None
        content.seek(0)
        for number, line in enumerate(content, 1):
            if b"\r" in line.removesuffix(b"\r\n"):
                return number
    return None


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _undecodable_line(text: Path) -> tuple[int, str]:
    """The first line that is not UTF-8, by line feeds, and its number."""
    with text.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number, line.decode("utf-8", "replace").replace("\ufffd", "?").strip()
    return 1, ""
