"""Files that come packed, as they are within: `.gz`, `.zip`, and what a web server packs on its way."""

import gzip
import io
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKINGS = ("", ".gz", ".zip")
GZIP = b"\x1f\x8b"
"""How every gzip file begins, and none of the files that it may hold."""
MOST_GZIPS = 2
"""The file itself may be packed, and a web server packs it once more."""
PIECE_BYTES = 2**20


class NotTakenError(Exception):
    """A file cannot be taken as it comes."""


@dataclass(frozen=True)
class Limits:
    """How large a file may be, unpacked, and how long it may take to come."""

    bytes: int
    seconds: float


def unpack(source: Any, packing: str, to: Path, limits: Limits) -> None:
    """Copy a stream of bytes to the path `to`, in pieces.

    What gzip packed is known by its bytes, not by its name: a web server may have unpacked a `.gz`, or packed
    a file that is called otherwise.

    Raises:
        NotTakenError: if it is not whole, holds no single file, or exceeds a limit.
    """
    content = io.BufferedReader(source)
    if packing != ".zip":
        _copy_unpacked(content, to, limits)
        return
    packed = to.with_name(f"{to.name}.zip")
    _copy_unpacked(content, packed, limits)
    try:
        with zipfile.ZipFile(packed) as archive:
            names = [one for one in archive.infolist() if _is_content(one)]
            if len(names) != 1:
                raise NotTakenError(f"its zip file holds {len(names)} files, and one is expected.")
            with archive.open(names[0]) as member:
                _copy(member, to, limits)
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise NotTakenError(f"it is no whole zip file ({error}).") from error
    packed.unlink()


def require_known_encoding(source: Any) -> None:
    """Return if a web server packs what it sends not at all, or by gzip.

    Raises:
        NotTakenError: if it packs it otherwise.
    """
    answer = getattr(source, "r", None)
    encoding = str(answer.headers.get("Content-Encoding") or "identity") if answer else "identity"
    if encoding.lower() not in ("identity", "gzip", "x-gzip"):
        raise NotTakenError(f"the web server packs it by {encoding}, which is not asked for.")


def _is_content(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry of a zip file is none of those that macOS adds."""
    return not entry.is_dir() and not entry.filename.startswith("__MACOSX/")


def _copy_unpacked(content: io.BufferedReader, to: Path, limits: Limits) -> None:
    try:
        for _ in range(MOST_GZIPS):
            if content.peek(len(GZIP))[: len(GZIP)] == GZIP:
                content = io.BufferedReader(gzip.GzipFile(fileobj=content, mode="rb"))
        _copy(content, to, limits)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotTakenError(f"it is no whole gzip file ({error}).") from error


def _copy(source: Any, to: Path, limits: Limits) -> None:
    left, end = limits.bytes, time.monotonic() + limits.seconds
    with to.open("wb") as target:
        while piece := source.read1(PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                raise NotTakenError(
                    f"it has more than {limits.bytes:,} bytes, which LARDER_INPUT_BYTES allows."
                )
            if time.monotonic() > end:
                raise NotTakenError(
                    f"it took longer than {limits.seconds:g} seconds, which LARDER_INPUT_SECONDS allows."
                )
            target.write(piece)
