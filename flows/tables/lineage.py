"""Which tables each model reads, and in which order models come."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flows.tables.quoting import identifier
from flows.tables.sql import QueryError, Reference, place, references, require_expression
from flows.tables.sql_model import Model
from larder.refusal import Problem

MODELS = "stage_config.builds.build.models"
OWN = "larder_model_under_test"
"""What the queries of tests call the model's own rows."""


class ModelError(Exception):
    """A model that DuckDB refuses, or whose rows are not as its tests say."""


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
    for name in inputs if models else ():
        if taken[name.lower()] != name:
            found = f"{name} and {taken[name.lower()]}, which are one name in SQL"
            yield Problem("inputs.datasets", found, "an import_as that differs by more than case")
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
    expression: str | None = None

    def references(self) -> list[Reference]:
        if self.expression is not None:
            require_expression(self.expression)
        return [one for one in references(self.query) if one.name.lower() != self.own]

    def at(self, offset: int | None) -> str:
        if offset is None or offset < self.before:
            return ""
        return f" ({place(self.query[self.before :], offset - self.before)})"


def _parts(definition: Model) -> Iterator[_Part]:
    yield _Part("", definition.sql)
    for number, test in enumerate(definition.tests):
        where = f".tests[{number}]"
        if test.expression is not None:
            head = f"select 1 from {OWN} where not ("  # noqa: S608
            yield _Part(where, f"{head}{test.expression}\n)", len(head), OWN, test.expression)
        if test.relationships is not None:
            yield _Part(f"{where}.relationships.to", f"from {identifier(test.relationships.to)}", 10**9)


def _references(definition: Model) -> Iterator[Reference]:
    for part in _parts(definition):
        yield from part.references()
