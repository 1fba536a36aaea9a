"""What the stages of a job tell of its rows."""

from collections.abc import Mapping

from flows.tables.table import Column, Table
from larder.artifacts import Output, Warnings


class Layer(Output):
    """A table, and how many rows became of how many."""

    table: Table
    rows_in: int
    rows_out: int
    rows_rejected: int = 0
    duplicates: int = 0
    schema_: tuple[Column, ...]
    parents: tuple[str, ...]
    """What it was made from, as people call it."""
    warnings: Warnings = None

    @property
    def warned(self) -> tuple[str, ...]:
        """Its warnings."""
        return self.warnings or ()


class Silver(Layer):
    """A job's silver, and beside it the rows that its rules rejected, as they came."""

    quarantine: Table
    rejected_by: Mapping[str, int]
    """How many rows each rule rejected; a row may break several."""


class Gold(Output):
    """The tables of a job's gold, by name."""

    tables: dict[str, Table]
    rows_in: int
    parents: tuple[str, ...]
