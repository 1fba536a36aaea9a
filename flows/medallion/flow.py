"""The pipeline: landing → bronze → silver → gold, each published, for every job of a workflow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.medallion import definitions
from flows.medallion.asked import CONFIGURATIONS, asked_workflow
from flows.medallion.bucket import folder
from flows.medallion.page import MedallionReport
from flows.medallion.publishing import DATA, PUBLISH_GOLD, PUBLISH_SILVER, QUARANTINE
from flows.medallion.stages.landing import LandedFile, Wanted
from flows.medallion.workflow.checks import OWN, in_order
from flows.medallion.workflow.schema import Gold, Job, Workflow
from flows.tables import lineage
from larder.action import action
from larder.pipeline import pipeline
from larder.published import PUBLISH_FOLDER, PublishedFolder
from larder.stage import Pending, StageFailed, about, first_failure, stage

landing, land, ingested = stage(definitions.LANDING), stage(definitions.LAND), stage(definitions.INGESTED)
infer, unify, bronze = stage(definitions.INFER), stage(definitions.UNIFY), stage(definitions.BRONZE)
silver, gold = stage(definitions.SILVER), stage(definitions.GOLD)
metrics, breakdown = stage(definitions.METRICS), stage(definitions.BREAKDOWN)
customers, model = stage(definitions.CUSTOMERS), stage(definitions.MODEL)
publish, publish_silver, publish_gold = action(PUBLISH_FOLDER), action(PUBLISH_SILVER), action(PUBLISH_GOLD)


@dataclass(frozen=True)
class Submitted:
    """A job on its way."""

    files: Sequence[LandedFile]
    landed: Sequence[Pending[Any]]
    bronze: Sequence[Pending[Any]]
    silver: Pending[Any]
    gold: Pending[Any]


@pipeline(
    name="flowforge-medallion",
    report=MedallionReport(),
    configurations=CONFIGURATIONS,
    deployment="flowforge-medallion/customer-data",
)
def medallion(
    configuration: Workflow,
    job_id: str | None = None,
    landing_key: str | None = None,
    primary_keys: Sequence[str] = (),
) -> dict[str, list[PublishedFolder]]:
    """Bring the jobs of a workflow from landing to gold, executing only what was not finished before.

    Args:
        configuration: the workflow, or what its configuration is called
        job_id: one job; those that it needs come before it
        landing_key: one file of that job, below `landing/<workflow_id>/<job_id>/`
        primary_keys: of that job, in place of those that its configuration names
    """
    workflow = asked_workflow(configuration, job_id, landing_key, primary_keys)
    about(workflow_id=workflow.workflow_id)
    jobs: dict[str, Submitted] = {}
    for name in in_order(workflow.jobs, [job_id] if job_id else workflow.jobs):
        jobs[name] = submitted(workflow, name, jobs)
    return published(workflow, jobs)


def submitted(workflow: Workflow, name: str, jobs: Mapping[str, Submitted]) -> Submitted:
    """All stages of a job; its silver waits for the jobs that come first."""
    job, workflow_id = workflow.jobs[name], workflow.workflow_id
    wanted = Wanted(
        workflow_id=workflow_id,
        job_id=name,
        pattern=job.files,
        load_mode=job.load_mode,
        changed_files=job.changes,
    )
    files = landing(wanted, label=name).files
    labels = [f"{name}/{file.name}" for file in files]
    landed = land.map(files, workflow_id, name, label=labels)
    instants = [ingested.submit(one.sha256, label=label) for one, label in zip(landed, labels, strict=True)]
    found = [
        infer.submit(one.file, file.name, job.file, label=label)
        for one, file, label in zip(landed, files, labels, strict=True)
    ]
    columns = unify.submit(found, job.columns, f"landing/{workflow_id}/{name}/{job.files}", label=name)
    read = [
        bronze.submit(one.file, file.name, instant.at, columns, job.file, label=label)
        for one, file, instant, label in zip(landed, files, instants, labels, strict=True)
    ]
    made = silver.submit(
        read,
        [one.sha256 for one in landed],
        job.cleaning,
        job.rules,
        job.primary_keys,
        job.load_mode,
        parents={parent: jobs[parent].silver.table for parent in job.foreign_jobs},
        after=[columns.columns, *(jobs[parent].gold.rows_in for parent in job.parents)],
        label=name,
    )
    others = {parent: jobs[parent].silver.table for parent in job.parents}
    return Submitted(files, landed, read, made, golden(name, job.gold, made, others))


def golden(name: str, wanted: Gold, made: Pending[Any], others: Mapping[str, Any]) -> Pending[Any]:
    """The tables of a job's gold, each a stage."""
    counted = metrics.submit(made.table, label=name) if wanted.metrics else None
    breakdowns = {
        column: breakdown.submit(made.table, column, label=f"{name}.{column}") for column in wanted.breakdowns
    }
    dimension = customers.submit(made.table, label=name) if wanted.customer_dimension else None
    known = {OWN: made.table, **others}
    models: dict[str, Pending[Any]] = {}
    for one, reads in lineage.in_order(wanted.models, tuple(known)).items():
        tables = {table: models[table] if table in models else known[table] for table in reads}
        models[one] = model.submit(one, wanted.models[one], tables, label=f"{name}.{one}")
    parents = [f"silver of {job}" for job in (name, *others)]
    return gold.submit(made.rows_out, counted, breakdowns, dimension, models, parents, label=name)


def published(workflow: Workflow, jobs: Mapping[str, Submitted]) -> dict[str, list[PublishedFolder]]:
    """The folders of all jobs. One that failed stops only those that need it.

    Raises:
        StageFailed: if one failed, once all have ended.
    """
    folders: dict[str, list[PublishedFolder]] = {}
    errors: list[Exception] = []
    for name, job in jobs.items():
        folders[name] = []
        try:
            folders[name] += publications(workflow.workflow_id, name, workflow.jobs[name], job)
        except StageFailed as error:
            errors.append(error)
    if errors:
        raise first_failure(errors)
    return folders


def publications(workflow_id: str, name: str, job: Job, made: Submitted) -> Iterator[PublishedFolder]:
    """Publish the layers of a job, each as soon as it is there."""
    layers = {layer: folder(layer, workflow_id, name) for layer in ("bronze", "silver", "gold")}
    files = [
        {"file": file.model_dump(mode="json"), "sha256": one.sha256, "kept": one.file.object_name}
        for file, one in zip(made.files, made.landed, strict=True)
    ]
    tables = {
        f"{number:04}-{file.name.rsplit('/', 1)[-1]}.parquet": layer.table.file
        for number, (file, layer) in enumerate(zip(made.files, made.bronze, strict=True), 1)
    }
    told = {"files": files, "layers": [layer.told for layer in made.bronze]}
    yield publish(layers["bronze"], tables, told, label=f"bronze {name}")
    told = {
        "files": files,
        "load_mode": str(job.load_mode),
        "changed_files": str(job.changes),
        "layer": made.silver.told,
    }
    tables = {DATA: made.silver.table.file, QUARANTINE: made.silver.quarantine.file}
    yield publish_silver(layers["silver"], tables, told, label=f"silver {name}")
    told = {
        "layer": made.gold.told,
        "silver": made.silver.table.file.sha256,
        "silver_folder": layers["silver"],
    }
    yield publish_gold(layers["gold"], made.gold.files, told, label=f"gold {name}")
