"""Geodatabases in zip files as Parquet, in whatever folder of it they stand."""

import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb

from flows.tables.features_reader import features_to_parquet
from flows.tables.shapefile_parts import DAMAGES, OF_MACOS


def geodatabase_to_parquet(
    connection: duckdb.DuckDBPyConnection, source: Path, target: Path, custom: Mapping[str, Any]
) -> list[str]:
    """Write a layer of a zipped geodatabase as Parquet; `custom` as for other features.

    Raises:
        ValueError: if the zip file is not whole or holds several, or as for other features.
    """
    return features_to_parquet(connection, geodatabase_in(source), target, custom)


def geodatabase_in(source: Path) -> Path:
    """Where GDAL finds the geodatabase of a zip file, which is the file itself where it stands in no folder.

    Raises:
        ValueError: if the zip file is not whole, or there are several.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            paths = [PurePosixPath(name) for name in archive.namelist()]
    except DAMAGES as error:
        raise ValueError(f"it is no whole zip file ({error})") from error
    folders = {
        folder
        for path in paths
        if not any(part.startswith(OF_MACOS) for part in path.parts)
        for folder in (path, *path.parents)
        if folder.suffix.lower() == ".gdb"
    }
    if len(folders) > 1:
        listed = ", ".join(sorted(map(str, folders)))
        raise ValueError(
            f"its zip file holds {len(folders)} geodatabases ({listed}): give each a file of its own"
        )
    found = next(iter(folders), None)
    inside = found is not None and len(found.parts) > 1
    return Path(f"/vsizip/{{{source}}}/{found}") if inside else source
