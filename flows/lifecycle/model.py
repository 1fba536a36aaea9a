"""Models: named SQL over inputs and other models."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flows.lifecycle.sql import QueryError, place, references
from flows.lifecycle.tables import PARQUET, Table, confined, database, identifier, literal, read_table
from flows.recipe import Model, ModelTest, Problem, Severity

MODELS = "stage_config.builds.build.models"
OWN = "larder_model_under_test"
"""What the queries of tests call the model's own rows."""
ROWS_SHOWN = 5
LONGEST_ROW = 300


class ModelError(Exception):
    """A model that DuckDB refuses, or whose rows are not as its tests say."""


def model(name: str, definition: Model, tables: Mapping[str, Table], scratch: Path) -> Table:
    """The rows of a query, as `<name>.parquet` in `scratch`, once its tests hold.

    The query sees `tables` and nothing else: no file, no network, no setting. It runs on one thread, so that
    the same rows come in the same order, with the same last digits in sums.

    Raises:
        ModelError: where DuckDB refuses the query, or a test does not hold.
    """
    reads(name, definition, tuple(tables))
    target = scratch / f"{name}.parquet"
    with database(scratch) as connection:
        for known, table in tables.items():
            view = f"create view {identifier(known)} as from read_parquet({literal(str(table.file))})"
            connection.execute(view)
        confined(connection, [target, *(Path(str(table.file)) for table in tables.values())])
        try:
            written = f"{literal(str(target))} ({PARQUET}, use_tmp_file false)"
            connection.execute(f"copy (\n{_plain(definition.sql)}\n) to {written}")
        except duckdb.Error as error:
            raise ModelError(f"Model {name} cannot be run: {_said(error)}") from error
        warnings = tuple(_tested(connection, name, definition, target))
        return read_table(connection, target).model_copy(update={"warnings": warnings or None})


def reads(name: str, definition: Model, known: tuple[str, ...]) -> list[str]:
    """The tables of `known` that a model's query and tests read.

    Raises:
        ModelError: where one reads something else.
    """
    problems = list(problems_of(name, definition, known))
    if problems:
        raise ModelError("; ".join(map(str, problems)))
    names = {table.lower(): table for table in known}
    found = [names[reference.name.lower()] for reference in _references(definition)]
    return sorted(set(found))


def in_order(models: Mapping[str, Model], inputs: tuple[str, ...]) -> dict[str, list[str]]:
    """The tables that each model reads; a model stands behind those that it reads.

    Raises:
        ModelError: where a model reads what is not there, or itself, directly or through others.
    """
    tables = {name: reads(name, model, (*inputs, *models)) for name, model in models.items()}
    ordered, circle = _sorted(tables)
    if circle:
        raise ModelError(f"Models read each other: {', '.join(circle)}.")
    return {name: tables[name] for name in ordered}


def check_models(models: Mapping[str, Model], inputs: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with the models of a recipe."""
    taken = {name.lower(): name for name in inputs}
    clear: dict[str, list[str]] = {}
    for name, definition in models.items():
        if name.lower() in taken:
            found = f"{name}, which {taken[name.lower()]} is called too"
            yield Problem(f"{MODELS}.{name}", found, "a name that no input and no other model has")
        taken[name.lower()] = name
        problems = list(problems_of(name, definition, (*inputs, *models)))
        yield from problems
        if not problems:
            clear[name] = reads(name, definition, (*inputs, *models))
    if circle := _sorted(clear)[1]:
        found = f"{', '.join(circle)}, which read{'s itself' if len(circle) == 1 else ' each other'}"
        yield Problem(f"{MODELS}.{circle[0]}", found, "models that do not depend on themselves")


def _sorted(tables: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    """The models behind those that they read, and those that cannot be sorted."""
    done: list[str] = []
    waiting = dict(tables)
    while ready := [name for name, read in waiting.items() if not set(read) & set(waiting)]:
        done += ready
        for name in ready:
            del waiting[name]
    return done, list(waiting)


def problems_of(name: str, definition: Model, known: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong with one model, where `known` are all tables that there are."""
    names = {table.lower() for table in known}
    for part in _parts(definition):
        where = f"{MODELS}.{name}{part.place}"
        try:
            found = part.references()
        except QueryError as error:
            yield Problem(where, error.found + part.at(error.at), error.expected)
            continue
        for reference in found:
            if reference.name.lower() not in names:
                several = [table for table in known if table.startswith(f"{reference.name}@")]
                valid = f"one of {', '.join(sorted(known))}" if known else "no table: there are no inputs"
                if several:
                    valid = "an import_as for each of " + ", ".join(several)
                yield Problem(where, f"table {reference.name}{part.at(reference.at)}", valid)


@dataclass(frozen=True)
class _Part:
    """A query within a model: its own, or that of a test."""

    place: str
    query: str
    before: int = 0
    own: str | None = None

    def references(self) -> list["_Reference"]:
        return [
            _Reference(one.name, one.at) for one in references(self.query) if one.name.lower() != self.own
        ]

    def at(self, offset: int | None) -> str:
        if offset is None or offset < self.before:
            return ""
        return f" ({place(self.query[self.before :], offset - self.before)})"


@dataclass(frozen=True)
class _Reference:
    name: str
    at: int | None


def _parts(definition: Model) -> Iterator[_Part]:
    yield _Part("", definition.sql)
    for number, test in enumerate(definition.tests):
        where = f".tests[{number}]"
        if test.expression is not None:
            head = f"select 1 from {OWN} where not ("  # noqa: S608
            yield _Part(where, f"{head}{test.expression}\n)", len(head), OWN)
        if test.relationships is not None:
            yield _Part(f"{where}.relationships.to", f"from {identifier(test.relationships.to)}", 10**9)


def _references(definition: Model) -> Iterator[_Reference]:
    for part in _parts(definition):
        yield from part.references()


def _plain(sql: str) -> str:
    return sql.strip().removesuffix(";")


def _tested(
    connection: duckdb.DuckDBPyConnection, name: str, definition: Model, target: Path
) -> Iterator[str]:
    connection.execute(f"create view {OWN} as from read_parquet({literal(str(target))})")
    columns = [row[0] for row in connection.execute(f"describe {OWN}").fetchall()]
    failed = []
    for test in definition.tests:
        said = f"test {_title(test)} of model {name}"
        for column in _columns(test):
            if column.lower() not in {one.lower() for one in columns}:
                raise ModelError(f"{said}: there is no column {column}; there are {', '.join(columns)}.")
        try:
            offending = connection.execute(
                f"select count(*) over (), * from ({_offending(test)}) limit {ROWS_SHOWN}"  # noqa: S608
            )
            names = [column[0] for column in offending.description][1:]
            rows = offending.fetchall()
        except duckdb.Error as error:
            raise ModelError(f"{said} cannot be run: {_said(error)}") from error
        if rows:
            shown = "; ".join(_row(names, row[1:]) for row in rows)
            found = f"{said} does not hold for {rows[0][0]} rows, first: {shown}"
            if test.severity is Severity.WARN:
                yield found
            else:
                failed.append(found)
    if failed:
        raise ModelError(". ".join(failed))


def _title(test: ModelTest) -> str:
    match test:
        case ModelTest(accepted_values=values) if values:
            return f"accepted_values of {values.column}"
        case ModelTest(relationships=related) if related:
            return f"relationships of {related.column} to {related.to}.{related.field}"
        case ModelTest(expression=expression) if expression:
            return f"({' '.join(expression.split())})"
    return f"{test.kind} of {', '.join(_columns(test))}"


def _columns(test: ModelTest) -> tuple[str, ...]:
    match test:
        case ModelTest(accepted_values=values) if values:
            return (values.column,)
        case ModelTest(relationships=related) if related:
            return (related.column,)
    return test.not_null or test.unique


def _offending(test: ModelTest) -> str:
    """A query for the rows for which a test does not hold."""
    columns = [identifier(column) for column in _columns(test)]
    listed = ", ".join(columns)
    match test:
        case ModelTest(accepted_values=values) if values:
            valid = ", ".join(literal(value) for value in values.values)
            return f"from {OWN} where {listed}::varchar not in ({valid})"
        case ModelTest(relationships=related) if related:
            other = f"select {identifier(related.field)} from {identifier(related.to)}"  # noqa: S608
            return f"from {OWN} where {listed} is not null and {listed} not in ({other} where {identifier(related.field)} is not null)"  # noqa: E501
        case ModelTest(expression=expression) if expression:
            return f"from {OWN} where not ({expression}\n)"
        case ModelTest(unique=unique) if unique:
            nulls = " and ".join(f"{column} is not null" for column in columns)
            grouped = f"from {OWN} where {nulls} group by {listed} having count(*) > 1 order by {listed}"
            return f'select {listed}, count(*) as "times" {grouped}'
    return f"from {OWN} where {' or '.join(f'{column} is null' for column in columns)}"


def _row(names: list[str], values: tuple[object, ...]) -> str:
    text = ", ".join(f"{name} {value!r}" for name, value in zip(names, values, strict=True))
    return text if len(text) <= LONGEST_ROW else text[: LONGEST_ROW - 1] + "…"


def _said(error: duckdb.Error) -> str:
    return " ".join(str(error).split())[:500]
