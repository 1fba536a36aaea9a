"""The `larder` command. Each command imports what it needs; Prefect only where a run begins."""

import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.exits import EXIT_CODES, INTERRUPTED, wants_json
from larder.environment import settle
from larder.refusal import Problem, RefusedError
from larder.report import Ended, Report
from larder.settings import home_folder, stack_environment

QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""Prefect's own lines go to its UI; what a person needs, the command prints."""
COMMANDS = {
    "build": "cli.build:build",
    "explain": "cli.build:explain",
    "run": "cli.run:run",
    "activity": "cli.activity:activity",
    "ingest": "cli.ingest:ingest",
    "streams": "cli.streams:streams",
    "runs": "cli.runs:runs",
    "status": "cli.runs:status",
    "logs": "cli.runs:logs",
    "new": "cli.new:new",
    "medallion": "cli.medallion:medallion",
    "doctor": "cli.doctor:doctor",
}
"""Where each command is; its module is imported once it is named."""
SHORT = {
    "build": "Build a recipe, executing only what was not finished before.",
    "explain": "Say what a build would run, what it would reuse, and why.",
    "run": "Run a pipeline, executing only what was not finished before.",
    "activity": "The sample API of the pipeline activity.",
    "ingest": "The sample web of the pipeline ingest.",
    "streams": "Made-up events and a small Redis for the pipeline stream_writer.",
    "runs": "List the newest runs of all pipelines.",
    "status": "Say how a run stands.",
    "logs": "Print the log of a run.",
    "new": "Write the skeleton of a new pipeline.",
    "medallion": "Samples and configurations of the pipeline medallion.",
    "doctor": "Check that everything works.",
}


class Commands(click.Group):
    """Imports a command once it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """One command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SHORT[name]) for name in COMMANDS])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def larder() -> None:
    """Data pipelines that never redo finished work.

    \b
    larder build recipe.yml          build a product
    larder explain recipe.yml        say what that would do
    larder run PIPELINE              run another pipeline
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `larder` command; its exit code is 0 for done, 1 for failed, 2 for refused."""
    return invoke(larder, arguments, "larder")


def invoke(command: click.Command, arguments: Sequence[str] | None, name: str) -> int:
    """Run a command, and say what a person has to mend; the exit code."""
    settle(os.environ, stack_environment(), str(home_folder() / "prefect-client"))
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    words = list(sys.argv[1:] if arguments is None else arguments)
    _say_warnings()
    try:
        code = command.main(words, prog_name=name, standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        problem = Problem("command line", error.format_message(), f"what `{path} --help` says")
        return _refuse(RefusedError(path, problem), name, words)
    except (KeyboardInterrupt, click.Abort):
        print("Interrupted. What was finished is kept; run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    return int(code or 0)


def _refusal(error: RefusedError, name: str, words: Sequence[str]) -> dict[str, Any]:
    if "build" in (*words[:1], name.rpartition(".")[2]):
        from flows.build.report import BuildReport

        return BuildReport().document(Ended("build", None, {}, (), None, error))
    return Report().document(Ended(words[0] if words else name, None, {}, (), None, error))


def _refuse(error: RefusedError, name: str, words: Sequence[str]) -> int:
    if wants_json(words):
        print(json.dumps(_refusal(error, name, words), indent=2))
    print(f"Refused: {error}", file=sys.stderr)
    return EXIT_CODES["refused"]


def _say_warnings() -> None:
    said = logging.StreamHandler(sys.stderr)
    said.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    for name in ("blocks", "cli", "flows", "larder"):
        logging.getLogger(name).handlers[:] = [said]


if __name__ == "__main__":
    sys.exit(main())
