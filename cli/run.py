"""`larder run PIPELINE`: the parameters of a pipeline are its options."""

import inspect
import os
import types
import typing
from collections.abc import Sequence
from typing import Any

import click

from cli.asked import Asked, How, answered, explained
from cli.build import run_parameters
from cli.main import invoke
from cli.pipelines import pipeline_named, pipeline_names
from cli.variables import configuration_for
from larder.environment import forget_prefect, reach_directly
from larder.pipeline import Pipeline
from larder.refusal import RefusedError
from larder.settings import SettingsError

CONFIGURATION = "configuration"
TAKEN = ("recipe", "command_files", CONFIGURATION)


class Pipelines(click.Group):
    """Makes a command of each pipeline once it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All pipelines but builds, which have a command of their own."""
        return [name for name in pipeline_names() if name != "build"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of one pipeline."""
        if cmd_name == "build":
            raise click.UsageError("a build is run by `larder build RECIPE`")
        found = pipeline_named(cmd_name)
        return None if found is None else command_of(found, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The names, without importing the pipelines."""
        with formatter.section("Pipelines"):
            formatter.write_dl([(name, f"larder run {name} --help") for name in self.list_commands(ctx)])


@click.command(cls=Pipelines, epilog="Example: larder run activity --explain")
def run() -> None:
    """Run a pipeline, executing only what was not finished before."""


def command_of(pipeline: Pipeline[..., Any], name: str, *, without_server: bool = False) -> click.Command:
    """The command that runs a pipeline."""

    def called(**given: Any) -> int:
        as_json, explain = given.pop("as_json"), given.pop("explain", False)
        how = How(
            given.pop("force"),
            given.pop("fail_at"),
            on_worker=given.pop("on_worker", False),
            without_server=without_server,
        )

        def prepare() -> Asked:
            how.check()
            return Asked(pipeline, _arguments(pipeline, given), how)

        if explain:
            return _explained(prepare, as_json)
        return answered(Asked(pipeline, {}, how), as_json, prepare)

    parameters = [*_configuration(pipeline), *_options(pipeline)]
    command = click.Command(
        name,
        params=parameters,
        callback=called,
        help=_help(pipeline),
        epilog="Exit code: 0 completed, 1 failed, 2 refused (fix the configuration or the command). "
        f"Example: larder run {name} --explain",
    )
    command.params += [
        click.Option(["--json", "as_json"], is_flag=True, help="One JSON document on stdout."),
    ]
    command.params += run_parameters()
    if not without_server:
        command.params += [
            click.Option(["--explain"], is_flag=True, help="Say what would run, and why. Changes nothing."),
            click.Option(["--on-worker"], is_flag=True, help="Run it through its deployment."),
        ]
    return command


def _explained(prepare: Any, as_json: bool) -> int:
    try:
        return explained(prepare(), as_json)
    except (RefusedError, SettingsError) as error:
        click.echo(error, err=True)
        return 2


def _arguments(pipeline: Pipeline[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    configured = given.pop(CONFIGURATION, None) or given.pop("named", None)
    given.pop("named", None)
    changes = given.pop("changes", ())
    arguments = {name: value for name, value in given.items() if value not in (None, ())}
    if pipeline.configurations is not None:
        arguments[CONFIGURATION] = configuration_for(pipeline, configured, changes)
    return arguments


def _configuration(pipeline: Pipeline[..., Any]) -> list[click.Parameter]:
    known = pipeline.configurations
    if known is None:
        return []
    names = ", ".join(known.names())
    parameters: list[click.Parameter] = [
        click.Argument([CONFIGURATION], required=False, metavar="[CONFIGURATION]"),
        click.Option(
            ["--set", "changes"],
            multiple=True,
            metavar="NAME=VALUE",
            help=f"Put over the configuration, as a.b=3. Configurations: {names}.",
        ),
    ]
    if known.called:
        parameters.append(
            click.Option([f"--{known.called}", "named"], help="The configuration, by its name.")
        )
    return parameters


def _options(pipeline: Pipeline[..., Any]) -> list[click.Parameter]:
    hints = typing.get_type_hints(pipeline.body)
    found: list[click.Parameter] = []
    for name, parameter in inspect.signature(pipeline.body).parameters.items():
        if name in TAKEN:
            continue
        kind, multiple = _kind(hints.get(name, str))
        required = parameter.default is inspect.Parameter.empty
        option = f"--{name.replace('_', '-')}"
        if kind is bool:
            found.append(click.Option([option, name], is_flag=True))
        else:
            found.append(click.Option([option, name], type=kind, multiple=multiple, required=required))
    return found


def _kind(hint: Any) -> tuple[type, bool]:
    """The type of an option, and whether it may be given several times."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if typing.get_origin(hint) in (Sequence, list, tuple):
        return typing.get_args(hint)[0], True
    return (hint if hint in (str, int, float, bool) else str), False


def _help(pipeline: Pipeline[..., Any]) -> str:
    text = inspect.getdoc(pipeline.body) or pipeline.name
    return text.split("\nArgs:")[0].split("\nRaises:")[0]


def main_without_server(name: str) -> int:
    """`python -m flows.NAME`: the pipeline's options are those of `larder run NAME`."""
    found = pipeline_named(name)
    if found is None:
        raise SystemExit(f"There is no pipeline {name}.")
    forget_prefect(os.environ)
    reach_directly(os.environ)
    return invoke(command_of(found, name, without_server=True), None, f"python -m flows.{name}")
