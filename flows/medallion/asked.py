"""Which workflows there are, and which part of one a run is asked for."""

import glob
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from flows.medallion.workflow.schema import Job, Workflow
from larder.configuration import Configurations
from larder.refusal import Problem, RefusedError

CONFIGURATIONS = Configurations(
    pipeline="medallion",
    folder=Path(__file__).parent / "configuration",
    model=Workflow,
    default="customer-data",
    called="workflow-id",
)
PARAMETERS = "parameters of medallion"


def asked_workflow(
    workflow: Workflow, job_id: str | None, landing_key: str | None, primary_keys: Sequence[str]
) -> Workflow:
    """The workflow with what is said of one of its jobs put in.

    Raises:
        RefusedError: if there is no such job, or what is said needs a job.
    """
    if job_id is None:
        given = {"landing_key": landing_key, "primary_keys": list(primary_keys)}
        for name, value in given.items():
            if value:
                raise RefusedError(PARAMETERS, Problem(name, f"{value}", f"a job_id beside {name}"))
        return workflow
    if job_id not in workflow.jobs:
        known = f"one of {', '.join(workflow.jobs)}"
        raise RefusedError(PARAMETERS, Problem("job_id", job_id, known))
    job = workflow.jobs[job_id]
    changed = job.model_copy(
        update={
            **({"files": _pattern(workflow.workflow_id, job_id, landing_key)} if landing_key else {}),
            **({"primary_keys": tuple(primary_keys)} if primary_keys else {}),
        }
    )
    try:
        changed = Job.model_validate(changed.model_dump())
    except ValidationError as error:
        expected = error.errors()[0]["msg"]
        raise RefusedError(PARAMETERS, Problem("primary_keys", ", ".join(primary_keys), expected)) from error
    return workflow.model_copy(update={"jobs": {**workflow.jobs, job_id: changed}})


def _pattern(workflow_id: str, job_id: str, landing_key: str) -> str:
    """The one file that is meant, as a pattern."""
    below = f"landing/{workflow_id}/{job_id}/"
    name = landing_key.removeprefix(below)
    if name.startswith("landing/") or not name:
        raise RefusedError(PARAMETERS, Problem("landing_key", landing_key, f"a file below {below}"))
    return glob.escape(name)
