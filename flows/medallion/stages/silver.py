"""Silver: the rows of bronze cleaned, checked, each once, and loaded as the job's mode says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from flows.medallion.stages.layer import Layer, Silver
from flows.medallion.stages.verdicts import (
    CLEANED,
    FILE,
    ROW,
    Compared,
    Unique,
    Verdict,
    Verdicts,
    verdicts,
)
from flows.medallion.workflow.modes import LoadMode
from flows.tables.audit import AUDIT, REJECTED_BY, ROW_NUMBER, SK_ID, surrogate_key
from flows.tables.cleaning import Cleaning, cleaned
from flows.tables.progress import progress
from flows.tables.quality import Check, ForeignKey, OnFailure, Rule, require_columns, row_check
from flows.tables.quoting import identifier, literal
from flows.tables.table import PARQUET, Table, database, done, read_table, rows_of

BRONZE = "bronze"
KEY_RULE = "primary_key"
"""The rule that every row has a key where the job has one."""
MEMORY = "512MB"


def silver(  # noqa: PLR0913, PLR0917
    bronze: Sequence[Layer],
    digests: Sequence[str],
    cleaning: Cleaning,
    rules: Sequence[Rule],
    primary_keys: Sequence[str],
    load_mode: LoadMode,
    parents: Mapping[str, Table],
    after: Sequence[object] = (),  # noqa: ARG001
    *,
    say: Callable[[str], object] = print,
    scratch: Path,
) -> Silver:
    """Make a job's silver of all files that count, in their order.

    Rows are cleaned; rules look at them; of those with one key (without keys: with the same values) the last
    stays, in `append` within each file; they get `_sk_id`. In `append` and `merge` a file with the bytes of
    an earlier one adds nothing.

    Args:
        bronze: one table for each file.
        digests: what tells the content of these files apart.
        parents: the silver of the jobs that foreign keys name.
        after: something of each stage that comes first; waiting for it is all.

    Raises:
        QualityError: if a rule fails the run, or a rule or key names a column that is not there.
    """
    files = list(_once(bronze, digests, load_mode))
    with database(scratch) as connection, progress(say, lambda: done(connection)):
        connection.execute(f"set memory_limit = '{MEMORY}'; set enable_external_file_cache = false")
        types = _rows(connection, files)
        names = _keys(primary_keys, types)
        checks = _cleaned(connection, types, cleaning, rules, names, parents)
        uniques = [Unique(rule.title, rule.on_failure, rule.unique) for rule in rules if rule.unique]
        identity = Compared(tuple(names or types), nulls=True)
        rows = sum(layer.rows_out for layer in files)
        compared = [identity, *(unique.compared for unique in uniques)]
        found = verdicts(connection, checks, compared, rows, scratch)
        _judge(found, identity, uniques, load_mode)
        return _written(connection, found, types, names, files, parents, scratch)


def _once(bronze: Sequence[Layer], digests: Sequence[str], load_mode: LoadMode) -> Iterator[Layer]:
    """The files that count."""
    before: set[str] = set()
    for layer, digest in zip(bronze, digests, strict=True):
        if load_mode is LoadMode.REPLACE or digest not in before:
            yield layer
        before.add(digest)


def _rows(connection: duckdb.DuckDBPyConnection, files: Sequence[Layer]) -> dict[str, str]:
    """Make a view of all rows in their order; the types of the columns that are no audit columns."""
    parts, start = [], 0
    for number, layer in enumerate(files):
        place = f"{start} + {ROW_NUMBER} - 1 as {ROW}, {number} as {FILE}"
        parts.append(f"select *, {place} from {rows_of(layer.table.file)}")  # noqa: S608
        start += layer.rows_out
    connection.execute(f"create view {BRONZE} as {' union all by name '.join(parts)}")
    described = connection.execute(f"describe {BRONZE}").fetchall()
    return {name: type_ for name, type_, *_ in described if name not in (*AUDIT, ROW, FILE)}


def _keys(primary_keys: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """The key's columns as the table calls them."""
    require_columns("primary_keys", primary_keys, types)
    wanted = [name.lower() for name in primary_keys]
    return sorted(
        (name for name in types if name.lower() in wanted), key=lambda name: wanted.index(name.lower())
    )


def _cleaned(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    types: Mapping[str, str],
    cleaning: Cleaning,
    rules: Sequence[Rule],
    keys: Sequence[str],
    parents: Mapping[str, Table],
) -> list[Check]:
    """Make the view of cleaned rows; what looks at one of its rows at a time."""
    made = cleaned(cleaning, types)
    selected = [f"{expression} as {identifier(name)}" for name, expression in made.selected.items()]
    mistyped = [f"({check.broken}) as {identifier(_flag(check))}" for check in made.checks]
    others = [*AUDIT, ROW, FILE]
    listed = ", ".join([*selected, *others, *mistyped])
    connection.execute(f"create view {CLEANED} as select {listed} from {BRONZE}")  # noqa: S608
    described = connection.execute(f"describe {CLEANED}").fetchall()
    new = {name: type_ for name, type_, *_ in described if name in types}
    checks = [
        Check(check.name, check.on_failure, identifier(_flag(check)), check.columns) for check in made.checks
    ]
    if keys:
        broken = " or ".join(f"{identifier(key)} is null" for key in keys)
        checks.append(Check(KEY_RULE, OnFailure.QUARANTINE, broken, tuple(keys)))
    for number, rule in enumerate(rules):
        if rule.unique:
            require_columns(f"rule {rule.title}", rule.unique, new)
            continue
        orphans = (
            _orphans(connection, rule, rule.foreign_key, new, parents, number) if rule.foreign_key else None
        )
        checks.append(row_check(rule, new, orphans))
    return checks


def _flag(check: Check) -> str:
    return f"_larder_{check.name}"


def _orphans(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    key: ForeignKey,
    types: Mapping[str, str],
    parents: Mapping[str, Table],
    number: int,
) -> str:
    """Make a table of the values that stand in no row of the other job's silver."""
    who, parent = f"rule {rule.title}", parents[key.job]
    require_columns(who, rule.columns, types)
    require_columns(
        f"{who}, in the silver of {key.job}", [key.field], {one.name: one.type for one in parent.columns}
    )
    table, column, field = f"orphans_{number}", identifier(key.column), identifier(key.field)
    values = f"select distinct {column}::varchar as value from {CLEANED} where {column} is not null"  # noqa: S608
    known = f"(select {field}::varchar as value from {rows_of(parent.file)})"  # noqa: S608
    connection.execute(f"create temp table {table} as from ({values}) anti join {known} using (value)")
    return table


def _judge(found: Verdicts, identity: Compared, uniques: Sequence[Unique], load_mode: LoadMode) -> None:
    """Rules first, then duplicates. In `merge` a file is compared with itself before it is merged."""
    found.checked()
    merges = load_mode is LoadMode.MERGE
    for unique in uniques:
        found.unique(unique, within_files=merges)
    found.duplicates(identity, within_files=load_mode is LoadMode.APPEND)
    for unique in uniques if merges else ():
        found.unique(unique, within_files=False)


def _written(  # noqa: PLR0913, PLR0917
    connection: duckdb.DuckDBPyConnection,
    found: Verdicts,
    types: Mapping[str, str],
    keys: Sequence[str],
    files: Sequence[Layer],
    parents: Mapping[str, Table],
    scratch: Path,
) -> Silver:
    made, quarantine = scratch / "silver.parquet", scratch / "quarantine.parquet"
    columns = ", ".join(map(identifier, types))
    listed = f"{columns}, {', '.join(AUDIT)}"
    staying = f"{CLEANED} positional join {rows_of(found.staying())} where stays"
    kept = f"select {listed}, {surrogate_key(keys or list(types))} as {SK_ID} from {staying}"  # noqa: S608
    rejected = f"select {listed}, ''::varchar as {REJECTED_BY} from {BRONZE} limit 0"  # noqa: S608
    if found.rejected_by:
        named = f"{BRONZE} join ({found.rejections()}) using ({ROW}) order by {ROW}"
        rejected = f"select {listed}, names as {REJECTED_BY} from {named}"  # noqa: S608
    _copy(connection, kept, made)
    _copy(connection, rejected, quarantine)
    table = read_table(connection, made)
    return Silver(
        table=table,
        rows_in=found.rows,
        rows_out=table.rows,
        rows_rejected=found.count(Verdict.REJECTED),
        duplicates=found.count(Verdict.DUPLICATE),
        schema_=table.columns,
        parents=_names(files, parents),
        warnings=(*_missing(files, types), *found.warnings) or None,
        quarantine=read_table(connection, quarantine),
        rejected_by=found.rejected_by,
        read={name: layer.rows_out for layer in files for name in layer.parents},
    )


def _names(files: Sequence[Layer], parents: Mapping[str, Table]) -> tuple[str, ...]:
    sources = dict.fromkeys(name for layer in files for name in layer.parents)
    return (*sources, *(f"silver of {job}" for job in parents))


def _missing(files: Sequence[Layer], types: Mapping[str, str]) -> Iterator[str]:
    """Which files do not have all columns."""
    for layer in files:
        there = {column.name.lower() for column in layer.schema_}
        if missing := [name for name in types if name.lower() not in there]:
            yield f"{layer.parents[0]} has no column {', '.join(missing)}: null in its rows"


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    connection.execute(f"copy ({query}) to {literal(str(target))} ({PARQUET})")
