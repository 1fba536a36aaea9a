"""The flow: plan → load → build → package → publish.

    python -m flows.build.flow recipe.yml

runs it with no server and no worker, only the store; `larder build` is for every day.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from prefect import get_run_logger, task, unmapped
from prefect.futures import PrefectFuture
from prefect.utilities.annotations import quote

from flows.build import definitions
from larder import keys
from larder.artifacts import Artifact
from flows.build.stages.command import given_to
from flows.tables.exports import Package
from flows.tables.lineage import in_order
from flows.build.catalog import Catalog
from flows.tables.table import Table
from flows.build.options import Stage, forced
from flows.build.command_files import require_carried
from flows.build.publish import Published, Releases
from flows.build.publish import publish as publish_package
from flows.build.recipe.lock import Lock
from flows.tables.sql_model import Model
from flows.build.recipe.schema import Recipe, is_floating
from larder.run import Run, current_run
from flows.build.shown import gather_shown, show
from larder.orchestration import StageFailed, gather, pipeline, stage

plan, simulated_plan = stage(definitions.PLAN), stage(definitions.SIMULATED_PLAN)
load, simulated_load = stage(definitions.LOAD), stage(definitions.SIMULATED_LOAD)
model, command = stage(definitions.MODEL), stage(definitions.COMMAND)
assemble, simulated_assemble = stage(definitions.BUILD), stage(definitions.SIMULATED_BUILD)
package, simulated_package = stage(definitions.PACKAGE), stage(definitions.SIMULATED_PACKAGE)


@pipeline(name="build", flow_run_name="{recipe.product}", summary=show)
def build(
    recipe: Recipe,
    force: Sequence[str] = (),
    fail_at: Stage | None = None,
    own_files: Artifact | None = None,
) -> Published:
    """Build one recipe and publish its package, executing only what was not finished before.

    Args:
        recipe: with its base and variables put in, as `flows.build.recipe.file.read_recipe` returns it
        force: stages to execute although their result is there, `STAGE` or `STAGE:NAME`
        fail_at: stage at which the first attempt fails, to show how a run is resumed
        own_files: the files that the recipe's commands use, as `flows.build.command_files` puts them into the bucket
    """
    require_carried(recipe, own_files)
    run = current_run()
    run.about(product=recipe.product, recipe_hash=keys.digest(recipe))
    run.force, run.fail_at = forced(force), fail_at
    lock = plan_for(run, recipe)
    run.about(version=lock.version)
    files = simulated(lock) if lock.simulated else real(lock, own_files)
    return publish(lock, files)


def plan_for(run: Run, recipe: Recipe) -> Lock:
    """The recipe's lock; a floating recipe is resolved once per flow run."""
    resolve = simulated_plan if recipe.simulate else plan
    lock: Lock = resolve(
        recipe,
        run=run.id if is_floating(recipe) else None,
        day=run.day,
        catalog=quote(catalog_of(run)),
        releases=quote(Releases(run.store, recipe.product)),
    )
    return lock


def real(lock: Lock, own_files: Artifact | None) -> Package:
    """Load, build and package what the lock names."""
    tables = load.map(
        [entry.dataset for entry in lock.inputs],
        catalog=unmapped(quote(catalog_of(current_run()))),
        say=unmapped(quote(get_run_logger().info)),
        label=[entry.name for entry in lock.inputs],
    )
    inputs = named(lock, gather_shown(tables))
    models = modelled(lock.build.models, inputs)
    built = assemble(
        lock.version,
        {**lock.env, **lock.build.env},
        lock.build.connector_args,
        inputs=inputs,
        models=models,
        commands=commanded(lock, {**inputs, **models}, own_files),
    )
    packaged: Package = package(
        lock.name, lock.product, lock.version, lock.exports, lock.source_versions, built.tables
    )
    return packaged


def modelled(models: Mapping[str, Model], inputs: Mapping[str, Table]) -> dict[str, Table]:
    """The tables of all models, each made as soon as those are there that it reads."""
    made: dict[str, PrefectFuture[Table]] = {}
    for name, reads in in_order(models, tuple(inputs)).items():
        tables = {table: made[table] if table in made else inputs[table] for table in reads}
        made[name] = model.submit(name, models[name], tables, say=saying(name), label=name)
    return dict(zip(made, gather(list(made.values())), strict=True))


def commanded(lock: Lock, tables: Mapping[str, Table], own_files: Artifact | None) -> dict[str, Table]:
    """The tables that the commands promise; each runs in the folder that the one before it left."""
    left, promised = own_files, {}
    for definition in lock.build.commands:
        ran = command(
            **given_to(definition, lock),
            before=left,
            tables=tables,
            limit_seconds=definition.limit_seconds,
            say=saying(definition.name),
            label=definition.name,
        )
        left, promised = ran.folder, ran.tables
    return promised


def saying(name: str) -> quote:
    """Puts what a model or a command says into the run's log."""
    return quote(partial(get_run_logger().info, "%s: %s", name))


def simulated(lock: Lock) -> Package:
    """The same, with everything that is data made up."""
    seconds = lock.seconds
    tables = simulated_load.map(
        [entry.dataset for entry in lock.inputs],
        seconds=unmapped(seconds.load),
        label=[entry.name for entry in lock.inputs],
    )
    built = simulated_assemble(
        lock.version,
        lock.env,
        lock.build,
        lock.tables,
        inputs=named(lock, gather_shown(tables)),
        seconds=seconds.build,
    )
    files: Package = simulated_package(
        lock.name,
        lock.product,
        lock.version,
        lock.exports,
        lock.source_versions,
        built.tables,
        seconds=seconds.package,
    )
    return files


@task(task_run_name="publish", persist_result=False)
def publish(lock: Lock, files: Package) -> Published:
    """Make the product's folder in the bucket be what this run's results say."""
    run = current_run()
    store = run.store.patient(run.settings.store_seconds)
    try:
        with run.suspecting():
            return publish_package(store, lock, run.found_as(lock), run.found_as(files), run.metadata())
    except Exception as error:
        raise StageFailed("publish", None, None, error) from error


def named(lock: Lock, tables: list[Table]) -> dict[str, Table]:
    """The loaded inputs by their names."""
    return {entry.name: table for entry, table in zip(lock.inputs, tables, strict=True)}


def catalog_of(run: Run) -> Catalog:
    """The catalog that the settings name; one on S3 is read with the keys of our own store."""
    now = run.settings
    return Catalog.at(now.catalog_url, run.store.fsspec, now.input_bytes, now.input_seconds)
