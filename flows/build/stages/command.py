"""Commands: a recipe's own programs, each in the folder that the one before it left."""

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import duckdb

from flows.build.recipe.lock import Lock
from flows.build.recipe.schema import VERSION_PREV, Command, CommandType, ConnectorArg
from flows.build.stages import supervise
from flows.tables.folders import below, pack, unpack
from flows.tables.progress import printed_lines
from flows.tables.table import Table, database, read_table
from larder.artifacts import File, Frozen, Output

PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What a command gets of our own environment: nothing that could be secret."""
GRACE_SECONDS = 5.0
LINES_SHOWN = 10
PYTHON = """
import importlib, os, sys
sys.path.insert(0, os.getcwd())
module, _, name = sys.argv.pop(1).partition(":")
getattr(importlib.import_module(module), name or "main")()
"""


class CommandError(Exception):
    """A command that failed, or did not write what it promised."""


class CommandFiles(Frozen):
    """The files beside a recipe that its commands use."""

    archive: File
    """All of them, as one tar file."""
    files: dict[str, str]
    """sha256 of each, by its path below the recipe's folder."""


class Ran(Output):
    """What a command left."""

    folder: File
    """Its folder, as one tar file."""
    tables: dict[str, Table]
    """The tables that it promised, from `$LARDER_OUTPUT_DIR`."""


def given_to(definition: Command, lock: Lock) -> dict[str, Any]:
    """What one command of a lock is told, besides the tables and the folder that it finds.

    Its variables are the recipe's `env`, the stage's and its own, the later over the earlier.
    """
    about = {"LARDER_PRODUCT": lock.product, "LARDER_VERSION": lock.version}
    if previous := lock.env.get(VERSION_PREV):
        about["LARDER_VERSION_PREV"] = previous
    last = definition == lock.build.commands[-1]
    return {
        "definition": definition.model_copy(update={"limit_seconds": None, "env": {}}),
        "env": {**about, **lock.env, **lock.build.env, **definition.env},
        "connector_args": lock.build.connector_args,
        "promised": lock.build.tables if last else (),
    }


def command(  # noqa: PLR0913
    definition: Command,
    *,
    env: Mapping[str, str],
    connector_args: Sequence[ConnectorArg],
    before: CommandFiles | File | None,
    tables: Mapping[str, Table],
    promised: Sequence[str],
    limit_seconds: float | None,
    say: Callable[[str], object],
    scratch: Path,
) -> Ran:
    """Run one command, saying each line that it prints, and keep the folder in which it ran.

    It finds every input and model as `$LARDER_INPUT_DIR/<name>.parquet`, writes the tables that it promised
    as `$LARDER_OUTPUT_DIR/<name>.parquet`, and sees of our environment only what `PASSED_ON` names.

    Args:
        env: as `given_to` layers it
        before: what the command before this one left, or the recipe's own files
        limit_seconds: after which the command and all that it started are ended

    Raises:
        CommandError: it ended with another exit code than 0, took too long, or broke its promise.
    """
    folder, inputs = scratch / "folder", scratch / "inputs"
    outputs, home = folder / "larder_output", scratch / "home"
    for made in (folder, inputs, home):
        made.mkdir()
    if before:
        archive = before.archive if isinstance(before, CommandFiles) else before
        unpack(Path(str(archive)), folder)
    outputs.mkdir(exist_ok=True)
    for name, table in tables.items():
        (inputs / f"{name}.parquet").symlink_to(Path(str(table.file)))
    environment = {
        **_passed_on(),
        "HOME": str(home),
        "TMPDIR": str(home),
        **env,
        "LARDER_INPUT_DIR": str(inputs),
        "LARDER_OUTPUT_DIR": str(outputs),
        **_connected(definition.name, connector_args),
    }
    _run(definition, folder, environment, limit_seconds, say)
    made_tables = {name: _promised(definition.name, name, outputs, scratch) for name in promised}
    return Ran(folder=pack(folder, below(folder), scratch / f"{definition.name}.tar"), tables=made_tables)


def _run(
    definition: Command,
    folder: Path,
    environment: dict[str, str],
    limit_seconds: float | None,
    say: Callable[[str], object],
) -> None:
    words = {
        CommandType.SHELL: ["sh", "-ec", definition.run],
        CommandType.PYTHON: [sys.executable, "-c", PYTHON, definition.run],
    }
    supervised = [
        sys.executable,
        "-I",
        supervise.__file__,
        str(GRACE_SECONDS),
        *words[definition.command_type],
    ]
    last: deque[str] = deque(maxlen=LINES_SHOWN)
    with (
        subprocess.Popen(
            supervised,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
        _limited(process, limit_seconds) as took_too_long,
    ):
        for line in printed_lines(cast(BufferedIOBase, process.stdout)):
            say(line)
            last.append(line)
        code = process.wait()
    if took_too_long.is_set():
        raise CommandError(
            _ended(definition, f"took longer than {limit_seconds:g} seconds and was ended", last)
        )
    if code:
        hint = " (not found: is it installed where builds run?)" if code == 127 else ""
        raise CommandError(_ended(definition, f"ended with exit code {code}{hint}", last))


@contextmanager
def _limited(process: subprocess.Popen[bytes], limit_seconds: float | None) -> Iterator[threading.Event]:
    """Lets go of the command when the time is over, or when something is raised here: then it is ended."""
    over = threading.Event()

    def end() -> None:
        over.set()
        if process.stdin:
            process.stdin.close()

    timer = threading.Timer(limit_seconds, end) if limit_seconds else None
    if timer:
        timer.start()
    try:
        yield over
    finally:
        if timer:
            timer.cancel()
        if process.stdin:
            process.stdin.close()


def _passed_on() -> dict[str, str]:
    """Our own environment as far as commands see it; programs installed beside us are found first."""
    found = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    beside = str(Path(sys.executable).parent)
    return {**found, "PATH": os.pathsep.join([beside, found.get("PATH", os.defpath)])}


def _connected(command_name: str, connector_args: Sequence[ConnectorArg]) -> dict[str, str]:
    """The stage's connector arguments as variables; secrets are read here and nowhere before."""
    found = {}
    for argument in connector_args:
        value = argument.value
        if argument.value_from:
            value = os.environ.get(argument.value_from.env)
            if value is None:
                raise CommandError(
                    f"Command {command_name}: {argument.name} is to come from the variable "
                    f"{argument.value_from.env}, which is not set where the build runs."
                )
        found[f"LARDER_CONNECTOR_{argument.name.upper().replace('-', '_')}"] = value or ""
    return found


def _promised(command_name: str, name: str, outputs: Path, scratch: Path) -> Table:
    file = outputs / f"{name}.parquet"
    if not file.is_file():
        found = sorted(path.name for path in outputs.iterdir()) if outputs.is_dir() else ()
        written = ", ".join(found) or "nothing"
        raise CommandError(
            f"Command {command_name} was to write $LARDER_OUTPUT_DIR/{name}.parquet, and wrote {written}."
        )
    try:
        with database(scratch) as connection:
            return read_table(connection, file)
    except duckdb.Error as error:
        raise CommandError(
            f"Command {command_name} wrote {name}.parquet, which is no Parquet: {error}"
        ) from error


def _ended(definition: Command, how: str, last: Sequence[str]) -> str:
    said = "".join(f"\n  {line}" for line in last)
    return f"Command {definition.name} {how}.{' It said last:' if said else ''}{said}"
