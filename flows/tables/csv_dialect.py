"""How a CSV file is written: what tells its fields apart, where its header stands, how its lines end."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.tables.headers import HEADER_ROW, filled, find_header, find_notes, shown

DELIMITERS = ",\t;|"
SAMPLE_BYTES = 2**18
TAIL_BYTES = 2**16
TAIL_ROWS = 40
LEAST_SHARE = 0.5
"""Below a title, so many rows fit the header at the least, or it is none."""
PIECE_BYTES = 2**20
LONGEST_FIELD = 2**25
SEPARATOR = re.compile(r'"?sep=(?P<delimiter>[^\r\n"])"?[,;\t]*', re.IGNORECASE)
csv.field_size_limit(LONGEST_FIELD)


@dataclass(frozen=True)
class Marks:
    """The characters that make fields of lines."""

    delimiter: str
    quote: str = '"'
    escape: str | None = None

    def fields(self, lines: Iterable[str], *, strict: bool) -> Any:
        """A reader of the fields of lines; strict, it takes no quote that is neither closed nor doubled."""
        return csv.reader(
            lines, delimiter=self.delimiter, quotechar=self.quote, escapechar=self.escape, strict=strict
        )


@dataclass(frozen=True)
class Record:
    """The fields of one line, or of several where a field runs over their ends."""

    line: int
    """The number of its first line."""
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """How a file is to be read."""

    marks: Marks
    header: Record
    plain: bool
    """Whether its table begins in its first line, goes to its end, and has as many fields in each line."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Attempt:
    """What becomes of a file if a delimiter tells its fields apart."""

    marks: Marks
    records: Sequence[Record]
    header: Record
    skipped: Sequence[Record]
    problem: ValueError | None

    @property
    def columns(self) -> int:
        if self.problem:
            return Counter(len(record.cells) for record in self.records).most_common(1)[0][0]
        return len(self.header.cells)

    @property
    def rows(self) -> list[Record]:
        return [record for record in self.records if record.cells and record.line > self.header.line]

    @property
    def share(self) -> float:
        """How many of its rows have a field for each column."""
        fitting = sum(fits(record.cells, self.header.cells) for record in self.rows)
        return fitting / len(self.rows) if self.rows else 1.0

    @property
    def rank(self) -> tuple[bool, bool, bool, bool, bool, float, int]:
        if self.columns == 1 or (self.skipped and self.share < LEAST_SHARE):
            told_apart = bool(self.rows) and all(len(record.cells) > 1 for record in self.rows)
            return (False, False, False, False, False, float(told_apart), 1)
        fair = self.problem is None, self.share == 1, not self.skipped
        spaced = any(cell.startswith(" ") for cell in self.header.cells[1:])
        return (True, *fair, not spaced, self.share, self.columns)


def fits(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a row has a field for each column; a delimiter at the end of either makes no difference."""
    more = len(cells) - len(header)
    return more == 0 or (more == 1 and not cells[-1]) or (more == -1 and not header[-1].strip())


def find_dialect(text: Path, options: Mapping[str, Any]) -> Dialect:
    """Find out how a file in UTF-8 is written, as far as the options do not say it.

    Raises:
        ValueError: if it is not clear which line is its header.
    """
    sample, whole = _sample(text)
    first = sample[0].strip() if sample else ""
    separator = SEPARATOR.fullmatch(first)
    quote, escape = str(options.get("quote") or '"'), options.get("escape")
    given = options.get("delimiter") or (separator["delimiter"] if separator else None)
    begins = first_line(options) or (2 if separator else 1)
    attempts = [
        _attempt(sample, whole, Marks(delimiter, quote, escape and str(escape)), begins, options)
        for delimiter in ([str(given)] if given else DELIMITERS)
    ]
    best = max(attempts, key=lambda attempt: attempt.rank)
    if best.problem:
        raise best.problem
    warnings = [f"line 1 ({first}) says what tells fields apart, and is left out"] if separator else []
    if best.skipped:
        above = ", ".join(f"line {record.line} ({shown(record.cells)})" for record in best.skipped[:3])
        warnings.append(f"the table begins in line {best.header.line}; left out above it: {above}")
    warnings += _others(best, attempts)
    tail = list(_tail(text, best)) if best.columns > 1 else []
    if not _ends_with_notes(tail) and "skip_footer" not in options:
        warnings += _lonely_end(tail, best.columns)
    return Dialect(
        best.marks, best.header, _is_plain(text, best, tail, options), tuple(dict.fromkeys(warnings))
    )


def first_line(options: Mapping[str, Any]) -> int | None:
    """The number of the first line that counts, where the options say it."""
    if "header_row" in options:
        return int(options["header_row"])
    return int(options["skip_rows"]) + 1 if "skip_rows" in options else None


def _sample(text: Path) -> tuple[list[str], bool]:
    """The first lines of a file, and whether they are all of it."""
    with text.open("rb") as content:
        begun = content.read(SAMPLE_BYTES)
        whole = not content.read(1)
    lines = io.StringIO(begun.decode("utf-8", "replace"), newline="").readlines()
    return (lines if whole or len(lines) < 2 else lines[:-1]), whole


def _attempt(
    sample: Sequence[str], whole: bool, marks: Marks, begins: int, options: Mapping[str, Any]
) -> _Attempt:
    records = list(_records(sample, marks, begins))
    records = records if whole or len(records) < 3 else records[:-1]
    rows = [record.cells for record in records]
    problem, at, skipped = None, 0, tuple[int, ...]()
    if first_line(options) is None:
        try:
            found = find_header(rows, lambda at: f"line {records[at].line}")
            at, skipped = found.at, found.skipped
        except ValueError as error:
            problem = error
    else:
        at = next((at for at, row in enumerate(rows) if filled(row)), len(rows))
    if at == len(rows):
        if begins == 1:
            raise ValueError("it is empty")
        raise ValueError(f"it has nothing in line {begins} or below: mend {HEADER_ROW} or `skip_rows`")
    return _Attempt(marks, records, records[at], [records[at] for at in skipped], problem)


def _records(lines: Sequence[str], marks: Marks, begins: int) -> Iterator[Record]:
    reader, at = marks.fields(lines[begins - 1 :], strict=False), begins
    try:
        for cells in reader:
            yield Record(at, tuple(cells))
            at = begins + reader.line_num
    except csv.Error:
        return


def _others(best: _Attempt, attempts: Sequence[_Attempt]) -> Iterator[str]:
    """A warning where another delimiter would give a table too."""
    for other in attempts:
        if other is not best and other.rank[:4] == best.rank[:4] == (True, True, True, True):
            yield (
                f"{best.marks.delimiter!r} was taken for what tells fields apart ({best.columns} columns); "
                f"{other.marks.delimiter!r} would give {other.columns}: say `custom: {{delimiter: …}}`"
            )


def _tail(text: Path, best: _Attempt) -> Iterator[tuple[str, ...]]:
    """The last rows of a file, each line by itself."""
    size = text.stat().st_size
    with text.open("rb") as content:
        content.seek(max(0, size - TAIL_BYTES))
        ended = content.read().decode("utf-8", "replace").splitlines()
    lines = ended[1:] if size > TAIL_BYTES else ended[best.header.line :]
    for line in lines[-TAIL_ROWS:]:
        yield tuple(next(best.marks.fields([line], strict=False), ()))


def _ends_with_notes(tail: Sequence[Sequence[str]]) -> bool:
    return find_notes(tail) is not None or bool(tail and tail[-1] and not filled(tail[-1]))


def _lonely_end(tail: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """A warning where the last row alone has nothing but its first field."""
    rows = [row for row in tail if row]
    lonely = [row for row in rows if filled(row) == [0]]
    if columns > 2 and len(rows) > 2 and lonely == rows[-1:]:
        said = "if that is no row, say `custom: {skip_footer: 1}`"
        yield f"the last row has a value in its first column alone ({shown(rows[-1])}): {said}"


def _is_plain(text: Path, best: _Attempt, tail: Sequence[Sequence[str]], options: Mapping[str, Any]) -> bool:
    header = best.header
    empty = [at for at, name in enumerate(header.cells) if not name.strip()]
    return (
        header.line == 1
        and best.marks.escape in (None, best.marks.quote)
        and not options.get("skip_footer")
        and not _ends_with_notes(tail)
        and all(
            len(record.cells) == len(header.cells) for record in best.rows if fits(record.cells, header.cells)
        )
        and all(any(len(row.cells) > at and row.cells[at] for row in best.rows) for at in empty)
        and has_one_line_end(text, best.marks.quote)
    )


def has_one_line_end(text: Path, quote: str) -> bool:
    """Whether all lines end in one way, be it LF, CR LF or CR; what stands within quotes does not count."""
    kinds: set[str] = set()
    within = False
    with text.open("rb") as content:
        if not any(b"\r" in piece for piece in iter(lambda: content.read(PIECE_BYTES), b"")):
            return True
        content.seek(0)
        while piece := content.read(PIECE_BYTES):
            if piece.endswith(b"\r"):
                piece += content.read(1)
            for number, part in enumerate(piece.split(quote.encode())):
                within = within if number == 0 else not within
                if not within:
                    kinds |= _line_ends(part)
    return len(kinds) < 2


def _line_ends(part: bytes) -> set[str]:
    feeds, returns = part.count(b"\n"), part.count(b"\r")
    both = part.count(b"\r\n") if returns else 0
    counts = {"lf": feeds - both, "cr": returns - both, "crlf": both}
    return {kind for kind, count in counts.items() if count}
