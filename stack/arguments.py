"""What `setup.sh` can be told. Imports the standard library alone: nothing is installed yet."""

import argparse
from dataclasses import dataclass
from typing import Literal

Mode = Literal["docker", "local"]
COMMANDS = ("start", "run", "test", "doctor", "login", "down")

USAGE = """\
usage: ./setup.sh [--docker | --local]      start the stack, create the blocks, deploy; print the URLs
       ./setup.sh run [RECIPE]              all of that, then build RECIPE (recipe.yml) on the worker
       ./setup.sh test [ARGUMENT...]        install and run all tests; the arguments go to pytest
       ./setup.sh doctor [--json]           check everything that is running
       ./setup.sh login                     print what to type where a page asks for a login
       ./setup.sh down [--volumes [--yes]]  end what was started; --volumes removes its data too, and asks
                                            before unless --yes is given

--docker: in containers, which is meant where neither flag is given and a Docker engine answers.
--local: as processes of this machine. The last start's mode holds until down.
Flags may stand anywhere (after test they are pytest's). LARDER_HOME says where the stack keeps its files
(.larder in the checkout)."""


@dataclass(frozen=True)
class Arguments:
    """One call of `setup.sh`."""

    command: str
    mode: Mode | None
    volumes: bool
    rest: tuple[str, ...]
    """The recipe of `run`, or what `test` hands to pytest."""
    yes: bool = False
    """Whether to remove data without a question."""
    as_json: bool = False
    """Whether the doctor answers with one JSON document."""


class UsageError(ValueError):
    """There is no such command or flag."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(message)


def parse(words: list[str]) -> Arguments:
    """The call that these words make.

    Raises:
        UsageError: they make none.
    """
    if "test" in words:
        at = words.index("test")
        before = _parse(words[:at])
        if before.command == "start":
            return Arguments("test", before.mode, before.volumes, tuple(words[at + 1 :]))
    return _parse(words)


def _parse(words: list[str]) -> Arguments:
    parser = _Parser(prog="setup.sh", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--docker", dest="mode", action="store_const", const="docker")
    modes.add_argument("--local", dest="mode", action="store_const", const="local")
    parser.add_argument("--volumes", action="store_true")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    found = parser.parse_intermixed_args(words)
    command, *rest = found.words or ["start"]
    if found.help:
        return Arguments("help", None, volumes=False, rest=())
    if command not in COMMANDS:
        raise UsageError(f"unknown command {command!r}: valid are {', '.join(COMMANDS[1:])}, or none")
    if len(rest) > (1 if command == "run" else 0):
        raise UsageError(f"{command} does not take {' '.join(rest)!r}")
    if found.volumes and command != "down":
        raise UsageError("--volumes belongs to down")
    if found.yes and not found.volumes:
        raise UsageError("--yes belongs to down --volumes")
    if found.json and command != "doctor":
        raise UsageError("--json belongs to doctor")
    return Arguments(command, found.mode, found.volumes, tuple(rest), found.yes, found.json)
