"""The stages of a build: their functions, what counts in their keys, and where their results lie."""

from collections.abc import Mapping
from typing import cast

from flows.build.catalog import Catalog, CatalogUnreachable
from flows.build.libraries import libraries_of
from flows.build.planning.versions import newest_before
from flows.build.recipe.schema import Command, Recipe, finds_previous, is_floating
from flows.build.releases import Releases
from flows.build.stages import build, command, load, package, plan, simulate
from flows.build.stages.surroundings import Surroundings
from flows.build.supplied import bounds_of, surroundings_of
from flows.tables import model
from flows.tables.bounds import Bounds
from larder.definition import Context, Definition

INPUT_FOLDER = "_inputs/{dataset.id}"
INPUT_TITLE = "{dataset.version}"
UNCOUNTED = (
    "flows.build.recipe.schema",
    "flows.build.recipe.lock",
    "flows.build.recipe.file",
    "flows.build.recipe.document",
    "flows.build.stages.running",
    "flows.build.stages.supervise",
    "flows.build.stages.surroundings",
    "flows.tables.apart",
    "flows.tables.apart_server",
    "flows.tables.bounds",
    "flows.tables.confinement",
    "flows.tables.measures",
    "flows.tables.memory",
    "flows.tables.shared_memory",
    "flows.tables.supervision",
)
"""What a recipe may hold (what follows from it stands in `rules`, which counts), and what bounds stages."""


def catalog_of(context: Context) -> Catalog:
    """The catalog that the settings name; one on S3 is read with the keys of our own store."""
    now = context.settings
    return Catalog.at(now.catalog_url, context.store.fsspec, now.input_bytes, now.input_seconds)


def bounds(context: Context) -> Bounds:
    """What a stage may take of this machine."""
    return bounds_of(context.settings)


def surroundings(context: Context) -> Surroundings:
    """What commands find on this machine."""
    return surroundings_of(context.settings)


def day_of(context: Context) -> object:
    """The day of the run."""
    return context.day


def releases_of(context: Context) -> Releases:
    """What real builds have published of the run's product."""
    return Releases(context.store, str(context.labels["product"]))


def floats(arguments: Mapping[str, object]) -> bool:
    """Whether a recipe's lock can change while its text and its releases do not."""
    return is_floating(cast(Recipe, arguments["recipe"]))


def previous_release(context: Context, arguments: Mapping[str, object]) -> str | None:
    """The newest release before the version of a recipe whose commands are to know it."""
    recipe = cast(Recipe, arguments["recipe"])
    if recipe.version is None or not finds_previous(recipe):
        return None
    return newest_before(releases_of(context).versions(), recipe.version)


def installed_libraries(_: Context, arguments: Mapping[str, object]) -> dict[str, str]:
    """The versions of the libraries that a command may use."""
    definition = cast(Command, arguments["definition"])
    return libraries_of(definition.name, definition.libraries)


RESOLVED_FROM = {"day": day_of, "catalog": catalog_of, "releases": releases_of}
"""What only a clock, the catalog and the bucket know; a plan's key counts the recipe instead."""

PLAN = Definition(
    stage="plan",
    function=plan.plan,
    supplied=RESOLVED_FROM,
    seen={"previous": previous_release},
    once_per_run=floats,
    in_memory=True,
    uncounted=UNCOUNTED,
    libraries=("pyyaml",),
)
LOAD = Definition(
    stage="load",
    function=load.load,
    folder=INPUT_FOLDER,
    title=INPUT_TITLE,
    labelled=True,
    supplied={"catalog": catalog_of, "bounds": bounds},
    uncounted=UNCOUNTED,
    libraries=("duckdb", "ijson", "pyogrio", "python-calamine"),
    retries=2,
    retry_on=(CatalogUnreachable, ConnectionError, TimeoutError),
)
MODEL = Definition(
    stage="model",
    function=model.model,
    labelled=True,
    label_in_key=True,
    outside_key=frozenset({"limit_seconds", "limit_bytes"}),
    supplied={"bounds": bounds},
    uncounted=UNCOUNTED,
    libraries=("duckdb",),
)
COMMAND = Definition(
    stage="command",
    function=command.command,
    labelled=True,
    label_in_key=True,
    outside_key=frozenset({"limit_seconds", "limit_bytes"}),
    supplied={"bounds": bounds, "surroundings": surroundings},
    seen={"libraries": installed_libraries},
    uncounted=UNCOUNTED,
)
BUILD = Definition(stage="build", function=build.build, uncounted=UNCOUNTED)
PACKAGE = Definition(
    stage="package",
    function=package.package,
    uncounted=UNCOUNTED,
    libraries=("duckdb", "pyogrio", "xlsxwriter"),
)

SIMULATED_PLAN = Definition(
    stage="plan",
    function=simulate.plan,
    supplied=RESOLVED_FROM,
    once_per_run=floats,
    in_memory=True,
    uncounted=UNCOUNTED,
    libraries=("pyyaml",),
)
SIMULATED_LOAD = Definition(
    stage="load",
    function=simulate.load,
    folder=INPUT_FOLDER,
    title=INPUT_TITLE,
    labelled=True,
    outside_key=frozenset({"seconds"}),
    uncounted=UNCOUNTED,
    libraries=("duckdb",),
)
SIMULATED_BUILD = Definition(
    stage="build",
    function=simulate.build,
    outside_key=frozenset({"seconds"}),
    uncounted=UNCOUNTED,
    libraries=("duckdb",),
)
SIMULATED_PACKAGE = Definition(
    stage="package",
    function=simulate.package,
    outside_key=frozenset({"seconds"}),
    uncounted=UNCOUNTED,
    libraries=("duckdb",),
)
