"""What must hold for the rows of a table, and what becomes of rows for which it does not."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

import duckdb
from pydantic import AfterValidator, Field, model_validator

from flows.tables.column_types import TEXT
from flows.tables.quoting import identifier, literal
from flows.tables.sql import QueryError, references, require_expression
from flows.tables.sql_model import Columns
from flows.tables.table import small_tables
from larder.artifacts import Frozen
from larder.names import Name, wrong

ROWS = "rows_of_the_table"
KINDS = ("not_null", "unique", "range", "pattern", "enum", "foreign_key", "expression")


class QualityError(Exception):
    """Rows that a rule does not allow, or a rule that does not fit the table."""


class OnFailure(StrEnum):
    """What becomes of rows that break a rule."""

    FAIL = "fail"
    """The run fails."""
    WARN = "warn"
    """They stay, and people are told."""
    QUARANTINE = "quarantine"
    """They go to a table of their own, with the rule's name."""


class Range(Frozen):
    """The least and the greatest value that a column may have; null passes."""

    column: str
    min: str | None = None
    max: str | None = None

    @model_validator(mode="after")
    def _any_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise wrong("neither", "min, max, or both")
        return self


def _regular_expression(text: str) -> str:
    with small_tables() as connection:
        try:
            connection.execute("select regexp_matches('', ?)", [text]).fetchall()
        except duckdb.Error as error:
            raise ValueError("a regular expression (RE2)") from error
    return text


class Pattern(Frozen):
    """A regular expression that is found in every value of a column; null passes."""

    column: str
    matches: Annotated[str, AfterValidator(_regular_expression)]


class Enumeration(Frozen):
    """The values that a column may have, as text; null passes."""

    column: str
    values: tuple[str, ...] = Field(min_length=1)


class ForeignKey(Frozen):
    """A column whose values all stand in a column of another job's silver; null passes."""

    column: str
    job: Name
    references: str | None = None
    """The other job's column; None where it is called as this one."""

    @property
    def field(self) -> str:
        """The other job's column."""
        return self.references or self.column


class Rule(Frozen):
    """What must hold for every row: exactly one of the seven."""

    name: Name | None = None
    """How a quarantined row and what people are told call it; else what it is and its columns."""
    not_null: Columns = ()
    unique: Columns = ()
    """Together, where they are several; rows with a null among them do not count. The last row stays."""
    range: Range | None = None
    pattern: Pattern | None = None
    enum: Enumeration | None = None
    foreign_key: ForeignKey | None = None
    expression: str | None = None
    """SQL over the columns, false for no row; null passes."""
    on_failure: OnFailure = OnFailure.QUARANTINE

    @model_validator(mode="before")
    @classmethod
    def _expression_alone(cls, value: Any) -> Any:
        return {"expression": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind)]
        if len(kinds) != 1:
            raise wrong(" and ".join(kinds) or "a rule of nothing", f"one of {', '.join(KINDS)}")
        if self.expression is not None:
            _require_own_columns(self.expression)
        return self

    @property
    def kind(self) -> str:
        """Which of the seven it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at; none for an expression."""
        if self.expression is not None:
            return ()
        of_one = self.range or self.pattern or self.enum or self.foreign_key
        return (of_one.column,) if of_one else self.not_null or self.unique

    @property
    def title(self) -> str:
        """Its name."""
        if self.name:
            return self.name
        return (
            f"({' '.join(self.expression.split())})"
            if self.expression
            else "_".join((self.kind, *self.columns))
        )


def _require_own_columns(expression: str) -> None:
    try:
        require_expression(expression)
        found = references(f"select 1 from {ROWS} where not ({expression}\n)")  # noqa: S608
    except QueryError as error:
        raise wrong(error.found, error.expected) from error
    if others := [one.name for one in found if one.name != ROWS]:
        raise wrong(f"the table {others[0]}", "an expression over the table's own columns")


@dataclass(frozen=True)
class Check:
    """A rule as SQL that says of one row whether it breaks the rule."""

    name: str
    on_failure: OnFailure
    broken: str
    columns: tuple[str, ...] = ()


def row_check(rule: Rule, types: Mapping[str, str], orphans: str | None = None) -> Check:
    """A rule that looks at one row at a time, as SQL.

    Args:
        types: the SQL type of each column.
        orphans: for a foreign key, a table of the values that the other job does not have, column `value`.

    Raises:
        QualityError: if it names a column that is not there.
    """
    require_columns(f"rule {rule.title}", rule.columns, types)
    columns = [identifier(column) for column in rule.columns]
    match rule:
        case Rule(range=Range() as one):
            broken = " or ".join(_beyond(one, types[_named(one.column, types)]))
        case Rule(pattern=Pattern() as one):
            broken = f"not regexp_matches({columns[0]}::varchar, {literal(one.matches)})"
        case Rule(enum=Enumeration() as one):
            broken = f"{columns[0]}::varchar not in ({', '.join(map(literal, one.values))})"
        case Rule(foreign_key=ForeignKey()):
            broken = f"{columns[0]}::varchar in (select value from {orphans})"  # noqa: S608
        case Rule(expression=str() as expression):
            broken = f"not ({expression}\n)"
        case _:
            broken = " or ".join(f"{column} is null" for column in columns)
    return Check(rule.title, rule.on_failure, broken, rule.columns)


def require_columns(who: str, wanted: Sequence[str], known: Mapping[str, str]) -> None:
    """Return if all columns are there; case does not count.

    Raises:
        QualityError: if one is not.
    """
    there = {name.lower() for name in known}
    for column in wanted:
        if column.lower() not in there:
            raise QualityError(f"{who}: there is no column {column}; there are {', '.join(known)}.")


def _named(column: str, types: Mapping[str, str]) -> str:
    return next(name for name in types if name.lower() == column.lower())


def _beyond(one: Range, type_: str) -> list[str]:
    """A text column is compared as numbers where the bound is a number; what is none breaks the rule."""
    column = identifier(one.column)
    broken = []
    for bound, sign in ((one.min, "<"), (one.max, ">")):
        if bound is None:
            continue
        if type_ == TEXT and _is_number(bound):
            number = f"try_cast({column} as double)"
            broken.append(f"({column} is not null and coalesce({number} {sign} {bound}, true))")
        else:
            broken.append(f"{column} {sign} {literal(bound)}")
    return broken


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
