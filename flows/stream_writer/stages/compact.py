"""An hour's small files → one file of each type and stream."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import duckdb

from flows.stream_writer.batch import Compacted, Hour, ListedFile, NewFile
from flows.stream_writer.messages import order
from flows.stream_writer.stages.tables import joined
from flows.tables.table import database


class Files(Protocol):
    """Where the files of hours lie."""

    def fetch(self, hour: Hour, file: ListedFile, path: Path) -> None:
        """Put a listed file's bytes at a path, verified."""


def compact(hour: Hour, files: Sequence[ListedFile], folder: Files, scratch: Path) -> Compacted:
    """Join the files of each type and stream, in the order of their messages' ids.

    Args:
        files: of this hour, as its document names them
        folder: gives their bytes
    """
    ordered = sorted(files, key=_place_and_order)
    with database(scratch) as connection:
        made = [
            _one(connection, hour, list(group), folder, scratch / f"{number}")
            for number, (_, group) in enumerate(groupby(ordered, key=_place))
        ]
    return Compacted(hour=hour, files=tuple(made))


def _one(
    connection: duckdb.DuckDBPyConnection, hour: Hour, files: list[ListedFile], folder: Files, scratch: Path
) -> NewFile:
    scratch.mkdir()
    paths = [scratch / f"{number}.parquet" for number in range(len(files))]
    for file, path in zip(files, paths, strict=True):
        folder.fetch(hour, file, path)
    first = min((file.first for file in files), key=order)
    last = max((file.last for file in files), key=order)
    target = scratch / f"{files[0].stream}_{first}_{last}.parquet"
    rows = joined(connection, paths, target)
    for path in paths:
        path.unlink()
    return NewFile(
        file=target,
        rows=rows,
        type=files[0].type,
        stream=files[0].stream,
        first=first,
        last=last,
        replaced=tuple(sorted(name for file in files for name in (file.name, *file.replaced))),
    )


def _place(file: ListedFile) -> tuple[str, str]:
    return file.type, file.stream


def _place_and_order(file: ListedFile) -> tuple[str, str, tuple[int, int], str]:
    return file.type, file.stream, order(file.first), file.name
