"""A process without threads and secrets that forks one process for each function that is called apart.

Standard input is a socket. Over it comes one socket for each call; its end is the end of this process.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from pydantic import TypeAdapter, validate_call

from flows.tables.confinement import Rules
from flows.tables.supervision import Limits, supervise

CODE = Path(__file__).parents[2]
OURS = tuple(f"{CODE / package}{os.sep}" for package in ("flows", "larder"))
LAST_BYTES = 2000
"""How much of what a process wrote to standard error is told when it did not answer."""


class StaleCodeError(Exception):
    """Code was changed after the process imported it that asks for it."""


def main() -> None:
    """Serves until nobody asks any more.

    The arguments are when who asks had imported its code, and modules to import before it is asked.
    """
    imported_at = float(sys.argv[1])
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for module in sys.argv[2:]:
        with contextlib.suppress(Exception):
            _imported(module, imported_at)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as caller:
                _serve(control, caller, imported_at)


def _serve(control: socket.socket, caller: socket.socket, imported_at: float) -> None:
    try:
        with caller.makefile("rb") as lines:
            asked = json.loads(lines.readline())
        for module in (asked["module"], *asked["modules"]):
            _imported(module, imported_at)
        function = _checked(asked["module"], asked["function"])
    except Exception as error:  # noqa: BLE001
        with contextlib.suppress(OSError):
            _send(caller, {"raised": _raised(error), "ended": None})
        return
    if os.fork() == 0:
        control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _watch_over(caller, function, asked)


@cache
def _checked(module: str, name: str) -> Callable[..., Any]:
    """A function that takes arguments as they come out of JSON, and returns what can be put into it."""
    function = getattr(sys.modules[module], name)
    returned: Any = get_type_hints(function)["return"]
    adapter, call = TypeAdapter(returned), validate_call(function)
    return lambda **arguments: adapter.dump_python(call(**arguments), mode="json")


def _imported(name: str, imported_at: float) -> None:
    if name in sys.modules:
        return
    before = set(sys.modules)
    importlib.import_module(name)
    for new in set(sys.modules) - before:
        file = getattr(sys.modules[new], "__file__", None) or ""
        if file.startswith(OURS) and Path(file).stat().st_mtime > imported_at:
            raise StaleCodeError(f"{new} was changed after this run began: run it again")


def _watch_over(caller: socket.socket, function: Callable[..., object], asked: dict[str, Any]) -> NoReturn:
    try:
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            rules = Rules(**{name: _fixed(value) for name, value in asked["rules"].items()})
            limits = Limits(**asked["limits"])
            call = lambda: _call(caller, function, asked["arguments"])  # noqa: E731
            ended = supervise(call, asked["folder"], limits, rules, gone=caller.fileno())
            printed.seek(max(0, printed.seek(0, os.SEEK_END) - LAST_BYTES))
            said = printed.read().decode(errors="replace")
        with contextlib.suppress(OSError):
            _send(caller, {"ended": asdict(ended), "printed": said})
    finally:
        os._exit(0)


def _call(caller: socket.socket, function: Callable[..., object], arguments: dict[str, Any]) -> None:
    def say(line: str) -> None:
        _send(caller, {"say": line})

    try:
        answer = {"value": function(**arguments, say=say)}
    except Exception as error:  # noqa: BLE001
        answer = {"raised": _raised(error)}
    _send(caller, answer)


def _raised(error: Exception) -> dict[str, Any]:
    return {"kinds": [kind.__name__ for kind in type(error).__mro__], "text": str(error)}


def _send(caller: socket.socket, message: dict[str, Any]) -> None:
    caller.sendall(json.dumps(message).encode() + b"\n")


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
