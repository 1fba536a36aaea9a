"""Files of others, read in a process of its own: what is wrong with one harms nobody."""

import csv
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from flows.tables.apart import ApartError, Sandbox, call_apart
from flows.tables.bounds import STAGE_MEMORY_BYTES, Bounds, Kind, limit_reached
from flows.tables.complaints import complaint
from flows.tables.drivers import DRIVERS, only_driver
from flows.tables.file_types import FileType
from flows.tables.memory import memory_share
from flows.tables.progress import Say, progress
from flows.tables.readers import READERS
from flows.tables.signatures import require_signature
from flows.tables.supervision import Limits
from flows.tables.table import Table, database, done, read_table

GDAL = ("pyogrio", "pyogrio.raw")
OPEN_FILES = 256
LEAST_MEMORY_BYTES = 2**28
MEMORY_PER_BYTE = 8
"""How much memory the reading of a small file takes at most for each byte of it."""


NO_MEMORY = ("memory allocation of", "bad_alloc", "MemoryError", "Cannot allocate memory")
"""What libraries write before they end a process that gets no more memory."""
JSON = (".json", ".geojson")
QUOTE, BACKSLASH, OPENING, CLOSING = *b'"\\', b"[{", b"]}"
DEEPEST = 1000
SEARCH_SECONDS = 60


class UnreadableError(ValueError):
    """A file is not what its type says, or reading it met a limit."""


def read_input(  # noqa: PLR0913, PLR0917
    file_type: FileType, source: Path, target: Path, custom: Mapping[str, Any], bounds: Bounds, say: Say
) -> Table:
    """A file as Parquet, in a process of its own: confined to the target's folder, and within limits.

    Args:
        target: the Parquet file to be made; what else is in its folder may be changed

    Raises:
        UnreadableError: it is not what its type says, or reading it met a limit.
        duckdb.IOException, duckdb.OutOfMemoryException: disk or memory did not suffice.
    """
    arguments = {"file_type": file_type, "source": source, "target": target, "custom": custom}
    limits = Limits(
        seconds=bounds.input_seconds,
        disk_bytes=bounds.input_bytes,
        keep_free_bytes=bounds.keep_free_bytes,
        address_bytes=bounds.input_memory_bytes,
        open_files=OPEN_FILES,
    )
    sandbox = Sandbox(target.parent, limits, (source,))
    wanted = LEAST_MEMORY_BYTES + MEMORY_PER_BYTE * source.stat().st_size
    raises = (UnreadableError, MemoryError, duckdb.IOException, duckdb.OutOfMemoryException)
    modules = GDAL if file_type in DRIVERS else ()
    try:
        with memory_share(bounds, min(wanted, STAGE_MEMORY_BYTES), say):
            return call_apart(read_here, arguments, sandbox, raises=raises, modules=modules, say=say)
    except ApartError as error:
        raise UnreadableError(_why(error, limits, source)) from error
    except MemoryError as error:
        raise UnreadableError(_too_large(limits)) from error


def read_here(file_type: FileType, source: Path, target: Path, custom: Mapping[str, Any], say: Say) -> Table:
    """The same in this process, which afterwards can read nothing else.

    Raises:
        UnreadableError: it is not what its type says.
        duckdb.IOException, duckdb.OutOfMemoryException: disk or memory did not suffice.
    """
    try:
        require_signature(file_type, source)
        if file_type in DRIVERS:
            only_driver(DRIVERS[file_type])
        with database(target.parent) as connection:
            with progress(say, lambda: done(connection)):
                warnings = READERS[file_type](connection, source, target, custom)
            table = read_table(connection, target)
    except (MemoryError, duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except (duckdb.Error, csv.Error, ValueError) as error:
        raise UnreadableError(complaint(error, source)) from error
    return table.model_copy(update={"warnings": tuple(warnings) or None})


def described(file: Path, scratch: Path, bounds: Bounds) -> Table:
    """What a Parquet file says of its rows and columns, read in a process of its own.

    Raises:
        UnreadableError: it is no Parquet file.
    """
    limits = Limits(seconds=bounds.input_seconds, address_bytes=bounds.input_memory_bytes)
    sandbox = Sandbox(scratch, limits, (file,))
    try:
        return call_apart(described_here, {"file": file}, sandbox, raises=(UnreadableError,))
    except ApartError as error:
        raise UnreadableError(_why(error, limits, file)) from error


def described_here(file: Path, say: Say) -> Table:  # noqa: ARG001
    """The same in this process.

    Raises:
        UnreadableError: it is no Parquet file.
    """
    try:
        with database(file.parent) as connection:
            return read_table(connection, file)
    except duckdb.Error as error:
        raise UnreadableError(complaint(error, file)) from error


def _why(error: ApartError, limits: Limits, source: Path) -> str:
    """What is said of a file whose reading came to no answer."""
    if error.ended is None:
        return f"reading it failed ({error})"
    if met := limit_reached(error.ended, limits, Kind.INPUT):
        return f"reading it {met}"
    if any(words in error.printed for words in NO_MEMORY):
        return _too_large(limits)
    if source.suffix in JSON and (place := _too_deep(source)):
        return place
    name = signal.Signals(-error.ended.code).name if error.ended.code < 0 else f"code {error.ended.code}"
    last = f": {error.printed.strip().splitlines()[-1][:200]}" if error.printed.strip() else ""
    return f"reading it ended with {name}, as it does for files that are damaged or made to do harm{last}"


def _too_large(limits: Limits) -> str:
    allowed = f"{limits.address_bytes:,}" if limits.address_bytes else "all"
    return f"reading it takes more than {allowed} bytes of memory (LARDER_INPUT_MEMORY_BYTES)"


def _too_deep(source: Path) -> str | None:
    sandbox = Sandbox(source.parent, Limits(seconds=SEARCH_SECONDS), (source,))
    with suppress(ApartError):
        place = call_apart(place_of_nesting, {"source": source}, sandbox)
        if place is not None:
            return f"its values are nested more than {DEEPEST:,} levels deep (at byte {place:,})"
    return None


def place_of_nesting(source: Path, say: Say) -> int | None:  # noqa: ARG001
    """The byte of a JSON file at which its lists and objects get too deep; None where they do not."""
    depth, at, in_text, escaped = 0, 0, False, False
    with source.open("rb") as content:
        while piece := content.read(2**20):
            for byte in piece:
                if in_text:
                    in_text, escaped = escaped or byte != QUOTE, byte == BACKSLASH and not escaped
                elif byte in OPENING:
                    depth += 1
                    if depth > DEEPEST:
                        return at
                elif byte in CLOSING:
                    depth -= 1
                else:
                    in_text = byte == QUOTE
                at += 1
    return None
