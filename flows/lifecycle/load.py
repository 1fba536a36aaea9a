"""Load: one input from the catalog, as Parquet."""

import csv
from pathlib import Path

import duckdb

from flows.lifecycle.sources import READABLE, Catalog, InputError
from flows.lifecycle.tables import Table, csv_to_parquet, database, read_table
from flows.recipe import FileType, LockedDataset


def load(dataset: LockedDataset, *, catalog: Catalog, scratch: Path) -> Table:
    """Fetch one input and make it Parquet, `<id>.parquet` in `scratch`.

    Columns of a CSV file are text, so that `00042` keeps its zeros; an empty field is null. Parquet stays
    what it is.

    Raises:
        InputError: where the file is not in the catalog, or is not what its name says.
        CatalogUnreachable: where the catalog did not answer.
    """
    if dataset.file_type not in READABLE:
        raise InputError(dataset.id, dataset.version, f"{dataset.file_type} files cannot be read.")
    table = scratch / f"{dataset.id}.parquet"
    fetched = table if dataset.file_type is FileType.PARQUET else scratch / f"{dataset.id}.csv"
    catalog.fetch(dataset.id, dataset.version, dataset.file_type, fetched)
    try:
        with database(scratch) as connection:
            if fetched != table:
                csv_to_parquet(connection, fetched, table)
                fetched.unlink()
            return read_table(connection, table)
    except (duckdb.Error, csv.Error, ValueError) as error:
        said = " ".join(str(error).partition("Possible fixes")[0].split())
        cause = f"{fetched.name} is no readable {dataset.file_type} file: {said:.300}"
        raise InputError(dataset.id, dataset.version, cause) from error
