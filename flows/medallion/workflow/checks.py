"""Whether the jobs of a workflow fit together, and the order in which they come."""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from flows.medallion.workflow.gold_names import CUSTOMERS, METRICS, breakdown_name
from flows.tables.lineage import MODELS, check_models
from flows.tables.quality import Rule
from flows.tables.sql_model import Model
from larder.names import wrong

OWN = "silver"
"""What a job's own silver is called in its SQL models."""


class HasGold(Protocol):
    """The part of a job that makes gold."""

    @property
    def models(self) -> Mapping[str, Model]: ...
    @property
    def breakdowns(self) -> tuple[str, ...]: ...


class HasParents(Protocol):
    """The part of a job that says what it needs."""

    @property
    def depends_on(self) -> tuple[str, ...]: ...
    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def parents(self) -> tuple[str, ...]: ...
    @property
    def gold(self) -> HasGold: ...


Place = tuple[str | int, ...]
Found = tuple[Place, str, str]
"""Where something is wrong, what was found there, and what is expected."""


def in_order(jobs: Mapping[str, HasParents], wanted: Iterable[str]) -> list[str]:
    """Jobs and all that they need, each behind those that it needs."""
    needed: set[str] = set()
    left = list(wanted)
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += jobs[name].parents
    graph = {name: jobs[name].parents for name in jobs if name in needed}
    return list(TopologicalSorter(graph).static_order())


def problems_of(jobs: Mapping[str, HasParents]) -> Iterator[Found]:
    """What is wrong with the jobs of a workflow, seen together."""
    for name, job in jobs.items():
        yield from _unknown_jobs(name, job, jobs)
        yield from _models(name, job)
    known = {name: [one for one in job.parents if one in jobs] for name, job in jobs.items()}
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        yield ("jobs", circle[0]), f"{' → '.join(circle)}", "jobs that do not depend on themselves"


def _unknown_jobs(name: str, job: HasParents, jobs: Mapping[str, HasParents]) -> Iterator[Found]:
    valid = (
        f"one of the workflow's other jobs: {', '.join(other for other in jobs if other != name) or 'none'}"
    )
    for number, other in enumerate(job.depends_on):
        if other not in jobs:
            yield ("jobs", name, "depends_on", number), f"the job {other}", valid
    for number, rule in enumerate(job.rules):
        if rule.foreign_key is not None and rule.foreign_key.job not in jobs:
            place = ("jobs", name, "rules", number, "foreign_key", "job")
            yield place, f"the job {rule.foreign_key.job}", valid


def _models(name: str, job: HasParents) -> Iterator[Found]:
    for model in sorted(
        {METRICS, CUSTOMERS, *map(breakdown_name, job.gold.breakdowns)} & set(job.gold.models)
    ):
        yield ("jobs", name, "gold", "models", model), model, "a name that no other table of gold has"
    for problem in check_models(job.gold.models, (OWN, *job.parents)):
        rest = problem.place.removeprefix(MODELS).removeprefix(".")
        yield ("jobs", name, "gold", "models", *([rest] if rest else [])), problem.found, problem.expected


def require_no_problem(problems: Iterable[Found]) -> None:
    """Return if there is none.

    Raises:
        ValidationError: that names the place of each.
    """
    details = [_detail(*problem) for problem in problems]
    if details:
        raise ValidationError.from_exception_data("Workflow", details)


def _detail(place: Place, found: str, expected: str) -> InitErrorDetails:
    return InitErrorDetails(type=wrong(found, expected), loc=place, input=found)
