"""Gold: what is counted of a job's silver, its customers, and all that the job's own SQL makes of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from flows.medallion.stages.layer import Gold
from flows.medallion.workflow.gold_names import CUSTOMERS, METRICS, breakdown_name
from flows.tables.audit import ADDED, INGESTED_AT, SK_ID
from flows.tables.quality import require_columns
from flows.tables.quoting import identifier, literal
from flows.tables.table import PARQUET, Table, database, read_table, rows_of
from larder.artifacts import Output

CUSTOMER_COLUMNS = {
    "customer_key": (SK_ID,),
    "customer_id": ("customer_id",),
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "email": ("email",),
    "country": ("country", "country_code"),
    "loyalty_tier": ("loyalty_tier",),
    "updated_at": ("updated_at", INGESTED_AT),
}
"""The columns of the customer dimension, and of silver the first that is there of these."""


class CustomerDimension(Output):
    """One row for each customer; None where silver has not its columns."""

    table: Table | None


def metrics(silver: Table, scratch: Path) -> Table:
    """Count records, columns, and nulls by column, as rows `metric`, `column`, `value`."""
    names = [column.name for column in silver.columns if column.name not in ADDED]
    listed = ", ".join(f"count(*) - count({identifier(name)})" for name in names)
    with database(scratch) as connection:
        query = f"select count(*), {listed} from {rows_of(silver.file)}"  # noqa: S608
        records, *nulls = connection.execute(query).fetchall()[0]
        rows: list[tuple[str, str | None, int]] = [("records", None, records), ("columns", None, len(names))]
        rows += [("nulls", name, count) for name, count in zip(names, nulls, strict=True)]
        connection.execute('create table metrics (metric varchar, "column" varchar, value bigint)')
        connection.executemany("insert into metrics values (?, ?, ?)", rows)
        return _written(connection, "from metrics", scratch / f"{METRICS}.parquet")


def breakdown(silver: Table, column: str, scratch: Path) -> Table:
    """Count the records of each value of a column, the most frequent first, as `value`, `records`, `share`.

    Raises:
        QualityError: if silver has no such column.
    """
    require_columns("gold.breakdowns", [column], {one.name: one.type for one in silver.columns})
    counted = (
        f"select {identifier(column)} as value, count(*) as records from {rows_of(silver.file)} group by 1"  # noqa: S608
    )
    share = f"round(records / {max(silver.rows, 1)}, 6) as share"
    query = f"select *, {share} from ({counted}) order by records desc, value nulls last"  # noqa: S608
    with database(scratch) as connection:
        return _written(connection, query, scratch / f"{breakdown_name(column)}.parquet")


def customer_dimension(silver: Table, scratch: Path) -> CustomerDimension:
    """Take the columns of a customer where silver has them; else there is no such table."""
    names = {column.name.lower(): column.name for column in silver.columns}
    selected = []
    for made, sources in CUSTOMER_COLUMNS.items():
        source = next((names[one] for one in sources if one in names), None)
        if source is None:
            return CustomerDimension(table=None)
        selected.append(f"{identifier(source)} as {made}")
    query = f"select {', '.join(selected)} from {rows_of(silver.file)}"  # noqa: S608
    with database(scratch) as connection:
        return CustomerDimension(table=_written(connection, query, scratch / f"{CUSTOMERS}.parquet"))


def gold(  # noqa: PLR0913, PLR0917
    rows_in: int,
    metric: Table | None,
    breakdowns: Mapping[str, Table],
    customers: CustomerDimension | None,
    models: Mapping[str, Table],
    parents: Sequence[str],
) -> Gold:
    """Name the tables of a job's gold."""
    tables = {METRICS: metric} if metric else {}
    tables |= {breakdown_name(column): table for column, table in breakdowns.items()}
    if customers and customers.table:
        tables[CUSTOMERS] = customers.table
    tables |= models
    return Gold(
        files={f"{name}.parquet": table.file for name, table in tables.items()},
        rows={name: table.rows for name, table in tables.items()},
        rows_in=rows_in,
        parents=tuple(parents),
    )


def _written(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> Table:
    connection.execute(f"copy ({query}) to {literal(str(target))} ({PARQUET})")
    return read_table(connection, target)
