"""Load: one input from the catalog, as Parquet."""

import csv
from pathlib import Path

import duckdb

from flows.lifecycle.readers import READERS
from flows.lifecycle.sources import EXTENSIONS, READABLE, Catalog, InputError
from flows.lifecycle.tables import Table, database, read_table
from flows.recipe import LockedDataset


def load(dataset: LockedDataset, *, catalog: Catalog, scratch: Path) -> Table:
    """Fetch one input and make it Parquet, `<id>.parquet` in `scratch`.

    Columns of a CSV file or a sheet are text, so that `00042` keeps its zeros; an empty field is null. JSON
    keeps its numbers and truth. Parquet stays what it is.

    Raises:
        InputError: where the file is not in the catalog, or is not what its name says.
        CatalogUnreachable: where the catalog did not answer.
    """
    if dataset.file_type not in READABLE:
        raise InputError(dataset.id, dataset.version, f"{dataset.file_type} files cannot be read.")
    table = scratch / f"{dataset.id}.parquet"
    reader = READERS.get(dataset.file_type)
    fetched = scratch / f"fetched.{EXTENSIONS[dataset.file_type]}" if reader else table
    catalog.fetch(dataset.id, dataset.version, dataset.file_type, fetched)
    try:
        with database(scratch) as connection:
            if reader:
                reader(connection, fetched, table, dataset.custom)
            return read_table(connection, table)
    except (duckdb.Error, csv.Error, ValueError) as error:
        said = " ".join(str(error).partition("Possible fixes")[0].split())
        cause = f"{dataset.id} is no readable {dataset.file_type} file: {said:.300}"
        raise InputError(dataset.id, dataset.version, cause) from error
