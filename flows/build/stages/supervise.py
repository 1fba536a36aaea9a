"""Run a command in a process group of its own, and end the group once whoever asked for it is gone.

    python supervise.py GRACE_SECONDS COMMAND [ARGUMENT...]

Standard input is held open by whoever asked; its end is the sign. On Linux what left the group is ended too.
Imports the standard library alone.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Runs the command; its exit code, 128 and the signal's number where one ended it."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    _adopt_orphans()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    watching = threading.Thread(target=_watch, args=(child.pid, grace_seconds), daemon=True)
    watching.start()
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)
    _end_orphans()
    return code if code >= 0 else 128 - code


def _watch(group: int, grace_seconds: float) -> None:
    while os.read(0, 4096):
        pass
    _signal(group, signal.SIGTERM)
    time.sleep(grace_seconds)
    _signal(group, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Become the parent of every process below whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans() -> None:
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.wait()


def _children() -> list[int]:
    found = []
    for folder in Path("/proc").iterdir() if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError):
            number, about = int(folder.name), (folder / "stat").read_bytes()
            if int(about.rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(number)
    return found


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main())
