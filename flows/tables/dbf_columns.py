"""The numbers and dates of a DBF table, from the text that stands there: none loses a digit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from flows.tables.dbf import DATES, NUMBERS, Field
from flows.tables.numbers import is_exact_double, is_exact_integer
from flows.tables.quoting import identifier

INTEGER_WIDTH = 10
"""Whole numbers in fields narrower than this are INTEGER."""
NOT_FINITE = ("nan", "inf", "+inf", "-inf", "-nan", "infinity", "-infinity", "1.#inf", "-1.#ind", "1.#qnan")
NO_DATE = "00000000"
DATE_FORMATS = "['%Y%m%d', '%Y/%m/%d', '%Y-%m-%d']"


@dataclass(frozen=True)
class Written:
    """A column as the text that stands in its field."""

    name: str
    field: Field

    @property
    def _trimmed(self) -> str:
        return f"nullif(trim({identifier(self.name)}, ' *'), '')"

    @property
    def is_not_finite(self) -> str:
        """SQL for whether it stands for no finite number."""
        return f"coalesce(lower({self._trimmed}) in {NOT_FINITE}, false)"

    @property
    def text(self) -> str:
        """SQL for what stands there; null where nothing does. Stars are a number that is not there."""
        if self.field.type in DATES:
            return f"nullif({self._trimmed}, '{NO_DATE}')"
        return f"case when {self.is_not_finite} then null else {self._trimmed} end"

    @property
    def types(self) -> dict[str, tuple[str, str]]:
        """What it may be, the best first: whether a value is one, and the value as one, in SQL."""
        text = f"({self.text})"
        if self.field.type in DATES:
            date = f"try_strptime({text}, {DATE_FORMATS})"
            return {"date": (f"({date} is not null)", f"{date}::date")}
        double = {"double": (is_exact_double(text), f"{text}::double")}
        if self.field.decimals:
            return double
        integer = "integer" if self.field.width < INTEGER_WIDTH else "bigint"
        return {integer: (is_exact_integer(text), f"{text}::{integer}"), **double}


def typed_columns(
    connection: duckdb.DuckDBPyConnection, read: str, fields: Mapping[str, Field]
) -> tuple[dict[str, str], list[str]]:
    """SQL for the columns of numbers and dates, by their names; and what is text since no number holds it.

    Args:
        read: SQL for the rows, with `file_row_number`, where every such column is text.
    """
    columns = [Written(name, field) for name, field in fields.items() if field.type in NUMBERS + DATES]
    if not columns:
        return {}, []
    asked = [part for column in columns for part in _asked(column)]
    answers = iter(connection.execute(f"select {', '.join(asked)} from {read}").fetchall()[0])  # noqa: S608
    made, warnings = {}, []
    for column in columns:
        not_finite = next(answers)
        refused = {type_: next(answers) for type_ in column.types}
        right = next((type_ for type_, row in refused.items() if row is None), None)
        made[column.name] = column.types[right][1] if right else column.text
        if not_finite:
            warnings.append(f"column {column.name}: {not_finite:,} NaN or infinite values are null")
        if right is None:
            warnings.append(_why(connection, read, column, list(refused.values())[-1]))
    return made, warnings


def _asked(column: Written) -> list[str]:
    wrong = "min(file_row_number) filter (where {0} is not null and not {1})"
    firsts = [wrong.format(f"({column.text})", is_one) for is_one, _ in column.types.values()]
    return [f"count(*) filter (where {column.is_not_finite})", *firsts]


def _why(connection: duckdb.DuckDBPyConnection, read: str, column: Written, row: int) -> str:
    text = f"({column.text})"
    query = f"select {text}, try_cast({text} as double) from {read} where file_row_number = {row}"  # noqa: S608
    value, number = _only(connection, query)
    kind = "date" if column.field.type in DATES else "number"
    why = f"is no {kind}" if number is None or kind == "date" else "has more digits than a number holds"
    return f"row {row + 1:,}, column {column.name}: {value} {why}, and the column is text"


def _only(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row
