"""The `larder` command. Imports Prefect only once a build begins."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO
from zoneinfo import ZoneInfo

from cli.server import ServerMissing
from flows.build import report
from flows.build.catalog import Catalog, CatalogUnreachable
from flows.build.command_files import carried, named
from flows.build.explain import Explainer
from flows.build.options import forced, stage_named
from flows.build.planning.checks import check_real
from flows.build.publish import published_lock
from flows.build.recipe.file import read_recipe
from flows.build.recipe.schema import Recipe, real, simulated
from larder import s3
from larder.artifacts import Artifact
from larder.environment import forget_prefect, reach_directly, settle
from larder.names import is_plain_name
from larder.parameters import require_sendable
from larder.refusal import Problem, RefusedError
from larder.settings import CHECKOUT, SettingsError, home_folder, settings, stack_environment
from larder.store import Store, StoreError

EXIT_CODES = {"completed": 0, "failed": 1, "refused": 2}
INTERRUPTED = 130
START_SECONDS = 10
QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""Prefect's own lines go to its UI; what a person needs, the command prints."""


class Parser(argparse.ArgumentParser):
    """Refuses wrong words on the command line as a wrong recipe is refused."""

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            RefusedError: always.
        """
        raise RefusedError(self.prog, Problem("command line", message, f"what `{self.prog} --help` says"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `larder` command; its exit code is 0 for done, 1 for failed, 2 for refused."""
    settle(os.environ, stack_environment(), str(home_folder() / "prefect-client"))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"doctor": _doctor, "explain": _explain}
    run = commands.get(words[0] if words else "", partial(_build, alone=False))
    return run(words)


def build_alone(arguments: Sequence[str]) -> int:
    """`larder build` without a server or a worker, in this process and with a temporary Prefect API."""
    forget_prefect(os.environ)
    reach_directly(os.environ)
    return _build(["build", *arguments], alone=True)


def _build(words: list[str], *, alone: bool) -> int:
    as_json = "--json" in words
    out = sys.stderr if as_json else sys.stdout
    _say_warnings()
    try:
        answer = _answer(words, alone, out)
    except (RefusedError, SettingsError) as error:
        answer = report.refusal(error)
    except (StoreError, CatalogUnreachable, ServerMissing, s3.StoreNotConfiguredError) as error:
        answer = {**report.refusal(error), "state": "failed"}
    except KeyboardInterrupt:
        print("Interrupted. What was finished is kept; build again to go on.", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        print(json.dumps(answer, indent=2))
    report.say_end(answer, out, sys.stderr)
    return EXIT_CODES[answer["state"]]


def _explain(words: list[str]) -> int:
    _say_warnings()
    try:
        asked = _parser(alone=False).parse_args(_with_locked(words))
        store = _store()
        store.patient(START_SECONDS).check()
        recipe = _recipe(asked)
        files = named(recipe, _folder(asked), store)
        forecasts = _explainer(recipe, store, files).forecasts()
    except (RefusedError, SettingsError) as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["refused"]
    except (StoreError, CatalogUnreachable, s3.StoreNotConfiguredError) as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["failed"]
    if asked.json:
        print(json.dumps([forecast.document for forecast in forecasts], indent=2))
    else:
        report.say_forecasts(forecasts, sys.stdout)
    return 0


def _explainer(recipe: Recipe, store: Store, files: Artifact | None = None) -> Explainer:
    now = settings()
    day = datetime.now(ZoneInfo(now.timezone)).date()
    return Explainer(recipe, store, Catalog.at(now.catalog_url, store.fsspec), day, files)


def _doctor(words: list[str]) -> int:
    from stack import doctor
    from stack.home import Home
    from stack.steps import SetupError

    try:
        asked = _parser(alone=False).parse_args(words)
        stack = doctor.running(Home(home_folder()))
    except (RefusedError, SetupError, SettingsError) as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["failed" if isinstance(error, SetupError) else "refused"]
    return 0 if doctor.examine(stack, as_json=asked.json) else 1


def _say_warnings() -> None:
    said = logging.StreamHandler(sys.stderr)
    said.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    for name in ("blocks", "cli", "flows", "larder"):
        logging.getLogger(name).addHandler(said)


def _answer(words: list[str], alone: bool, out: TextIO) -> dict[str, Any]:
    asked = _parser(alone).parse_args(_with_locked(words))
    forced(asked.force)
    recipe = _recipe(asked)
    options = {
        "recipe": recipe,
        "force": sorted(asked.force),
        "fail_at": stage_named(asked.fail_at, "--fail-at") if asked.fail_at else None,
    }
    require_sendable(f"recipe of {recipe.product}", options)
    if recipe.build.files and recipe.simulate is None:
        options["own_files"] = _carried(recipe, _folder(asked))
    if alone:
        from cli.without_server import run_alone

        return run_alone(options, out)
    if asked.on_worker or _is_docker():
        from cli.following import run_on_worker

        return run_on_worker(options, out)
    from cli.in_process import run_here

    return run_here(options, out)


def _carried(recipe: Recipe, folder: Path) -> Artifact | None:
    """The recipe's own files, in the bucket; a recipe that plan would refuse leaves none there."""
    store = _store()
    _explainer(recipe, store).plan()
    return carried(recipe, folder, store)


def _with_locked(words: list[str]) -> list[str]:
    return ["--locked=" if word == "--locked" else word for word in words]


def _parser(alone: bool) -> Parser:
    parser = Parser("python -m flows" if alone else "larder", description="Versioned datasets from recipes.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser(
        "build",
        help="build a recipe, executing only what was not finished before",
        description="Build a recipe and publish its package, executing only what was not finished before.",
        epilog="Exit code: 0 completed, 1 failed, 2 refused (fix the recipe or the command).",
    )
    _add_recipe(build)
    build.add_argument(
        "--force", action="append", default=[], metavar="STAGE[:NAME]", help="execute it, even if finished"
    )
    build.add_argument("--fail-at", metavar="STAGE", help="let the first attempt fail there")
    if not alone:
        build.add_argument("--on-worker", action="store_true", help="build through the deployment")
        explain = commands.add_parser(
            "explain",
            help="say what a build would run, what it would reuse, and why",
            description="Say what a build would run, what it would reuse, and why. Changes nothing.",
            epilog="Exit code: 0, 1 if the store or the catalog does not answer, 2 refused.",
        )
        _add_recipe(explain)
        examine = commands.add_parser(
            "doctor",
            help="check that everything works",
            description="Check that everything which setup started works, a tiny run on the worker included.",
            epilog="Exit code: 0 if all checks hold, else 1.",
        )
        examine.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="default: ./recipe.yml, else the shipped one"
    )
    kind = command.add_mutually_exclusive_group()
    kind.add_argument("--simulate", action="store_true", help="make the data up")
    kind.add_argument("--real", action="store_true", help="build real data, even if the recipe is simulated")
    command.add_argument(
        "--locked", metavar="VERSION", help="the lock of a published version, or of the newest"
    )
    command.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="for the recipe")
    command.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _recipe(asked: argparse.Namespace) -> Recipe:
    recipe = read_recipe(_path(asked.recipe), _variables(asked.var), os.environ)
    if asked.locked is not None:
        recipe = published_lock(_store(), recipe.product, _version(asked.locked))
    if asked.simulate:
        recipe = simulated(recipe)
    if asked.real:
        recipe = real(recipe)
    if recipe.simulate is None:
        check_real(recipe)
    return recipe


def _path(given: str | None) -> Path:
    if given is not None:
        return Path(given)
    here = Path("recipe.yml")
    return here if here.exists() else CHECKOUT / "recipe.yml"


def _folder(asked: argparse.Namespace) -> Path:
    return _path(asked.recipe).absolute().parent


def _variables(given: Sequence[str]) -> Mapping[str, str]:
    pairs = [one.partition("=") for one in given]
    for name, equals, _ in pairs:
        if not (name.isidentifier() and equals):
            raise RefusedError("--var", Problem("variable", repr(name + equals), "NAME=VALUE"))
    return {name: value for name, _, value in pairs}


def _version(given: str) -> str | None:
    if given and not is_plain_name(given):
        raise RefusedError("--locked", Problem("version", repr(given), "a published version"))
    return given or None


def _store() -> Store:
    now = settings()
    client = s3.client(now)
    secret = now.s3_secret_access_key.get_secret_value() if now.s3_secret_access_key else ""
    reached = s3.fsspec_options(now.s3_endpoint_url, now.s3_access_key_id, secret, client.meta.region_name)
    return Store(client, now.bucket_name, fsspec=reached).patient(now.store_seconds)


def _is_docker() -> bool:
    mode = home_folder() / "mode"
    return mode.exists() and mode.read_text().strip() == "docker"


if __name__ == "__main__":
    sys.exit(main())
