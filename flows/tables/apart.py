"""Functions called in a process of their own: confined, within limits, and without what ours knows.

What such a function takes and gives are plain values and files; nothing is unpickled.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from flows.tables import apart_server, confinement
from flows.tables.confinement import Rules
from flows.tables.progress import Say
from flows.tables.supervision import Ended, Limits
from larder import artifacts

Value = TypeVar("Value")

IMPORTED_AT = time.time()
"""When this process had imported the code that is called apart."""
START = (
    "import json, sys; sys.path += json.loads(sys.argv.pop()); "
    "from flows.tables.apart_server import main as serve; serve()"
)
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
CODE = (Path(apart_server.__file__).absolute().parents[1], Path(artifacts.__file__).absolute().parent)
LIBRARIES = ("site-packages", "dist-packages")
ABOUT_THE_SYSTEM = (
    *("/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/proc/meminfo", "/proc/cpuinfo"),
    *("/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu", "/sys/fs/cgroup"),
)
"""What libraries read that are called apart, besides themselves."""
_guard = threading.Lock()
_servers: dict[int, tuple[subprocess.Popen[bytes], socket.socket]] = {}


class ApartError(Exception):
    """A function that was called apart and did not answer, or raised what nobody expects.

    Attributes:
        ended: how its process ended, where it did not answer
        printed: what it wrote last to standard error
    """

    def __init__(self, message: str, ended: Ended | None = None, printed: str = "") -> None:
        super().__init__(message)
        self.ended = ended
        self.printed = printed


@dataclass(frozen=True)
class Sandbox:
    """Where a function runs that is called apart, and what it may take and reach."""

    folder: Path
    """What it may write, and where it starts."""
    limits: Limits
    readable: tuple[Path, ...] = ()
    """What it may read besides."""


def prepare(*modules: str) -> None:
    """Starts what the first call apart would start, and imports these modules there. Waits for nothing."""
    with _guard:
        _server(modules)


def call_apart(  # noqa: PLR0913
    function: Callable[..., Value],
    arguments: Mapping[str, object],
    sandbox: Sandbox,
    *,
    raises: tuple[type[Exception], ...] = (),
    modules: Sequence[str] = (),
    say: Say = print,
) -> Value:
    """What a function of a module returns that is called in a process of its own.

    Args:
        function: takes these arguments and `say`; all that it takes and gives has a form in JSON
        raises: exceptions that are raised here as they were raised there, with their text alone
        modules: modules to import before, once for all calls

    Raises:
        ApartError: it ended without an answer, or raised something else.
    """
    python = [sys.prefix, sys.base_prefix, *(path for path in sys.path if Path(path).name in LIBRARIES)]
    paths = (*confinement.PROGRAMS, *ABOUT_THE_SYSTEM, *python, *map(str, CODE), *map(str, sandbox.readable))
    rules = Rules(abi=confinement.abi(), readable=paths, writable=(str(sandbox.folder),))
    asked = {
        "module": function.__module__,
        "function": function.__qualname__,
        "modules": list(modules),
        "arguments": to_jsonable_python(arguments),
        "folder": str(sandbox.folder),
        "limits": asdict(sandbox.limits),
        "rules": asdict(rules),
    }
    answer: dict[str, Any] = {}
    with _asked(asked) as caller, caller.makefile("rb") as lines:
        for line in lines:
            told = json.loads(line)
            if "say" in told:
                say(str(told.pop("say")))
            answer |= told
    return _answered(function, answer, raises)


def _answered(
    function: Callable[..., Value], answer: Mapping[str, Any], raises: tuple[type[Exception], ...]
) -> Value:
    if "value" in answer:
        returned: Any = get_type_hints(function)["return"]
        value: Value = TypeAdapter(returned).validate_python(answer["value"])
        return value
    if "raised" in answer:
        kinds, text = answer["raised"]["kinds"], answer["raised"]["text"]
        known = {kind.__name__: kind for kind in raises}
        for kind in kinds:
            if kind in known:
                raise known[kind](text)
        raise ApartError(f"{kinds[0]}: {text}" if text else kinds[0])
    ended = Ended(**(answer.get("ended") or {"code": -9, "reached": "gone"}))
    raise ApartError(f"it ended with code {ended.code} and no answer", ended, answer.get("printed", ""))


@contextlib.contextmanager
def _asked(question: Mapping[str, object]) -> Iterator[socket.socket]:
    """A socket over which the answers come; where nobody holds it any more, the function is ended."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, _guard:
            try:
                socket.send_fds(_server(), [b"."], [theirs.fileno()])
            except OSError:
                _servers.pop(os.getpid())[1].close()
                socket.send_fds(_server(), [b"."], [theirs.fileno()])
        ours.sendall(json.dumps(question).encode() + b"\n")
        yield ours


def _server(modules: Sequence[str] = ()) -> socket.socket:
    process, control = _servers.get(os.getpid(), (None, None))
    if control is None or process is None or process.poll() is not None:
        ours, theirs = socket.socketpair()
        paths = json.dumps([str(CODE[0].parent), *(str(Path(path).absolute()) for path in sys.path if path)])
        words = [sys.executable, "-I", "-S", "-c", START, str(IMPORTED_AT), *modules, paths]
        with theirs:
            process = subprocess.Popen(
                words, stdin=theirs.fileno(), env=ENVIRONMENT, start_new_session=True, cwd="/"
            )
        _servers[os.getpid()] = process, ours
        return ours
    return control
