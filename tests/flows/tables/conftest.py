"""What the tests of readers and writers share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.tables.file_types import FileType
from flows.tables.readers import READERS
from flows.tables.table import Table, database, read_table


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
        source = folder / f"source.{'shp.zip' if file_type == 'shapefile' else file_type}"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        with database(folder) as connection:
            warnings = READERS[FileType(file_type)](connection, source, folder / "made.parquet", custom)
            return Read(read_table(connection, folder / "made.parquet"), warnings)

    return reading
