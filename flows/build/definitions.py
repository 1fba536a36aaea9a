"""The stages of a build: their functions, what counts in their keys, and where their results lie."""

from larder.definition import Definition

from larder.artifacts import Output
from flows.build.stages import build
from flows.build.stages import command
from flows.build.stages import load
from flows.tables import model
from flows.build.stages import package
from flows.build.stages import plan
from flows.build.stages import simulate
from flows.build.catalog import CatalogUnreachable

KNOWN_AT_RUN_TIME = frozenset({"day", "catalog", "releases"})
"""What only a clock, the catalog and the bucket know; a plan's key counts the recipe and the run instead."""
INPUT_FOLDER = "_inputs/{dataset.id}"
INPUT_TITLE = "{dataset.version}"

PLAN = Definition(
    stage="plan",
    function=plan.plan,
    outside_key=KNOWN_AT_RUN_TIME,
    once_per_run="run",
    libraries=("pyyaml",),
)
LOAD = Definition(
    stage="load",
    function=load.load,
    folder=INPUT_FOLDER,
    title=INPUT_TITLE,
    labelled=True,
    outside_key=frozenset({"catalog", "say"}),
    libraries=("duckdb", "ijson", "pyogrio", "python-calamine"),
    retries=2,
    retry_on=(CatalogUnreachable, ConnectionError, TimeoutError),
)
MODEL = Definition(
    stage="model",
    function=model.model,
    labelled=True,
    label_in_key=True,
    outside_key=frozenset({"say"}),
    libraries=("duckdb",),
)
COMMAND = Definition(
    stage="command",
    function=command.command,
    labelled=True,
    label_in_key=True,
    outside_key=frozenset({"limit_seconds", "say"}),
)
BUILD = Definition(stage="build", function=build.build)
PACKAGE = Definition(stage="package", function=package.package, libraries=("duckdb", "pyogrio", "xlsxwriter"))

SIMULATED_PLAN = Definition(
    stage="plan",
    function=simulate.plan,
    outside_key=KNOWN_AT_RUN_TIME,
    once_per_run="run",
    libraries=("pyyaml",),
)
SIMULATED_LOAD = Definition(
    stage="load",
    function=simulate.load,
    folder=INPUT_FOLDER,
    title=INPUT_TITLE,
    labelled=True,
    outside_key=frozenset({"seconds"}),
    libraries=("duckdb",),
)
SIMULATED_BUILD = Definition(
    stage="build", function=simulate.build, outside_key=frozenset({"seconds"}), libraries=("duckdb",)
)
SIMULATED_PACKAGE = Definition(
    stage="package", function=simulate.package, outside_key=frozenset({"seconds"}), libraries=("duckdb",)
)
