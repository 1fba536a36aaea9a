"""The pipeline: plan → load → build → package → publish."""

from collections.abc import Mapping

from flows.build import definitions
from flows.build.command_files import require_carried
from flows.build.package_document import Published
from flows.build.publish import PUBLISH
from flows.build.recipe.lock import Lock
from flows.build.recipe.schema import Recipe
from flows.build.report import BuildReport
from flows.build.stages.command import CommandFiles, given_to
from flows.tables.exports import Package
from flows.tables.lineage import in_order
from flows.tables.sql_model import Model
from flows.tables.table import Table
from larder.action import action
from larder.artifacts import File
from larder.keys import digest
from larder.pipeline import pipeline
from larder.stage import Pending, about, gather, stage

plan, simulated_plan = stage(definitions.PLAN), stage(definitions.SIMULATED_PLAN)
load, simulated_load = stage(definitions.LOAD), stage(definitions.SIMULATED_LOAD)
model, command = stage(definitions.MODEL), stage(definitions.COMMAND)
assemble, simulated_assemble = stage(definitions.BUILD), stage(definitions.SIMULATED_BUILD)
package, simulated_package = stage(definitions.PACKAGE), stage(definitions.SIMULATED_PACKAGE)
publish = action(PUBLISH)


@pipeline(name="build", run_name="{recipe.product}", report=BuildReport())
def build(recipe: Recipe, command_files: CommandFiles | None = None) -> Published:
    """Build one recipe and publish its package, executing only what was not finished before.

    Args:
        recipe: with its base and variables put in, as `flows.build.recipe.file.read_recipe` returns it
        command_files: what the recipe's commands use, as `flows.build.command_files` puts it into the bucket
    """
    require_carried(recipe, command_files)
    about(product=recipe.product, recipe_hash=digest(recipe))
    lock = simulated_plan(recipe) if recipe.simulate else plan(recipe)
    about(version=lock.version)
    files = simulated(lock) if lock.simulated else real(lock, command_files)
    return publish(lock, files)


def real(lock: Lock, command_files: CommandFiles | None) -> Package:
    """Load, build and package what the lock names."""
    inputs = named(lock, load.map(datasets(lock), label=names(lock)))
    models = modelled(lock.build.models, inputs)
    built = assemble(
        lock.version,
        {**lock.env, **lock.build.env},
        lock.build.connector_args,
        inputs=inputs,
        models=models,
        commands=commanded(lock, {**inputs, **models}, command_files),
    )
    return package(lock.name, lock.product, lock.version, lock.exports, lock.source_versions, built.tables)


def modelled(models: Mapping[str, Model], inputs: Mapping[str, Table]) -> dict[str, Table]:
    """The tables of all models, each made as soon as those are there that it reads."""
    made: dict[str, Pending[Table]] = {}
    for name, reads in in_order(models, tuple(inputs)).items():
        tables = {table: made[table] if table in made else inputs[table] for table in reads}
        definition = models[name]
        made[name] = model.submit(
            name,
            definition.without_limits,
            tables,
            limit_seconds=definition.limit_seconds,
            limit_bytes=definition.limit_bytes,
            label=name,
        )
    return dict(zip(made, gather(made.values()), strict=True))


def commanded(
    lock: Lock, tables: Mapping[str, Table], command_files: CommandFiles | None
) -> dict[str, Table]:
    """The tables that the commands promise; each runs in the folder that the one before it left."""
    left: CommandFiles | File | None = command_files
    promised: dict[str, Table] = {}
    for definition in lock.build.commands:
        ran = command(
            **given_to(definition, lock),
            before=left,
            tables=tables,
            limit_seconds=definition.limit_seconds,
            limit_bytes=definition.limit_bytes,
            label=definition.name,
        )
        left, promised = ran.folder, ran.tables
    return promised


def simulated(lock: Lock) -> Package:
    """The same, with everything that is data made up."""
    tables = simulated_load.map(datasets(lock), seconds=lock.seconds.load, label=names(lock))
    built = simulated_assemble(
        lock.version,
        lock.env,
        lock.build,
        lock.tables,
        inputs=named(lock, tables),
        seconds=lock.seconds.build,
    )
    return simulated_package(
        lock.name,
        lock.product,
        lock.version,
        lock.exports,
        lock.source_versions,
        built.tables,
        seconds=lock.seconds.package,
    )


def datasets(lock: Lock) -> list[object]:
    """What is to be loaded."""
    return [entry.dataset for entry in lock.inputs]


def names(lock: Lock) -> list[str]:
    """What the inputs are called."""
    return [entry.name for entry in lock.inputs]


def named(lock: Lock, tables: list[Pending[Table]]) -> dict[str, Table]:
    """The loaded inputs by their names, once all are there."""
    return dict(zip(names(lock), gather(tables), strict=True))
