"""What processes and folders take up, as the kernel tells. Imports the standard library alone."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 512
ENTRY_BYTES = 1024
"""What a file without content is taken to fill."""


class UnmeasurableError(Exception):
    """A folder that cannot be looked into: it is nested too deep, or closed to its owner."""


@dataclass(frozen=True)
class Task:
    """One process below another."""

    pid: int
    threads: int
    resident_bytes: int


def descendants(pid: int) -> list[Task]:
    """The processes below one that live; none where there is no /proc."""
    below: dict[int, list[Task]] = {}
    for name in _names("/proc") if sys.platform == "linux" else ():
        if name.isdigit() and (found := _task(int(name))):
            below.setdefault(found[0], []).append(found[1])
    tasks: list[Task] = []
    pending = [pid]
    while pending:
        children = below.get(pending.pop(), [])
        tasks += children
        pending += [child.pid for child in children]
    return tasks


def memory_of(tasks: Iterable[Task]) -> int:
    """The memory that processes take up; what several share counts once."""
    return sum(_proportional_bytes(task) for task in tasks)


def disk_of(folder: str, tasks: Iterable[Task] = ()) -> int:
    """What lies below a folder, and what these processes hold open of it after they deleted it.

    Raises:
        UnmeasurableError: a folder cannot be looked into.
    """
    used = sum(max(found.st_blocks * BLOCK_BYTES, ENTRY_BYTES) for _, found in entries(folder))
    device, deleted = os.stat(folder).st_dev, {}  # noqa: PTH116
    for task in tasks:
        for name in _names(f"/proc/{task.pid}/fd"):
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{task.pid}/fd/{name}")  # noqa: PTH116
                if found.st_nlink == 0 and found.st_dev == device and stat.S_ISREG(found.st_mode):
                    deleted[found.st_ino] = found.st_blocks * BLOCK_BYTES
    return used + sum(deleted.values())


def entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every path below a folder and what it is; links are not followed.

    Raises:
        UnmeasurableError: a folder cannot be looked into.
    """
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as listed:
                for entry in listed:
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path, entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UnmeasurableError(f"{here[:200]}: {error.strerror}") from error


def free_bytes(folder: str) -> int:
    """How much of the disk below a folder is free."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def tasks_of_the_system() -> int:
    """How many processes and threads there are; 0 where nothing tells."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def memory_there_is() -> int:
    """The memory that this container may take, or that the machine has."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _cgroups():
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text()))
    return min(limit for limit in limits if limit > 0)


def kills_for_memory() -> int:
    """A number that grows when the kernel ends a process, here or on this machine, for want of memory."""
    files = [folder / name for folder in _cgroups() for name in ("memory.events", "memory.oom_control")]
    kills = 0
    for file in (*files, Path("/proc/vmstat")):
        with contextlib.suppress(OSError, ValueError):
            lines = (line.split() for line in file.read_text().splitlines())
            kills += sum(int(number) for name, number in lines if name == "oom_kill")
    return kills


def _cgroups() -> list[Path]:
    """The folders of this process's control group and of those above it, of version 2 and 1."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in {"", "memory"}:
                top = Path("/sys/fs/cgroup", controllers)
                own = top / path.strip("/")
                found += [folder for folder in (own, *own.parents) if folder.is_relative_to(top)]
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _task(pid: int) -> tuple[int, Task] | None:
    """The parent of a process and what it takes up; None where it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in {b"Z", b"X"}:
        return None
    return int(fields[1]), Task(pid, int(fields[17]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def _proportional_bytes(task: Task) -> int:
    try:
        for line in Path(f"/proc/{task.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return task.resident_bytes
    return task.resident_bytes
