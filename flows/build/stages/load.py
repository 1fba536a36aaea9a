"""Load: one input from the catalog, as Parquet."""

from pathlib import Path
from tempfile import TemporaryDirectory

from flows.build.catalog import Catalog, InputError
from flows.build.input_files import EXTENSIONS, READABLE
from flows.build.recipe.lock import LockedDataset
from flows.tables.bounds import Bounds
from flows.tables.progress import Say, progress
from flows.tables.reading import UnreadableError, read_input
from flows.tables.table import Table


def load(
    dataset: LockedDataset,
    *,
    catalog: Catalog,
    bounds: Bounds = Bounds(),  # noqa: B008
    say: Say = print,
    scratch: Path,
) -> Table:
    """Fetch one input and make it Parquet, `<id>.parquet` in `scratch`.

    Columns of a CSV file or a sheet are text, so that `00042` keeps its zeros; an empty field is null. JSON
    keeps its numbers and truth. Parquet stays what it is. Of a long one it says how far it is. The file is
    read in a process of its own, within `bounds`.

    Raises:
        InputError: where the file is not in the catalog, or is not what its name says.
        CatalogUnreachable: where the catalog did not answer.
        duckdb.IOException, duckdb.OutOfMemoryException: where disk or memory did not suffice.
    """
    if dataset.file_type not in READABLE:
        raise InputError(dataset.id, dataset.version, f"{dataset.file_type} files cannot be read.")
    with TemporaryDirectory(dir=scratch) as folder:
        table = _load(dataset, catalog, bounds, say, Path(folder))
        file = Path(str(table.file)).rename(scratch / f"{dataset.id}.parquet")
    return table.model_copy(update={"file": file})


def _load(dataset: LockedDataset, catalog: Catalog, bounds: Bounds, say: Say, folder: Path) -> Table:
    def said(line: str) -> None:
        say(f"{dataset.id}: {line}")

    target = folder / f"{dataset.id}.parquet"
    asked = (dataset.id, dataset.version, dataset.file_type)
    source = catalog.in_place(*asked)
    if source is None:
        source = folder / f"fetched.{EXTENSIONS[dataset.file_type]}"
        with progress(say, lambda: f"{dataset.id}: {_mebibytes(folder):,.0f} MiB fetched"):
            catalog.fetch(*asked, source)
    try:
        table = read_input(dataset.file_type, source, target, dataset.custom, bounds, said)
    except UnreadableError as error:
        name = f"{dataset.id}.{EXTENSIONS[dataset.file_type]} of the catalog {catalog.place}"
        cause = f"{name} is no readable {dataset.file_type} file: {error}."
        raise InputError(dataset.id, dataset.version, cause) from error
    warnings = [*table.warned, *(() if table.rows else ("it has no rows",))]
    return table.model_copy(update={"warnings": tuple(warnings) or None})


def _mebibytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 2**20
