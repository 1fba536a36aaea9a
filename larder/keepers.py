"""Where leases are kept. In files: the kernel lets go of their locks when a process dies."""

import fcntl
import hashlib
import os
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol


class Keeper(Protocol):
    """Where leases of one place are kept."""

    def take(self, key: str, holder: str) -> bool:
        """Try once; whether the lease is now this holder's."""

    def give(self, key: str, holder: str) -> None:
        """Let go; letting go of what is not held is no error."""

    def holds(self, key: str, holder: str) -> bool:
        """Whether this holder has it."""

    def confirms(self, key: str, holder: str) -> bool:
        """Whether this holder has it now, asked where it is kept."""

    def taken(self, key: str) -> bool:
        """Whether anybody has it."""


@dataclass
class FileKeeper:
    """Leases as `flock` on files of one folder: they exclude the processes of one home.

    The kernel lets go of a lock when its process dies, however it dies.
    """

    folder: Path
    held: dict[str, tuple[str, int]] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, holder: str) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same_file = os.fstat(descriptor).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            same_file = False
        if not same_file:
            os.close(descriptor)
            return False
        with self.guard:
            self.held[key] = (holder, descriptor)
        return True

    def give(self, key: str, holder: str) -> None:
        with self.guard:
            if not self.holds(key, holder):
                return
            _, descriptor = self.held.pop(key)
        self._path(key).unlink(missing_ok=True)
        os.close(descriptor)

    def holds(self, key: str, holder: str) -> bool:
        return self.held.get(key, ("", 0))[0] == holder

    def confirms(self, key: str, holder: str) -> bool:
        return self.holds(key, holder)

    def taken(self, key: str) -> bool:
        try:
            descriptor = os.open(self._path(key), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _path(self, key: str) -> Path:
        return self.folder / hashlib.sha256(key.encode()).hexdigest()


@cache
def file_keeper(folder: Path) -> FileKeeper:
    """The keeper in a folder, one for all threads."""
    return FileKeeper(folder)
