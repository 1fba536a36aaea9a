"""Runs a program of a recipe, confined and within limits, and tells what it printed and how it ended."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import cast

from flows.build.stages import supervise
from flows.build.stages.surroundings import Surroundings
from flows.tables import confinement
from flows.tables.bounds import Kind, limit_reached
from flows.tables.confinement import Rules
from flows.tables.progress import Say, printed_lines
from flows.tables.supervision import Ended, Limits

START = "import sys; sys.path.append(sys.argv.pop()); from flows.build.stages.supervise import main; main()"
CODE = Path(supervise.__file__).absolute().parents[3]
SHARED_MEMORY = "/dev/shm"  # noqa: S108
"""Where programs keep what their processes share, semaphores among it."""
LINES_SHOWN = 10
MOST_LINES = 10_000


class CommandError(Exception):
    """A command that failed, or did not write what it promised."""


@dataclass(frozen=True)
class Program:
    """What to run, and what it may read."""

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    """Where it starts."""
    room: Path
    """What it may write, and where that is measured; the folder lies in it."""
    readable: tuple[Path, ...]


def run_program(program: Program, surroundings: Surroundings, limits: Limits, say: Say) -> None:
    """Runs a program to its end and says each line that it prints. Nothing that it started outlives it.

    Raises:
        CommandError: it ended with another exit code than 0, or met a limit; or it cannot be confined.
    """
    rules = rules_of(program, surroundings)
    if surroundings.must_be_confined and rules.abi < confinement.FILES_ABI:
        raise CommandError(
            f"Command {program.name} is not run, as the kernel of this machine has no Landlock to confine "
            "it, and LARDER_CONFINE is `required`."
        )
    last: deque[str] = deque(maxlen=LINES_SHOWN)
    with _started(program, limits, rules) as (process, report):
        for number, line in enumerate(printed_lines(cast(BufferedIOBase, process.stdout))):
            last.append(line)
            if number < MOST_LINES:
                say(line)
            elif number == MOST_LINES:
                say(f"more than {MOST_LINES:,} lines: the others are not shown")
        process.wait()
        told = os.read(report, 2**16)
    ended = Ended(**json.loads(told)) if told else Ended(process.returncode, "killed")
    if reached := limit_reached(ended, limits, Kind.STAGE):
        raise CommandError(_said(program.name, reached, last))
    if ended.code:
        hint = " (not found: is it installed where builds run?)" if ended.code == 127 else ""
        raise CommandError(_said(program.name, f"ended with exit code {ended.code}{hint}", last))


def rules_of(program: Program, surroundings: Surroundings) -> Rules:
    """What a program may reach: the system's and Python's files, its inputs, and its own folder."""
    hidden = [path.resolve() for path in surroundings.hidden]
    folders = [Path(one) for one in surroundings.programs.split(os.pathsep) if Path(one).is_absolute()]
    further = [*folders, *map(Path, surroundings.certificates.values()), *surroundings.readable]
    system = [
        str(path)
        for one in confinement.system_paths(further)
        for path in confinement.without(Path(one).resolve(), hidden)
    ]
    return Rules(
        abi=confinement.abi() if surroundings.abi is None else surroundings.abi,
        readable=(*system, sys.prefix, sys.base_prefix, *map(str, program.readable)),
        writable=(str(program.room), SHARED_MEMORY),
        network=True,
    )


@contextmanager
def _started(program: Program, limits: Limits, rules: Rules) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process that watches over a program, and where it reports; it ends when this block does."""
    report, reporting = os.pipe()
    asked = {
        "words": program.words,
        "environment": dict(program.environment),
        "folder": str(program.folder),
        "room": str(program.room),
        "limits": asdict(limits),
        "rules": asdict(rules),
        "report": reporting,
    }
    try:
        with subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", START, str(CODE)],
            cwd="/",
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(reporting,),
            start_new_session=True,
        ) as process:
            os.close(reporting)
            held = cast(BufferedIOBase, process.stdin)
            try:
                held.write(json.dumps(asked).encode() + b"\n")
                held.flush()
                yield process, report
            finally:
                with suppress(BrokenPipeError):
                    held.close()
    finally:
        os.close(report)


def _said(name: str, how: str, last: Sequence[str]) -> str:
    said = "".join(f"\n  {line}" for line in last)
    return f"Command {name} {how}.{' It said last:' if said else ''}{said}"
