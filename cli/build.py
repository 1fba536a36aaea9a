"""`larder build` and `larder explain`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.asked import Asked, How, answered, explained, foresee
from cli.exits import EXIT_CODES, errors_of_the_world
from larder.environment import forget_prefect, reach_directly
from larder.refusal import Problem, RefusedError
from larder.settings import CHECKOUT, SettingsError, settings

Command = TypeVar("Command", bound=Callable[..., Any])
NEWEST = ""
"""`--locked` without a version."""


@dataclass(frozen=True)
class AskedRecipe:
    """Which recipe is meant, and how it is to be taken."""

    path: str | None
    simulate: bool
    real: bool
    locked: str | None
    var: Sequence[str]

    @property
    def file(self) -> Path:
        """The recipe's file: the one given, else `recipe.yml` here, else the shipped one."""
        if self.path is not None:
            return Path(self.path)
        beside = Path("recipe.yml")
        return beside if beside.exists() else CHECKOUT / "recipe.yml"


def _stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    from flows.build import definitions  # noqa: F401
    from larder.definition import defined_stages

    return [name for name in defined_stages() if name.startswith(incomplete)]


def recipe_options(command: Command) -> Command:
    """The options that say which recipe is meant."""
    for option in reversed(
        (
            click.argument("recipe", required=False, metavar="[RECIPE]"),
            click.option("--simulate", is_flag=True, help="Make the data up."),
            click.option("--real", is_flag=True, help="Build real data, even if the recipe is simulated."),
            click.option(
                "--locked",
                is_flag=False,
                flag_value=NEWEST,
                metavar="[VERSION]",
                help="The lock of a published version, or of the newest.",
            ),
            click.option("--var", multiple=True, metavar="NAME=VALUE", help="A variable of the recipe."),
            click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
        )
    ):
        command = option(command)
    return command


def run_parameters() -> list[click.Parameter]:
    """The options of every run."""
    return [
        click.Option(
            ["--force"],
            multiple=True,
            metavar="STAGE[:NAME]",
            help="Execute it, even if finished.",
            shell_complete=_stages,
        ),
        click.Option(
            ["--fail-at"],
            metavar="STAGE",
            help="Let the first attempt fail there.",
            shell_complete=_stages,
        ),
    ]


def run_options(command: Command) -> Command:
    """Give a command the options of every run."""
    found: list[click.Parameter] = getattr(command, "__click_params__", [])
    command.__click_params__ = [*found, *reversed(run_parameters())]  # type: ignore[attr-defined]
    return command


@click.command(
    epilog="Exit code: 0 completed, 1 failed, 2 refused (fix the recipe or the command). "
    "Example: larder build recipe.yml --real"
)
@recipe_options
@run_options
@click.option("--on-worker", is_flag=True, help="Build through the deployment.")
def build(  # noqa: PLR0913, PLR0917
    recipe: str | None,
    simulate: bool,
    real: bool,
    locked: str | None,
    var: tuple[str, ...],
    as_json: bool,
    force: tuple[str, ...],
    fail_at: str | None,
    on_worker: bool,
) -> int:
    """Build a recipe and publish its package, executing only what was not finished before.

    RECIPE is by default ./recipe.yml, else the shipped one.
    """
    asked_recipe = AskedRecipe(recipe, simulate, real, locked, var)
    return _build(asked_recipe, How(force, fail_at, on_worker=on_worker), as_json)


@click.command(
    epilog="Exit code: 0 completed, 1 failed, 2 refused. Example: python -m flows.build recipe.yml"
)
@recipe_options
@run_options
def build_without_server(  # noqa: PLR0913, PLR0917
    recipe: str | None,
    simulate: bool,
    real: bool,
    locked: str | None,
    var: tuple[str, ...],
    as_json: bool,
    force: tuple[str, ...],
    fail_at: str | None,
) -> int:
    """Build a recipe with no server and no worker, only the store."""
    forget_prefect(os.environ)
    reach_directly(os.environ)
    asked_recipe = AskedRecipe(recipe, simulate, real, locked, var)
    return _build(asked_recipe, How(force, fail_at, without_server=True), as_json)


@click.command(
    epilog="Exit code: 0, 1 if the store or the catalog does not answer, 2 refused. "
    "Example: larder explain recipe.yml --json"
)
@recipe_options
def explain(  # noqa: PLR0913, PLR0917
    recipe: str | None,
    simulate: bool,
    real: bool,
    locked: str | None,
    var: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say what a build would run, what it would reuse, and why. Changes nothing."""
    asked_recipe = AskedRecipe(recipe, simulate, real, locked, var)
    try:
        asked = _asked(asked_recipe, How(), carry=False)
    except (RefusedError, SettingsError) as error:
        click.echo(error, err=True)
        return EXIT_CODES["refused"]
    except errors_of_the_world() as error:
        click.echo(error, err=True)
        return EXIT_CODES["failed"]
    return explained(asked, as_json, "dataset")


def _build(recipe: AskedRecipe, how: How, as_json: bool) -> int:
    from flows.build.flow import build as pipeline

    def prepare() -> Asked:
        how.check()
        return _asked(recipe, how, carry=True)

    return answered(Asked(pipeline, {}, how), as_json, prepare)


def _asked(recipe: AskedRecipe, how: How, *, carry: bool) -> Asked:
    from flows.build.command_files import named
    from flows.build.flow import build as pipeline

    read = read_recipe_for(recipe)
    labels = {"product": read.product}
    if not read.build.files or read.simulate is not None:
        return Asked(pipeline, {"recipe": read}, how, labels)
    files = named(read, recipe.file.absolute().parent)
    asked = Asked(pipeline, {"recipe": read, "command_files": files}, how, labels)
    return _carried(asked, recipe) if carry else asked


def _carried(asked: Asked, recipe: AskedRecipe) -> Asked:
    """The same, with the command files in the bucket; a recipe that plan would refuse leaves none there."""
    from flows.build.command_files import carried
    from larder.connection import open_store

    if foresee(asked).nothing_to_do and asked.how.may_be_skipped:
        return asked
    read = asked.arguments["recipe"]
    files = carried(read, recipe.file.absolute().parent, open_store(settings()))
    return replace(asked, arguments={**asked.arguments, "command_files": files})


def read_recipe_for(asked: AskedRecipe) -> Any:
    """The recipe that is meant, checked as far as can be without the catalog.

    Raises:
        RefusedError: it has to be fixed.
    """
    from flows.build.planning.checks import check_real
    from flows.build.recipe.file import read_recipe
    from flows.build.recipe.schema import real, simulated
    from flows.build.releases import published_lock
    from larder.connection import open_store

    if asked.simulate and asked.real:
        problem = Problem("command line", "--simulate and --real", "one of them")
        raise RefusedError("larder", problem)
    recipe = read_recipe(asked.file, _variables(asked.var), os.environ)
    if asked.locked is not None:
        recipe = published_lock(open_store(settings()), recipe.product, _version(asked.locked))
    if asked.simulate:
        recipe = simulated(recipe)
    if asked.real:
        recipe = real(recipe)
    if recipe.simulate is None:
        check_real(recipe)
    return recipe


def _variables(given: Sequence[str]) -> Mapping[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, equals, _ in pairs:
        if not (name.isidentifier() and equals):
            raise RefusedError("--var", Problem("variable", repr(name + equals), "NAME=VALUE"))
    return {name: value for name, _, value in pairs}


def _version(given: str) -> str | None:
    from larder.names import is_plain_name

    if given and not is_plain_name(given):
        raise RefusedError("--locked", Problem("version", repr(given), "a published version"))
    return given or None
