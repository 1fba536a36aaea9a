"""Run a command in a process group of its own, and end the group once whoever asked for it is gone.

    python supervise.py GRACE_SECONDS COMMAND [ARGUMENT...]

Standard input is held open by whoever asked; its end is the sign. Imports the standard library alone.
"""

import os
import signal
import subprocess
import sys
import threading
import time


def main() -> int:
    """Runs the command; its exit code, 128 and the signal's number where one ended it."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    watching = threading.Thread(target=_watch, args=(child.pid, grace_seconds), daemon=True)
    watching.start()
    code = child.wait()
    _signal(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _watch(group: int, grace_seconds: float) -> None:
    while os.read(0, 4096):
        pass
    _signal(group, signal.SIGTERM)
    time.sleep(grace_seconds)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main())
