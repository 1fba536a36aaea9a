"""The table of a shapefile (DBF): what its header says, and where its texts stand."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HEADER_BYTES = FIELD_BYTES = 32
LANGUAGE_BYTE = 29
TYPE_BYTE = 11
PIECE_BYTES = 2**22
NAME_BYTES = 10
DELETED = b"*"
TEXT, NUMBERS, DATES = "C", "NF", "D"


@dataclass(frozen=True)
class Field:
    """One column of the table."""

    name: bytes
    type: str
    width: int
    decimals: int
    start: int
    """Where in a record it begins."""


@dataclass(frozen=True)
class Text:
    """What stands in a field, or as its name."""

    value: bytes
    width: int
    at: int
    """Where in the file."""
    place: str
    """The same, for people."""

    @property
    def padding(self) -> bytes:
        """What stands behind a text that is shorter than its width."""
        return b" " if self.place.startswith("row") else b"\0"


@dataclass(frozen=True)
class Header:
    """What a table says of itself."""

    rows: int
    bytes: int
    record_bytes: int
    language: int
    fields: tuple[Field, ...]


def header_of(file: Path) -> Header:
    """What the header of a table says.

    Raises:
        ValueError: if it is none.
    """
    with file.open("rb") as content:
        start = content.read(HEADER_BYTES)
        if len(start) < HEADER_BYTES:
            raise ValueError("its .dbf has no header")
        rows, size, record = struct.unpack("<IHH", start[4:12])
        rest = content.read(max(size - HEADER_BYTES, 0))
    fields, at = [], 1
    for offset in range(0, len(rest) - FIELD_BYTES + 1, FIELD_BYTES):
        described = rest[offset : offset + FIELD_BYTES]
        if described[:1] == b"\r":
            break
        name, type_, width, decimals = struct.unpack("<11sc4xBB14x", described)
        fields.append(Field(name.partition(b"\0")[0], type_.decode("latin-1").upper(), width, decimals, at))
        at += width
    if not record or at > record:
        raise ValueError("the header of its .dbf does not fit its fields")
    return Header(rows, size, record, start[LANGUAGE_BYTE], tuple(fields))


def as_text(file: Path, numbers: Iterable[int]) -> None:
    """Say in the header of a table that fields hold text: what is read then is all that stands there."""
    with file.open("r+b") as content:
        for number in numbers:
            content.seek(HEADER_BYTES + number * FIELD_BYTES + TYPE_BYTE)
            content.write(TEXT.encode())


def texts_of(file: Path, header: Header) -> Iterator[Text]:
    """All that is no ASCII in a table, names of fields first."""
    for number, field in enumerate(header.fields):
        if not field.name.isascii():
            at = HEADER_BYTES + number * FIELD_BYTES
            yield Text(field.name, NAME_BYTES, at, f"the name of field {number + 1}")
    fields = [field for field in header.fields if field.type == TEXT]
    at, end = header.bytes, header.bytes + header.rows * header.record_bytes
    step = header.record_bytes * max(PIECE_BYTES // header.record_bytes, 1)
    with file.open("rb") as content:
        for start in range(at, end, step):
            content.seek(start)
            piece = content.read(min(step, end - start))
            if not piece.isascii():
                yield from _texts_of(piece, start, header, fields)


def _texts_of(piece: bytes, start: int, header: Header, fields: Iterable[Field]) -> Iterator[Text]:
    for at in range(0, len(piece), header.record_bytes):
        record = piece[at : at + header.record_bytes]
        if record.isascii() or record.startswith(DELETED):
            continue
        row = (start + at - header.bytes) // header.record_bytes + 1
        for field in fields:
            value = record[field.start : field.start + field.width]
            if not value.isascii():
                name = shown(field.name)
                yield Text(value, field.width, start + at + field.start, f"row {row:,}, column {name},")


def shown(value: bytes) -> str:
    """Bytes for people."""
    return value.strip(b" \0").decode("ascii", errors="backslashreplace")
