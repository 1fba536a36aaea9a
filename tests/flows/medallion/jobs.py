"""A job's stages called as plain functions."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from flows.medallion.stages.bronze import bronze
from flows.medallion.stages.columns import infer, unify
from flows.medallion.stages.layer import Layer, Silver
from flows.medallion.stages.silver import silver
from flows.medallion.workflow.files import FileOptions
from flows.medallion.workflow.schema import Job
from flows.tables.table import Table

PLAIN = Job()
INSTANT = "2026-01-31T12:00:00"
_numbers = itertools.count()


def scratch(folder: Path) -> Path:
    """An empty folder."""
    made = folder / f"scratch-{next(_numbers)}"
    made.mkdir(parents=True)
    return made


def landed(folder: Path, name: str, content: str | bytes) -> Path:
    """A file of this content."""
    file = scratch(folder) / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def job(**given: Any) -> Job:
    """A job as a configuration says it."""
    return Job.model_validate(given)


def bronze_of(folder: Path, files: Sequence[Path], of: Job = PLAIN) -> list[Layer]:
    """Bronze of files, each under its name."""
    found = [infer(file, file.name, of.file, scratch(folder)) for file in files]
    columns = unify(found, of.columns, "landing/w/j/*")
    return [
        bronze(file, file.name, INSTANT, columns, of.file, say=lambda _: None, scratch=scratch(folder))
        for file in files
    ]


def silver_of(
    folder: Path, files: Sequence[Path], of: Job = PLAIN, parents: Mapping[str, Table] | None = None
) -> Silver:
    """Silver of files."""
    return silver(
        bronze_of(folder, files, of),
        [str(file.read_bytes()) for file in files],
        of.cleaning,
        of.rules,
        of.primary_keys,
        of.load_mode,
        parents or {},
        say=lambda _: None,
        scratch=scratch(folder),
    )


def rows(table: Table, *columns: str) -> list[tuple[Any, ...]]:
    """The rows of a table, in its order."""
    with duckdb.connect() as connection:
        return connection.execute(f"select {', '.join(columns) or '*'} from '{table.file}'").fetchall()


def options(**given: Any) -> FileOptions:
    """How files are read."""
    return FileOptions.model_validate(given)
