"""Which types the values of text columns have: all values are looked at, a block of the file at a time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars

from flows.tables.column_types import BOOLEAN, DATE, INTEGER, NUMBER, TIMESTAMP
from flows.tables.csv_reader import CsvText

BLOCK_BYTES = 2**22
LONGEST_ROW_BYTES = 2**26
_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
PATTERNS = {
    INTEGER: r"^(|0|-?[1-9][0-9]{0,17})$",
    NUMBER: r"^(|-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?)$",
    BOOLEAN: r"^(|(?i:true|false))$",
    DATE: rf"^(|{_DAY})$",
    TIMESTAMP: rf"^(|{_DAY}([ T]{_TIME})?)$",
}
"""What all values of a column look like that may have this type, the narrowest type first.

None of them changes what is written: `007`, `1e5` and a number of more digits than a double holds stay text.
"""
_DIGITS_OF_A_NUMBER = 15
WIDER = {INTEGER: NUMBER, DATE: TIMESTAMP}
"""The one other type that values of a type may have too."""
LONGEST = {INTEGER: _DIGITS_OF_A_NUMBER, DATE: 10, NUMBER: 0, BOOLEAN: 0, TIMESTAMP: 0}
"""Up to how many characters of its values the wider type holds them."""

Fitting = Mapping[str, tuple[str, ...] | None]
"""The types that each column may have besides text; None where it has no value."""


class RepeatedHeaderError(ValueError):
    """A file whose header stands in it again, as a row."""


def fitting_types(text: CsvText) -> Fitting:
    """The types that the columns of a file may have, for all of their values.

    Where Polars cannot follow the file, its columns are text: reading it tells what is wrong with it.

    Raises:
        RepeatedHeaderError: if the header comes again.
    """
    left: dict[str, tuple[str, ...]] = dict.fromkeys(text.names, tuple(PATTERNS))
    seen: set[str] = set()
    header = _header(text.file) if len(text.given) > 1 else b""
    for number, block in enumerate(_blocks(text.file, text.quote.encode())):
        if header and _repeats(header, block if number else block[len(header) :]):
            raise RepeatedHeaderError(_repeated(text))
        wanted = [name for name, types in left.items() if types]
        if not wanted:
            continue
        rows = _rows(text, block, wanted, skip=not number)
        if rows is None:
            return dict.fromkeys(text.names, ())
        longest = rows.select(polars.col(name).str.len_bytes().max() for name in wanted).row(0, named=True)
        lengths = {name: length for name, length in longest.items() if length}
        seen |= lengths.keys()
        left |= _narrowed(rows, lengths, left)
    return {name: types if name in seen or not types else None for name, types in left.items()}


def _rows(text: CsvText, block: bytes, wanted: Sequence[str], *, skip: bool) -> polars.DataFrame | None:
    """The wanted columns of a block as text; None where Polars cannot read it."""
    empty = polars.DataFrame(schema=dict.fromkeys(wanted, polars.String))
    try:
        rows = polars.read_csv(
            block,
            has_header=False,
            columns=[text.names.index(name) for name in wanted],
            separator=text.delimiter,
            quote_char=text.quote,
            skip_rows=int(skip),
            infer_schema=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
            raise_if_empty=False,
        )
    except (polars.exceptions.PolarsError, ValueError):
        return None
    if rows.is_empty():
        return empty
    return rows.rename(dict(zip(rows.columns, wanted, strict=True))) if rows.width == len(wanted) else None


def _narrowed(
    rows: polars.DataFrame, lengths: Mapping[str, int], types: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The types that are left of each column that has values in these rows, and how long its longest is."""
    left: dict[str, tuple[str, ...]] = dict.fromkeys(lengths, ())
    untried = {name: types[name] for name in lengths}
    while untried:
        tries = (_fits(name, types_[0]).alias(name) for name, types_ in untried.items())
        fits = rows.select(tries).row(0, named=True)
        for name, (type_, *others) in list(untried.items()):
            if fits[name]:
                wider = [one for one in others if one == WIDER.get(type_)]
                left[name] = (type_, *(wider if lengths[name] <= LONGEST[type_] else ()))
            untried[name] = () if fits[name] else tuple(others)
        untried = {name: types_ for name, types_ in untried.items() if types_}
    return left


def _fits(name: str, type_: str) -> polars.Expr:
    column = polars.col(name)
    fits = column.str.contains(PATTERNS[type_])
    if type_ == NUMBER:
        fits &= column.str.strip_chars_start("-").str.len_bytes() <= _DIGITS_OF_A_NUMBER + 1
    if type_ in (DATE, TIMESTAMP):
        day = column.replace("", None).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        fits &= day.is_not_null() | (column == "")
    return fits.all()


def _blocks(file: Path, quote: bytes) -> Iterator[bytes]:
    """The file in pieces of whole rows. A line's end within quotes ends no row."""
    rest = b""
    with file.open("rb") as content:
        while piece := content.read(BLOCK_BYTES):
            rest += piece
            end = _last_row_end(rest, quote)
            if end:
                yield rest[:end]
                rest = rest[end:]
            if len(rest) > LONGEST_ROW_BYTES:
                break
    if rest:
        yield rest


def _last_row_end(content: bytes, quote: bytes) -> int:
    at = content.rfind(b"\n")
    quotes = content.count(quote, 0, at) if at >= 0 else 0
    while at >= 0 and quotes % 2:
        before = content.rfind(b"\n", 0, at)
        quotes -= content.count(quote, max(before, 0), at)
        at = before
    return at + 1


def _header(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.readline().removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")


def _repeats(header: bytes, block: bytes) -> bool:
    return any(line in b"\n" + block for line in (b"\n" + header + b"\n", b"\n" + header + b"\r\n"))


def _repeated(text: CsvText) -> str:
    return f"its header stands in it again, as a row ({text.delimiter.join(text.given)}): take that line out"
