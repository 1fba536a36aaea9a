"""What the stages of a job tell of its columns and rows."""

from collections.abc import Mapping
from typing import Any

from flows.tables.table import Column, Table
from larder.artifacts import File, Frozen, Output, Warnings


class FileColumn(Frozen):
    """A column of one file, and the types that hold all of its values, the narrowest first."""

    name: str
    types: tuple[str, ...] | None
    """None where it has no value; text always fits."""


class FileColumns(Output):
    """The columns of one file."""

    source_file: str
    columns: tuple[FileColumn, ...]


class TableColumn(Frozen):
    """A column of a job's bronze."""

    name: str
    type: str
    """As SQL calls it."""


class TableColumns(Output):
    """The columns of a job's bronze."""

    columns: tuple[TableColumn, ...]

    @property
    def types(self) -> dict[str, str]:
        """The type of each column."""
        return {column.name: column.type for column in self.columns}


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

    @property
    def told(self) -> dict[str, Any]:
        """The same as plain values, without files."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "rows_rejected": self.rows_rejected,
            "duplicates": self.duplicates,
            "schema": {column.name: column.type for column in self.schema_},
            "parents": list(self.parents),
        }


class Silver(Layer):
    """A job's silver, and beside it the rows that its rules rejected, as they came."""

    quarantine: Table
    rejected_by: Mapping[str, int]
    """How many rows each rule rejected; a row may break several."""
    read: Mapping[str, int]
    """How many rows each file of bronze has."""

    @property
    def told(self) -> dict[str, Any]:
        """The same as plain values, without files."""
        return {**super().told, "rejected_by": dict(self.rejected_by), "read": dict(self.read)}


class Gold(Output):
    """The tables of a job's gold."""

    files: dict[str, File]
    """By the names of their files."""
    rows: dict[str, int]
    """By the names of the tables."""
    rows_in: int
    parents: tuple[str, ...]

    @property
    def told(self) -> dict[str, Any]:
        """The same as plain values, without files."""
        return {"rows_in": self.rows_in, "rows": dict(self.rows), "parents": list(self.parents)}
