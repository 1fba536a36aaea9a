"""Run something in a process of its own, within limits, and end all that it started. Linux and macOS.

Whoever asked for it holds one end of a pipe or socket open; its end is the sign that nobody waits any more.
Imports the standard library alone.
"""

import contextlib
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from flows.tables import confinement, measures
from flows.tables.confinement import Rules

TICK_SECONDS = 0.2
LOOK_SECONDS = 2.0
"""How often processes and folders are looked at that do not grow."""
LOOK_SHARE = 20
"""Looking takes at most this part of the time."""
NEARLY_ALL = 0.95
"""Of the disk that it may fill, for what fails because it cannot write more."""
MORE_KILLED_FIRST = "500"
"""How much rather than others the kernel ends this process for want of memory, from -1000 to 1000."""


@dataclass(frozen=True)
class Limits:
    """What something may take; None is no limit."""

    seconds: float | None = None
    disk_bytes: int | None = None
    """What it may fill below its folder."""
    keep_free_bytes: int = 0
    """How much of the disk it has to leave free."""
    processes: int | None = None
    """Processes and threads at once."""
    memory_bytes: int | None = None
    """Of all its processes together."""
    address_bytes: int | None = None
    """Memory that each of its processes may ask for."""
    open_files: int | None = None
    grace_seconds: float = 5.0
    """How long it is given to end by itself once it is asked to."""


@dataclass(frozen=True)
class Ended:
    """How it ended."""

    code: int
    """Its exit code; the negative number of the signal that ended it."""
    reached: str | None = None
    """Why it was ended: `seconds`, `disk`, `free`, `hidden`, `processes`, `memory`; `gone`: nobody waited."""
    found: str = ""
    """What was found of it, for people."""
    killed_for_memory: bool = False
    """Whether meanwhile the kernel ended a process for want of memory."""


def supervise(start: Callable[[], object], folder: str, limits: Limits, rules: Rules, gone: int) -> Ended:
    """Calls `start` in a new process, in `folder`, and waits for its end.

    Args:
        gone: descriptor that can be read once nobody waits any more
    """
    confinement.adopt_orphans()
    fenced = confinement.fence_signals(rules.abi)
    kills = measures.kills_for_memory()
    told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _become(start, parent, folder, limits, rules)
    watch = _Watch(child, folder, limits, fenced)
    ended = watch.until_end(told, gone)
    watch.end_all()
    reached, found = ended or watch.look_at_what_is_left() or (None, "")
    for_memory = measures.kills_for_memory() > kills
    return Ended(watch.code if watch.code is not None else -signal.SIGKILL, reached, found, for_memory)


def _become(start: Callable[[], object], parent: int, folder: str, limits: Limits, rules: Rules) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        confinement.die_with_parent(signal.SIGKILL, parent)
        os.chdir(folder)
        os.umask(0o022)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(MORE_KILLED_FIRST)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, limits.disk_bytes)
        _limit(resource.RLIMIT_DATA, limits.address_bytes)
        _limit(resource.RLIMIT_NOFILE, limits.open_files)
        confinement.confine(rules)
        start()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


def _limit(which: int, most: int | None) -> None:
    if most is not None:
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


@dataclass
class _Watch:
    child: int
    folder: str
    limits: Limits
    fenced: bool
    code: int | None = None
    began: float = field(default_factory=time.monotonic)
    next_look: float = field(default_factory=lambda: time.monotonic() + TICK_SECONDS)
    tasks_at_first: int = field(default_factory=measures.tasks_of_the_system)
    used: int = 0
    free: int = 0

    def until_end(self, told: int, gone: int) -> tuple[str, str] | None:
        """Waits until the child has ended; which limit it reached before, and what was found."""
        self.free = measures.free_bytes(self.folder)
        reached, end_by = None, float("inf")
        while self.code is None and time.monotonic() < end_by:
            watched = [told] if reached else [told, gone]
            ready, _, _ = select.select(watched, [], [], TICK_SECONDS)
            if told in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(told, 4096)
                self.reap()
            if self.code is None and not reached:
                reached = ("gone", "") if gone in ready else self.look()
                if reached and reached[0] in {"gone", "seconds"}:
                    end_by = time.monotonic() + self.limits.grace_seconds
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self.child, signal.SIGTERM)
                elif reached:
                    return reached
        return reached

    def reap(self) -> bool:
        """Takes the ends of children; whether there are more."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == self.child:
                    self.code = os.waitstatus_to_exitcode(status)
                if pid == 0:
                    return True
        return False

    def end_all(self) -> None:
        """Ends everything that is left below this process."""
        while self.reap():
            self.signal_all(signal.SIGKILL)
            time.sleep(0.01)

    def signal_all(self, number: int) -> None:
        """Signals everything below this process; at once, where the kernel keeps it from anything else."""
        if self.fenced:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, number)
            return
        for task in measures.descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(task.pid, number)

    def look(self) -> tuple[str, str] | None:
        """Which limit is reached, and what was found."""
        now, limits = time.monotonic(), self.limits
        if limits.seconds and now - self.began > limits.seconds:
            return "seconds", f"{limits.seconds:g}"
        free = measures.free_bytes(self.folder)
        if free < limits.keep_free_bytes:
            return "free", f"{free:,}"
        grew = limits.processes and measures.tasks_of_the_system() - self.tasks_at_first > limits.processes
        filled = limits.disk_bytes and self.used + self.free - free > limits.disk_bytes
        if now < self.next_look and not grew and not filled:
            return None
        if grew:
            self.signal_all(signal.SIGSTOP)
        reached = self.look_closely(free)
        if grew and not reached:
            self.signal_all(signal.SIGCONT)
        self.next_look = time.monotonic() + max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - now))
        return reached

    def look_at_what_is_left(self) -> tuple[str, str] | None:
        """Whether what has ended left more than it may, or could not write all of it."""
        most, code = self.limits.disk_bytes, self.code or 0
        if most is None:
            return None
        try:
            used = measures.disk_of(self.folder)
        except measures.UnmeasurableError as error:
            return "hidden", str(error)
        too_large = code in {-signal.SIGXFSZ, 128 + signal.SIGXFSZ} or (
            code != 0 and used > most * NEARLY_ALL
        )
        return ("disk", f"{used:,}") if used > most or too_large else None

    def look_closely(self, free: int) -> tuple[str, str] | None:
        """The same by counting processes and files."""
        limits = self.limits
        tasks = measures.descendants(os.getpid())
        threads = sum(task.threads for task in tasks)
        if limits.processes and threads > limits.processes:
            return "processes", f"{threads:,}"
        self.tasks_at_first = measures.tasks_of_the_system() - threads
        if limits.memory_bytes and sum(task.resident_bytes for task in tasks) > limits.memory_bytes:
            used = measures.memory_of(tasks)
            if used > limits.memory_bytes:
                return "memory", f"{used:,}"
        if limits.disk_bytes is not None:
            try:
                self.used, self.free = measures.disk_of(self.folder, tasks), free
            except measures.UnmeasurableError as error:
                return "hidden", str(error)
            if self.used > limits.disk_bytes:
                return "disk", f"{self.used:,}"
        return None
