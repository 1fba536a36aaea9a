"""What a workflow's configuration may hold."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from flows.medallion.workflow.checks import problems_of, require_no_problem
from flows.medallion.workflow.files import FileOptions
from flows.medallion.workflow.modes import ChangedFiles, LoadMode
from flows.tables.cleaning import Cleaning
from flows.tables.column_types import DeclaredType
from flows.tables.quality import Rule
from flows.tables.sql_model import Columns, Model
from larder.artifacts import Frozen
from larder.names import Alias, Name, Title, wrong

MOST_RULES = 50
MOST_JOBS = 200


class Gold(Frozen):
    """What is made of a job's silver."""

    metrics: bool = True
    """Records, columns, and nulls by column."""
    breakdowns: Columns = ()
    """Columns whose values are counted, each in a table of its own."""
    customer_dimension: bool = True
    """Made where its columns are there."""
    models: dict[Alias, Model] = {}
    """SQL over `silver`, the silver of jobs that it depends on (by their names), and each other."""


class Job(Frozen):
    """One table on its way from landing to gold."""

    title: Title | None = None
    files: str = Field("*", min_length=1, max_length=200)
    """Which files below `landing/<workflow>/<job>/` are read, as a pattern."""
    file: FileOptions = FileOptions()
    columns: dict[str, DeclaredType] = {}
    """Types of columns in bronze; of the others they are inferred from all of their values."""
    primary_keys: Columns = ()
    """What tells a row from all others; without them all of its values do."""
    depends_on: tuple[Name, ...] = ()
    """Jobs that come first; a foreign key's job is one without saying so."""
    cleaning: Cleaning = Cleaning()
    rules: tuple[Rule, ...] = Field((), max_length=MOST_RULES)
    load_mode: LoadMode = LoadMode.REPLACE
    changed_files: ChangedFiles | None = None
    """Else `correct` for `append` and `add` for `merge`."""
    gold: Gold = Gold()

    @property
    def foreign_jobs(self) -> tuple[str, ...]:
        """The jobs that its foreign keys name."""
        return tuple(sorted({rule.foreign_key.job for rule in self.rules if rule.foreign_key}))

    @property
    def parents(self) -> tuple[str, ...]:
        """The jobs that come before it."""
        return tuple(sorted({*self.depends_on, *self.foreign_jobs}))

    @property
    def changes(self) -> ChangedFiles:
        """What a changed file means."""
        if self.changed_files is not None:
            return self.changed_files
        return ChangedFiles.ADD if self.load_mode is LoadMode.MERGE else ChangedFiles.CORRECT

    @field_validator("primary_keys")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.lower() for name in value}) != len(value):
            raise wrong(", ".join(value), "columns that differ")
        return value

    @field_validator("rules")
    @classmethod
    def _named_once(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        titles = [rule.title for rule in value]
        if twice := sorted({title for title in titles if titles.count(title) > 1}):
            raise wrong(f"{twice[0]} twice", "rules that differ by name")
        return value

    @model_validator(mode="after")
    def _merge_has_a_key(self) -> Self:
        if self.load_mode is LoadMode.MERGE and not self.primary_keys:
            raise wrong("load_mode merge without primary_keys", "primary_keys, by which rows are merged")
        return self


class Workflow(Frozen):
    """Tables that belong together, and how each is made."""

    workflow_id: Name
    title: Title | None = None
    jobs: dict[Name, Job] = Field(min_length=1, max_length=MOST_JOBS)

    @model_validator(mode="after")
    def _jobs_fit_together(self) -> Self:
        require_no_problem(problems_of(self.jobs))
        return self
