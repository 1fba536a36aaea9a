"""What the tests of readers and writers share."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.tables.export import Export
from flows.tables.exports import write_export
from flows.tables.file_types import FileType
from flows.tables.parquet_writer import copy_to_parquet
from flows.tables.readers import READERS
from flows.tables.table import Table, database, read_table

EXTENSIONS = {"shapefile": "shp.zip", "gdb": "gdb.zip"}


@dataclass(frozen=True)
class Read:
    """What a reader made of a file."""

    table: Table
    warnings: list[str]

    @property
    def columns(self) -> dict[str, str]:
        """The type of each column."""
        return {column.name: column.type for column in self.table.columns}

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """All rows, shapes as text."""
        columns = (
            f'st_astext("{column.name}")' if column.type.startswith("GEOMETRY") else f'"{column.name}"'
            for column in self.table.columns
        )
        return duckdb.sql(f"select {', '.join(columns)} from '{self.table.file}'").fetchall()

    def values(self, column: str) -> list[Any]:
        """What stands in a column."""
        return [row[list(self.columns).index(column)] for row in self.rows]


Reading = Callable[..., Read]


@pytest.fixture
def reading(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Reads content as a file type, with `custom` as keywords."""

    def reading(content: bytes | str, file_type: str, **custom: object) -> Read:
        folder: Path = tmp_path_factory.mktemp("read")
        source = folder / f"source.{EXTENSIONS.get(file_type, file_type)}"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        with database(folder) as connection:
            warnings = READERS[FileType(file_type)](connection, source, folder / "made.parquet", custom)
            return Read(read_table(connection, folder / "made.parquet"), warnings)

    return reading


@dataclass(frozen=True)
class Written:
    """What a query's rows became."""

    content: bytes
    rows: int | None
    warnings: tuple[str, ...]

    @property
    def features(self) -> list[dict[str, Any]]:
        """Those of GeoJSON; its words for numbers are those of JSON alone."""
        found: list[dict[str, Any]] = self.json["features"]
        return found

    @property
    def json(self) -> Any:
        """What it says as JSON, which has no NaN."""
        return json.loads(self.content, parse_constant=_no_constant)


def _no_constant(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


Writing = Callable[..., Written]


@pytest.fixture
def writing(tmp_path_factory: pytest.TempPathFactory) -> Writing:
    """Writes the rows of a query in a format, with `custom` as keywords."""

    def writing(query: str, kind: str, **custom: object) -> Written:
        folder: Path = tmp_path_factory.mktemp("written")
        with database(folder) as connection:
            copy_to_parquet(connection, query, folder / "rows.parquet")
            table = read_table(connection, folder / "rows.parquet")
        export = Export.model_validate({"name": "a", "format": kind, "custom": custom})
        file = write_export(export.file_name, export, table, folder)
        return Written(Path(str(file.file)).read_bytes(), file.rows, file.warnings or ())

    return writing
