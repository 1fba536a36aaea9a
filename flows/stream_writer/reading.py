"""How the folder is read: the files that the documents of hours name, as a list and as views of DuckDB."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from flows.stream_writer.batch import Hour, ListedFile
from flows.stream_writer.declared import QUARANTINE
from flows.stream_writer.hours import Hours, file_name
from flows.stream_writer.messages import hour_of
from flows.tables.quoting import identifier, literal
from larder.store import Store


@dataclass(frozen=True)
class CountingFile:
    """A file that counts, and where it is."""

    hour: Hour
    uri: str
    listed: ListedFile


def counting_files(
    store: Store, since: datetime | None = None, until: datetime | None = None, types: Iterable[str] = ()
) -> list[CountingFile]:
    """The files that hold the events from `since` until before `until`, whole hours, each event once.

    Args:
        types: of events; all but the quarantine where none is given
    """
    wanted = frozenset(types)
    hours = Hours(store)
    return [
        CountingFile(hour, store.uri(file_name(hour, file)), file)
        for hour in _hours(hours, since, until)
        for file in hours.document(hour).files
        if (file.type in wanted if wanted else file.type != QUARANTINE)
    ]


def refresh(
    connection: duckdb.DuckDBPyConnection, files: Sequence[CountingFile], prefix: str | None = None
) -> tuple[str, ...]:
    """Make a view for each type of event over the files that count now; the names of the views.

    A view reads the variable `larder_<type>`, so a query sees the files of one refresh and no others.

    Args:
        prefix: in place of `s3://<bucket>/`, where the connection reaches the bucket otherwise
    """
    by_type: dict[str, list[str]] = {}
    for file in files:
        name = file.uri if prefix is None else prefix + file.uri.split("/", 3)[3]
        by_type.setdefault(file.listed.type, []).append(name)
    for type_, names in by_type.items():
        listed = ", ".join(map(literal, names))
        variable = identifier(f"larder_{type_}")
        connection.execute(f"set variable {variable} = [{listed}]")
        connection.execute(
            f"create or replace view {identifier(type_)} as select * from "  # noqa: S608
            f"read_parquet(getvariable({literal(f'larder_{type_}')}), union_by_name = true, "
            "hive_partitioning = true, hive_types_autocast = false)"
        )
    return tuple(by_type)


def snapshot_sql(root: str, type_: str) -> str:
    """The same for one type in plain SQL: one statement sets the files that count now, one makes the view.

    Args:
        root: `s3://<bucket>/streams`, or where a copy of that folder lies
    """
    hours = literal(f"{root}/year=*/month=*/day=*/hour=*/hour.json")
    variable = f"larder_{type_}"
    return (
        f"set variable {identifier(variable)} = (\n"  # noqa: S608
        "  select list(regexp_replace(filename, 'hour\\.json$', '')\n"
        "    || 'type=' || file.type || '/' || file.name)\n"
        f"  from (select filename, unnest(files) as file from read_json({hours}, filename = true,\n"
        "        hive_partitioning = false, union_by_name = true, maximum_object_size = 67108864))\n"
        f"  where file.type = {literal(type_)});\n"
        f"create or replace view {identifier(type_)} as select * from read_parquet(\n"
        f"  getvariable({literal(variable)}), union_by_name = true, hive_partitioning = true,\n"
        "  hive_types_autocast = false);\n"
    )


def _hours(hours: Hours, since: datetime | None, until: datetime | None) -> Iterator[Hour]:
    first = hour_of(since) if since else ""
    for hour in hours.all():
        if hour < first:
            continue
        if until is not None and hour >= hour_of(until.astimezone(UTC) + timedelta(hours=1, microseconds=-1)):
            return
        yield hour
