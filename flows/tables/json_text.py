"""JSON as text: numbers that every reader takes alike, and where the members of an object stand."""

import json
import math
import mmap
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 2**20
KEY_BYTES = 2**12
SAFE_DIGITS = 15
"""Decimals of so many digits are the same after they were a double."""
INTEGERS = range(-(2**63), 2**63)
LONGEST_SHOWN = 40

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_COORDINATES = rb'"coordinates"\s*+:\s*+[][\d\s.,eE+-]*+'
_SHORT = rb"-?\d[\d.]{0,15}+(?:e[+-]?\d{1,2}+)?+(?![\d.e+-])"
_NOT_FINITE = rb"(?P<not_finite>-?(?:nan|inf(?:inity)?))"
_LONG = rb"(?P<long>-?\d[\d.eE+-]*+)"
_SKIPPED = rb'(?:[^"\-0-9NnIi]++|null|' + _COORDINATES + rb"|" + _STRING + rb"|" + _SHORT + rb")*+"
_NUMBER = re.compile(_SKIPPED + rb"(?:" + _NOT_FINITE + rb"|" + _LONG + rb")", re.DOTALL | re.IGNORECASE)
_NO_NUMBER = re.compile(
    rb'(?:[^"\-NnIi]++|-(?=\d)|null|' + _STRING + rb")*+" + _NOT_FINITE, re.DOTALL | re.IGNORECASE
)
_ENDING = re.compile(rb'(?:[^"{}\[\]]++|' + _COORDINATES + rb"|" + _STRING + rb")*+([{}\[\]])", re.DOTALL)
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x1e]*+\{")
_KEY = re.compile(rb"\s*+,?+\s*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[^,}\]\s]++", re.DOTALL)
_LAST_KEY = re.compile(rb"(" + _STRING + rb")\s*+:[\s\[]*$", re.DOTALL)


@dataclass(frozen=True)
class Change:
    """A number that stands otherwise in the text that is read."""

    start: int
    end: int
    number: bytes
    finite: bool

    @property
    def text(self) -> bytes:
        return b'"' + self.number + b'"' if self.finite else b"null"


def portable(source: Path, target: Path, part: slice | None = None) -> tuple[Path, list[str]]:
    """A file of JSON in which every number means the same to every reader, and what was changed for that.

    NaN and infinity, which JSON does not have, become null. A number of more digits than an integer of 64
    bits or a double holds becomes text, with all of its digits; coordinates stay what they are.

    Args:
        part: of the file; else all of it, and the file itself where nothing has to change.
    """
    return _rewritten(source, target, part, _NUMBER)


def without_nan(source: Path, target: Path) -> tuple[Path, list[str]]:
    """The same file, or another one with null in place of NaN and infinity; and what was changed."""
    return _rewritten(source, target, None, _NO_NUMBER)


def _rewritten(
    source: Path, target: Path, part: slice | None, numbers: re.Pattern[bytes]
) -> tuple[Path, list[str]]:
    if not source.stat().st_size:
        return source, []
    with source.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start, stop = (part.start, part.stop) if part else (0, len(text))
        changes = _changes(text, numbers, start, stop)
        first = next(changes, None)
        if first is None and part is None:
            return source, []
        firsts: dict[bool, Change] = {}
        times = Counter[bool]()
        with target.open("wb") as out:
            for change in chain([first] if first else [], changes):
                _copy(text, start, change.start, out)
                out.write(change.text)
                start = change.end
                firsts.setdefault(change.finite, change)
                times[change.finite] += 1
            _copy(text, start, stop, out)
        return target, [_told(text, firsts[finite], times[finite]) for finite in sorted(firsts)]


def members(text: mmap.mmap) -> dict[str, slice]:
    """Where the values of the first object of a text stand, by their keys; empty where there is no object."""
    opened = _OPENING.match(text)
    if opened is None:
        return {}
    found: dict[str, slice] = {}
    at = opened.end()
    while key := _KEY.match(text, at):
        at = key.end()
        end = _end(text, at)
        if end is None:
            return {}
        found[str(json.loads(key[1]))] = slice(at, end)
        at = end
    return found


def _end(text: mmap.mmap, at: int) -> int | None:
    """Where the value that begins at a place ends."""
    if text[at : at + 1] not in {b"{", b"["}:
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else None
    depth = 0
    while bracket := _ENDING.match(text, at):
        at = bracket.end()
        depth += 1 if bracket[1] in b"{[" else -1
        if not depth:
            return at
    return None


def _changes(text: mmap.mmap, numbers: re.Pattern[bytes], start: int, stop: int) -> Iterator[Change]:
    while found := numbers.match(text, start, stop):
        kind = str(found.lastgroup)
        start = found.end()
        if kind == "not_finite" or not exact(found[kind].decode()):
            yield Change(found.start(kind), start, found[kind], kind == "long")


def exact(number: str) -> bool:
    """Whether an integer of 64 bits, or a double, holds all digits of a JSON number."""
    try:
        value = Decimal(number)
    except ArithmeticError:
        return True
    if number.lstrip("-").isdigit():
        return int(value) in INTEGERS
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    double = float(number)
    if not math.isfinite(double) or (value and not double):
        return False
    printed = (repr(double), f"{double:.{len(value.as_tuple().digits) - 1}e}")
    return len(digits) <= SAFE_DIGITS or value in map(Decimal, printed)


def _copy(text: mmap.mmap, start: int, stop: int, out: BinaryIO) -> None:
    out.writelines(text[piece : min(piece + PIECE_BYTES, stop)] for piece in range(start, stop, PIECE_BYTES))


def _told(text: mmap.mmap, first: Change, times: int) -> str:
    key = _LAST_KEY.search(text[max(0, first.start - KEY_BYTES) : first.start])
    place = f"line {_line(text, first.start):,}" + (f", {json.loads(key[1])}" if key else "")
    what = "has more digits than a number holds, and is text" if first.finite else "is no JSON, and is null"
    others = f" (so are {times - 1:,} others)" if times > 1 else ""
    return f"{place}: {first.number.decode()[:LONGEST_SHOWN]} {what}{others}"


def _line(text: mmap.mmap, at: int) -> int:
    pieces = (text[piece : min(piece + PIECE_BYTES, at)] for piece in range(0, at, PIECE_BYTES))
    return 1 + sum(piece.count(b"\n") for piece in pieces)
