"""Commands: a recipe's own programs, each in the folder that the one before it left."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.build.recipe.lock import Lock
from flows.build.recipe.schema import VERSION_PREV, Command, CommandType, ConnectorArg
from flows.build.stages.running import CommandError, Program, run_program
from flows.build.stages.surroundings import Surroundings
from flows.tables import confinement
from flows.tables.apart import ApartError
from flows.tables.bounds import STAGE_MEMORY_BYTES, Bounds
from flows.tables.folders import below, pack, remove_tree, unpack
from flows.tables.memory import memory_share
from flows.tables.progress import Say
from flows.tables.reading import UnreadableError, described
from flows.tables.shared_memory import remove_shared_memory
from flows.tables.table import Table
from larder.artifacts import File, Frozen, Output

SETTLED = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""Language and time zone of every command, whatever ours are; a recipe may say others."""
PYTHON = """
import importlib, os, sys
sys.path.insert(0, os.getcwd())
module, _, name = sys.argv.pop(1).partition(":")
getattr(importlib.import_module(module), name or "main")()
"""


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
    elsewhere: dict[str, object] = {"env": {}, "limit_seconds": None, "limit_bytes": None}
    return {
        "definition": definition.model_copy(update=elsewhere),
        "env": {**about, **lock.env, **lock.build.env, **definition.env},
        "connector_args": lock.build.connector_args,
        "promised": lock.build.tables if last else (),
    }


def command(  # noqa: PLR0913
    definition: Command,
    *,
    env: Mapping[str, str],
    libraries: Mapping[str, str],  # noqa: ARG001
    connector_args: Sequence[ConnectorArg],
    before: CommandFiles | File | None,
    tables: Mapping[str, Table],
    promised: Sequence[str],
    limit_seconds: float | None,
    limit_bytes: int | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008
    surroundings: Surroundings = Surroundings(),  # noqa: B008
    say: Say,
    scratch: Path,
) -> Ran:
    """Run one command, saying each line that it prints, and keep the folder in which it ran.

    It finds every input and model as `$LARDER_INPUT_DIR/<name>.parquet`, writes the tables that it promised
    as `$LARDER_OUTPUT_DIR/<name>.parquet`, and sees nothing of our environment but its `surroundings`. It
    cannot change what it was given. Where it fails, all that it left is removed.

    Args:
        env: as `given_to` layers it
        libraries: the versions of the libraries that it may use, which only count in its key
        before: what the command before this one left, or the recipe's own files
        limit_seconds: after which the command and all that it started are ended
        limit_bytes: how much disk it may fill

    Raises:
        CommandError: it ended with another exit code than 0, met a limit, broke its promise, or cannot be run
            as confined as it has to be.
    """
    room = scratch / "room"
    folder, home, inputs = room / "folder", room / "home", scratch / "inputs"
    outputs = folder / "larder_output"
    for made in (room, folder, home, inputs):
        made.mkdir()
    limits = replace(bounds.of_stage(limit_seconds, limit_bytes), processes=bounds.stage_processes)
    began = time.time()
    try:
        if before:
            archive = before.archive if isinstance(before, CommandFiles) else before
            unpack(Path(str(archive)), folder)
        outputs.mkdir(exist_ok=True)
        environment = {
            **surroundings.environment,
            **SETTLED,
            "HOME": str(home),
            "TMPDIR": str(home),
            **env,
            "LARDER_INPUT_DIR": str(inputs),
            "LARDER_OUTPUT_DIR": str(outputs),
            **_connected(definition.name, connector_args, surroundings),
        }
        with _given(definition.name, tables, inputs, surroundings, say) as readable:
            words = _words(definition)
            program = Program(definition.name, words, environment, folder, room, (inputs, *readable))
            with memory_share(bounds, STAGE_MEMORY_BYTES, say):
                _say_what_is_open(surroundings, say)
                run_program(program, surroundings, limits, say)
        made_tables = {name: _promised(definition.name, name, folder, scratch, bounds) for name in promised}
        packed = pack(folder, below(folder), scratch / f"{definition.name}.tar")
        return Ran(folder=packed, tables=made_tables)
    finally:
        remove_shared_memory(began)
        remove_tree(room)


def _words(definition: Command) -> tuple[str, ...]:
    if definition.command_type is CommandType.PYTHON:
        return (sys.executable, "-c", PYTHON, definition.run)
    return ("sh", "-ec", definition.run)


@contextmanager
def _given(
    name: str, tables: Mapping[str, Table], inputs: Path, surroundings: Surroundings, say: Say
) -> Iterator[list[Path]]:
    """The tables in the folder of inputs, and the files that are to be readable for it.

    Where the kernel keeps a command from writing files, they are links, else copies. As their owner it can
    still change their permissions, which is undone.
    """
    files = {table: Path(str(found.file)) for table, found in tables.items()}
    if (confinement.abi() if surroundings.abi is None else surroundings.abi) < confinement.TRUNCATE_ABI:
        for table, file in files.items():
            shutil.copyfile(file, inputs / f"{table}.parquet")
        yield []
        return
    for table, file in files.items():
        (inputs / f"{table}.parquet").symlink_to(file)
    before = {table: file.stat() for table, file in files.items()}
    try:
        yield list(files.values())
    finally:
        for table, file in files.items():
            if file.stat().st_mode != before[table].st_mode:
                file.chmod(before[table].st_mode & 0o7777)
                say(f"{table}, an input, had its permissions changed, which is undone")
    for table, file in files.items():
        then, now = before[table], file.stat()
        if any(getattr(then, field) != getattr(now, field) for field in ("st_ino", "st_size", "st_mtime_ns")):
            raise CommandError(
                f"Command {name} changed its input {table}: what it is given is only to be read."
            )


def _say_what_is_open(surroundings: Surroundings, say: Say) -> None:
    version = confinement.abi() if surroundings.abi is None else surroundings.abi
    if still := confinement.open_still(version):
        say(
            f"commands are not wholly confined, as the kernel's Landlock has version {version}: "
            f"they can {', and '.join(still)}"
        )


def _connected(
    command_name: str, connector_args: Sequence[ConnectorArg], surroundings: Surroundings
) -> dict[str, str]:
    """The stage's connector arguments as variables; secrets are read here and nowhere before."""
    found = {}
    for argument in connector_args:
        value = argument.value
        if argument.value_from:
            variable = argument.value_from.env
            secret = surroundings.secrets.get(variable)
            if secret is None:
                raise CommandError(
                    f"Command {command_name}: {argument.name} is to come from the variable {variable}, "
                    "which is not set where the build runs, or not allowed there by LARDER_RECIPE_SECRETS."
                )
            value = secret.get_secret_value()
        found[f"LARDER_CONNECTOR_{argument.name.upper().replace('-', '_')}"] = value or ""
    return found


def _promised(command_name: str, name: str, folder: Path, scratch: Path, bounds: Bounds) -> Table:
    """A table that was promised, moved out of the folder; it has to be a file of its own."""
    outputs = folder / "larder_output"
    file = outputs / f"{name}.parquet"
    if not file.is_file() or file.resolve() != folder.resolve() / "larder_output" / file.name:
        found = sorted(path.name for path in outputs.iterdir()) if outputs.is_dir() else ()
        written = ", ".join(found) or "nothing"
        raise CommandError(
            f"Command {command_name} was to write $LARDER_OUTPUT_DIR/{name}.parquet, and wrote {written}."
        )
    kept = scratch / "tables" / file.name
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(file, kept)
    try:
        return described(kept, scratch, bounds)
    except (UnreadableError, ApartError) as error:
        raise CommandError(
            f"Command {command_name} wrote {name}.parquet, which is no Parquet: {error}"
        ) from error
