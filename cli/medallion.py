"""`larder medallion`: what belongs to that pipeline besides its runs."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from flows.medallion.asked import CONFIGURATIONS
from flows.medallion.samples import write_samples
from flows.medallion.seeding import jobs_below, put_into_landing, seeded_workflow
from larder.configuration import MOST_CHARACTERS
from larder.connection import open_store
from larder.names import is_plain_name
from larder.settings import settings

WORKFLOW = "customer-data"


@click.group()
def medallion() -> None:
    """Files for landing, and configurations of workflows."""


def _plain(ctx: click.Context, param: click.Parameter, value: str) -> str:  # noqa: ARG001
    if not is_plain_name(value):
        raise click.BadParameter("valid are at most 100 ASCII letters, digits, '_', '.', '-'")
    return value


workflow_id = click.option(
    "--workflow-id", default=WORKFLOW, show_default=True, callback=_plain, help="The workflow."
)


@medallion.command(epilog="Example: larder medallion samples && larder run medallion")
@workflow_id
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed makes up other rows.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Write the files there, and put none into the bucket."
)
def samples(workflow_id: str, seed: int, folder: Path | None) -> None:
    """Put made-up countries, customers, products and orders into landing."""
    if folder is not None:
        for file in (file for files in write_samples(folder, seed).values() for file in files):
            print(file)
        return
    with TemporaryDirectory() as made:
        for name in put_into_landing(open_store(settings()), workflow_id, write_samples(Path(made), seed)):
            print(name)


@medallion.command(epilog="Example: larder medallion seed --workflow-id sales --files exports/")
@workflow_id
@click.option(
    "--files",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with <job>/<file> or <job>.<ending>.",
)
@click.option("--land", is_flag=True, help="Put the files into landing too.")
def seed(workflow_id: str, files: Path, land: bool) -> None:
    """Write a workflow's configuration for files: their jobs, keys, and the foreign keys that hold."""
    target = CONFIGURATIONS.folder / f"{workflow_id}.yml"
    if target.exists():
        raise click.BadParameter(f"{target} is there already", param_hint="--workflow-id")
    try:
        jobs = jobs_below(files)
    except FileNotFoundError as error:
        raise click.BadParameter(str(error), param_hint="--files") from error
    text = seeded_workflow(workflow_id, jobs)
    if len(text) > MOST_CHARACTERS:
        found = f"the configuration would have {len(text):,} characters"
        valid = f"a Prefect Variable holds {MOST_CHARACTERS:,}"
        raise click.BadParameter(f"{found}; {valid}", param_hint="--files")
    target.write_text(text)
    print(target)
    for name in put_into_landing(open_store(settings()), workflow_id, jobs) if land else ():
        print(name)
