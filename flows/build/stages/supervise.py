"""Runs a command of a recipe within limits, for as long as the process lives that asked for it.

One line of JSON on standard input says what to run; standard input is then held open, and its end is the sign
that nobody waits any more. How the command ended is written to the descriptor `report`, as JSON.
Imports the standard library alone.
"""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import Any, NoReturn

from flows.tables import confinement, measures
from flows.tables.confinement import Rules
from flows.tables.supervision import Ended, Limits, supervise

NOT_FOUND = 127


def main() -> None:
    """Runs what standard input says, and reports."""
    asked = json.loads(_first_line(0))
    report = asked["report"]
    os.set_inheritable(report, False)
    rules = Rules(**{name: _fixed(value) for name, value in asked["rules"].items()})
    if rules.abi < confinement.SCOPES_ABI:
        _guarded(report)
    ended = supervise(lambda: _execute(asked), asked["room"], Limits(**asked["limits"]), rules, gone=0)
    _write(report, ended)


def _execute(asked: dict[str, Any]) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["folder"])
    words = asked["words"]
    try:
        os.execvpe(words[0], words, asked["environment"])  # noqa: S606
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(NOT_FOUND)


def _guarded(report: int) -> None:
    """Goes on in a child. Where a command kills that, this process ends all that the command started."""
    confinement.adopt_orphans()
    child = os.fork()
    if child == 0:
        return
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    while tasks := measures.descendants(os.getpid()):
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(task.pid, signal.SIGKILL)
        time.sleep(0.01)
    if code < 0:
        _write(report, Ended(code, "killed"))
    os._exit(0)


def _first_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1)
        if not piece:
            raise SystemExit(1)
        line += piece
    return line


def _write(report: int, ended: Ended) -> None:
    os.write(report, json.dumps(asdict(ended)).encode())


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
