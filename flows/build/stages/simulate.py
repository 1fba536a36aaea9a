"""The stages of a simulated build: the data is made up, everything else is real."""

import csv
import hashlib
import time
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from flows.build.catalog import Catalog
from flows.build.planning.resolve import Releases, Resolver
from flows.build.recipe.lock import Lock, LockedDataset
from flows.build.recipe.schema import CATALOG, SIMULATED, Dataset, Recipe, StageConfig
from flows.build.stages.plan import write_lock
from flows.tables.csv_reader import csv_to_parquet
from flows.tables.data_dictionary import dictionary
from flows.tables.export import Export, Exports
from flows.tables.exports import (
    Package,
    PackagedFile,
    export_names,
    with_checksums,
    write_export,
    write_text,
    zipped,
)
from flows.tables.file_types import ExportFormat, FileType
from flows.tables.table import Table, Tables, read_table, small_tables
from larder.refusal import Problem

ROWS = 100
"""How many rows a table is made up of."""
_BOROUGHS = ("Bronx", "Brooklyn", "Manhattan", "Queens", "Staten Island")


def plan(
    recipe: Recipe,
    *,
    day: date,
    catalog: Catalog,
    releases: Releases,
    scratch: Path,
) -> Lock:
    """Resolve what can be resolved, and call the rest `simulated`. Arguments and files as of a real plan.

    Raises:
        RefusedError: where the recipe contradicts itself.
        CatalogUnreachable: where the catalog did not answer.
    """

    def unresolved(_problem: Problem) -> str:
        return SIMULATED

    def file_type(dataset: Dataset, _place: str) -> FileType:
        if dataset.file_type:
            return dataset.file_type
        if dataset.source != CATALOG or dataset.version == SIMULATED:
            return FileType.PARQUET
        return catalog.preferred(dataset.id, dataset.version or "") or FileType.PARQUET

    warnings: list[str] = []
    resolver = Resolver(recipe, day, catalog, releases, unresolved, file_type, warnings.append)
    return write_lock(resolver.locked(), scratch, warnings)


def load(dataset: LockedDataset, *, seconds: float, scratch: Path) -> Table:
    """Make up one input, the same one for the same id and version."""
    time.sleep(seconds)
    return _made_up(dataset.id, f"{dataset.id}/{dataset.version}", scratch)


def build(  # noqa: PLR0913
    version: str,
    env: Mapping[str, str],  # noqa: ARG001
    config: StageConfig,  # noqa: ARG001
    tables: tuple[str, ...],
    inputs: Mapping[str, Table],
    *,
    seconds: float,
    scratch: Path,
) -> Tables:
    """Make up the tables, the same ones for the same version and inputs."""
    time.sleep(seconds)
    seed = "/".join([version, *(f"{name}:{_sha256(inputs[name])}" for name in sorted(inputs))])
    return Tables(tables={name: _made_up(name, f"{name}/{seed}", scratch) for name in tables})


def package(  # noqa: PLR0913, PLR0917
    name: str,
    product: str,
    version: str,
    exports: Exports,
    sources: Mapping[str, str],
    tables: Mapping[str, Table],
    *,
    seconds: float,
    scratch: Path,
) -> Package:
    """What a real package holds; formats but CSV and Parquet, and files of several layers, are text."""
    time.sleep(seconds)
    title = f"{name} ({product} {version})"
    exported = [
        _export(file, title, layers, tables, scratch)
        for file, layers in export_names(exports, tables).items()
    ]
    archive = [zipped(exports.zip_file_name, exported, scratch)] if exports.zip_file_name else []
    described = dictionary(title, sources, tables, scratch)
    return with_checksums([*exported, *described, *archive], scratch)


def _export(
    file: str, title: str, layers: tuple[Export, ...], tables: Mapping[str, Table], scratch: Path
) -> PackagedFile:
    first = layers[0]
    if len(layers) == 1 and first.format in (ExportFormat.CSV, ExportFormat.PARQUET):
        return write_export(file, first.model_copy(update={"custom": {}}), tables[first.name], scratch)
    described = (f"{layer.format} of {layer.name}, {_sha256(tables[layer.name])}" for layer in layers)
    return write_text(file, first.format, [title, "made up by a simulated build", *described], scratch)


def _made_up(name: str, seed: str, scratch: Path) -> Table:
    rows, table = scratch / f"{name}.csv", scratch / f"{name}.parquet"
    with rows.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("id", "name", "borough", "value"), *_rows(name, seed)])
    with small_tables() as connection:
        csv_to_parquet(connection, rows, table, {})
        rows.unlink()
        return read_table(connection, table)


def _rows(name: str, seed: str) -> Iterable[tuple[str, ...]]:
    for number in range(1, ROWS + 1):
        drawn = hashlib.sha256(f"{seed}/{number}".encode()).digest()
        value = int.from_bytes(drawn[:4]) / 1000
        yield f"{number:05d}", f"{name} {number}", _BOROUGHS[drawn[4] % len(_BOROUGHS)], f"{value:.3f}"


def _sha256(table: Table) -> str:
    return hashlib.sha256(Path(str(table.file)).read_bytes()).hexdigest()
