"""Memory that the stages of one machine share: each takes its part before it starts, or waits for it."""

import fcntl
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows.tables.bounds import Bounds
from flows.tables.progress import Say

PART_BYTES = 2**26
TURN = 2**40
"""The place in the file whose holder is served next."""
POLL_SECONDS = 0.1


@contextmanager
def memory_share(bounds: Bounds, wanted_bytes: int, say: Say) -> Iterator[None]:
    """Holds a part of the memory that all stages share, after waiting until it is free.

    More than there is in all counts as all. Who dies holds nothing any more: the parts are locks on a file.
    """
    if bounds.memory_file is None or bounds.memory_bytes is None or sys.platform != "linux":
        yield
        return
    parts = max(bounds.memory_bytes // PART_BYTES, 1)
    wanted = min(-(-wanted_bytes // PART_BYTES), parts)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    opened = os.open(bounds.memory_file, flags, 0o600)
    try:
        _wait(opened, wanted, parts, say)
        yield
    finally:
        os.close(opened)


def _wait(opened: int, wanted: int, parts: int, say: Say) -> None:
    said, has_turn = False, False
    while True:
        has_turn = has_turn or _lock(opened, TURN)
        if has_turn and _take(opened, wanted, parts):
            _unlock(opened, TURN)
            return
        if not said:
            free = f"{wanted * PART_BYTES / 2**20:,.0f} of {parts * PART_BYTES / 2**20:,.0f} MiB"
            say(f"waits for memory: {free} (LARDER_MEMORY_BYTES)")
            said = True
        time.sleep(POLL_SECONDS)


def _take(opened: int, wanted: int, parts: int) -> bool:
    taken = []
    for part in range(parts):
        if _lock(opened, part):
            taken.append(part)
        if len(taken) == wanted:
            return True
    for part in taken:
        _unlock(opened, part)
    return False


def _lock(opened: int, place: int) -> bool:
    try:
        fcntl.fcntl(opened, fcntl.F_OFD_SETLK, _lock_of(fcntl.F_WRLCK, place))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(opened: int, place: int) -> None:
    fcntl.fcntl(opened, fcntl.F_OFD_SETLK, _lock_of(fcntl.F_UNLCK, place))


def _lock_of(kind: int, place: int) -> bytes:
    """The kernel's `struct flock` of one byte of a file."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, place, 1, 0)
