"""A background process that can be found again: in its own session, with a pid file and a log."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from larder.environment import forget_prefect, reach_directly

MARK = "LARDER_STACK"
"""Environment variable by which everything that a daemon started is known, grandchildren too."""

KILL_SECONDS = 5


class StartError(RuntimeError):
    """A daemon did not come up. `log` says why."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        super().__init__(f"{name} {reason}. Its log is {log}; it ends with:\n{tail(log)}")
        self.name = name
        self.log = log


@dataclass(frozen=True)
class Daemon:
    """A program that runs in the background for one home."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """What it is given besides the environment of whoever starts it."""
    home: Path
    directory: Path
    """Where it runs."""
    ready: Callable[[], bool]
    """Whether it answers; asked until it does."""
    built_from: str = ""
    """What it was installed from; another value asks for a restart."""

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.home / "log" / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """Its pid file."""
        return self.home / "run" / f"{self.name}.json"

    @property
    def mark(self) -> str:
        """What stands in the environment of its process and of all that this started."""
        return mark(self.home, self.name)

    @property
    def identity(self) -> str:
        """Differs when it would be started in another way."""
        parts = [
            self.built_from,
            *self.command,
            *(f"{name}={self.environment[name]}" for name in sorted(self.environment)),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def pid(self) -> int | None:
        """The id of its process; None if it is not running, or if the id is another process's by now."""
        return recorded_pid(self.home, self.name)

    def is_current(self) -> bool:
        """Whether it was started in the way in which it would be started now."""
        try:
            return bool(json.loads(self.record.read_text())["identity"] == self.identity)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def start(self) -> None:
        """Starts it without waiting for it."""
        for folder in (self.log.parent, self.record.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.old"))
        with self.log.open("wb") as log:
            child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**plain_environment(), **self.environment, MARK: self.mark.partition("=")[2]},
                cwd=self.directory,
                start_new_session=True,
            )
        _CHILDREN[child.pid] = child
        entry = {"pid": child.pid, "started": start_time(child.pid), "identity": self.identity}
        written = self.record.with_suffix(".new")
        written.write_text(json.dumps(entry))
        written.replace(self.record)

    def wait(self, seconds: float) -> None:
        """Waits until it answers.

        Raises:
            StartError: it ended, or it does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not self.ready() or self.pid is None:
            if self.pid is None:
                raise StartError(self.name, "ended while it was starting", self.log)
            if time.monotonic() > deadline:
                raise StartError(self.name, f"does not answer after {seconds:.0f} s", self.log)
            time.sleep(0.1)

    def stop(self, seconds: float = 15) -> bool:
        """Ends it and the rest of its session; whether it was running. Another process is never touched."""
        return end_recorded(self.home, self.name, seconds)


def mark(home: Path, name: str) -> str:
    """What stands in the environment of a home's process of this name, and of all that it started."""
    return f"{MARK}={name}@{home}"


def end_recorded(home: Path, name: str, seconds: float = 15) -> bool:
    """Ends the process that a pid file names, with its session; whether it was running."""
    pid = recorded_pid(home, name)
    if pid is not None:
        _end([pid], seconds, session=True)
    (home / "run" / f"{name}.json").unlink(missing_ok=True)
    return pid is not None


def plain_environment() -> dict[str, str]:
    """This process's environment, past any proxy, without Prefect's settings, which are the user's."""
    kept = {**os.environ, "DO_NOT_TRACK": "1"}
    forget_prefect(kept)
    reach_directly(kept)
    return kept


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def recorded_pid(home: Path, name: str) -> int | None:
    """The id of a home's running process of this name, as its pid file says."""
    try:
        recorded = json.loads((home / "run" / f"{name}.json").read_text())
        pid, started = int(recorded["pid"]), str(recorded["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if start_time(pid) == started else None


def start_time(pid: int) -> str | None:
    """When a process began, as a text that no other process of this id shares; None if it is not running."""
    child = _CHILDREN.get(pid)
    if child is not None:
        child.poll()
    if not Path("/proc/self/stat").exists():
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in {"Z", "X"}:
        return None
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {fields[19]}"


def end_marked(mark: str, seconds: float = 15, command: Sequence[str] | None = None) -> int:
    """Ends every process that `marked` finds, or those of them that run this command; how many."""
    pids = [pid for pid in marked(mark) if command is None or _command(pid) == list(command)]
    _end(pids, seconds, session=False)
    return len(pids)


def marked(mark: str) -> Iterator[int]:
    """This user's other processes that were started with `mark`, a `NAME=value`, in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(folder.name)
        if mark.encode() in environment and pid != os.getpid() and start_time(pid) is not None:
            yield pid


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    try:
        return "\n".join("  " + line for line in log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "  (nothing)"


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _end(pids: list[int], seconds: float, *, session: bool) -> None:
    known = [(pid, start_time(pid)) for pid in pids]
    for pid in pids:
        _signal(os.kill, pid, signal.SIGTERM)
    for pid, started in _left(known, seconds):
        if _is_still(pid, started):
            _signal(os.kill, pid, signal.SIGKILL)
    if session:
        for pid in pids:
            _signal(os.killpg, pid, signal.SIGKILL)
    _left(known, KILL_SECONDS)


def _left(known: list[tuple[int, str | None]], seconds: float) -> list[tuple[int, str | None]]:
    deadline = time.monotonic() + seconds
    while left := [(pid, started) for pid, started in known if _is_still(pid, started)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def _is_still(pid: int, started: str | None) -> bool:
    return started is not None and start_time(pid) == started


def _signal(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    try:
        send(pid, number)
    except (ProcessLookupError, PermissionError):
        return
