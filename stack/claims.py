"""The runs that a worker took, in a file that outlives it: which of them have a process?"""

import fcntl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from larder.artifacts import Frozen
from stack.daemon import start_time


class Process(Frozen):
    """One process of this machine, which no other one with its id can be taken for."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return start_time(self.pid) == self.started


class Claimed(Frozen):
    """What one worker took and has not seen the end of."""

    worker: str
    runs: Mapping[str, Process | None]
    """The flow runs by id; None until there is a process."""


@dataclass
class Claims:
    """The file of one worker, which it holds locked for as long as it lives."""

    home: Path
    worker: str
    runs: dict[str, Process | None] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        folder(self.home).mkdir(parents=True, exist_ok=True)
        self.file = folder(self.home) / f"{self.worker}-{uuid4().hex[:8]}.json"
        self.lock = self.file.with_suffix(".lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self._write()

    def claim(self, run_id: str) -> None:
        """Remember a run before it is taken from the queue."""
        with self.guard:
            self.runs[run_id] = None
            self._write()

    def began(self, run_id: str, pid: int) -> None:
        """Remember the process of a run."""
        with self.guard:
            self.runs[run_id] = Process(pid=pid, started=start_time(pid) or "")
            self._write()

    def forget(self, run_id: str, *, unless_begun: bool = False) -> None:
        """Remember a run no longer; with `unless_begun` one that has a process is kept."""
        with self.guard:
            if run_id in self.runs and not (unless_begun and self.runs[run_id]):
                del self.runs[run_id]
                self._write()

    def held(self) -> dict[str, Process | None]:
        """What is remembered now."""
        with self.guard:
            return dict(self.runs)

    def _write(self) -> None:
        write(self.file, Claimed(worker=self.worker, runs=self.runs))


def folder(home: Path) -> Path:
    """Where the workers of a home write down what they take."""
    return home / "runs"


def write(file: Path, claimed: Claimed) -> None:
    """Replace a file of claims."""
    written = file.with_suffix(".new")
    written.write_text(claimed.model_dump_json())
    written.replace(file)


def read(file: Path) -> Claimed | None:
    """What a file of claims says; None where there is none that can be read."""
    try:
        return Claimed.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def all_files(claims: Path) -> Iterator[Path]:
    """Every worker's file."""
    return iter(sorted(claims.glob("*.json")))


@contextmanager
def left_behind(file: Path) -> Iterator[bool]:
    """Hold a file of claims; whether its worker is gone, and nobody else sees to what it left."""
    lock = file.with_suffix(".lock")
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield file.exists()


def remove(file: Path) -> None:
    """Remove a file of claims with its lock."""
    file.unlink(missing_ok=True)
    file.with_suffix(".lock").unlink(missing_ok=True)
