"""Columns as the format of an export holds them: each value is right, or told with its row and column."""

from dataclasses import dataclass

import duckdb

from flows.tables.file_types import ExportFormat
from flows.tables.nested import FLOATS, NESTED, WIDE, Type, finite, has, retyped
from flows.tables.quoting import identifier
from flows.tables.table import is_geometry

MAPS = (ExportFormat.GEOJSON, ExportFormat.GPKG, ExportFormat.SHP)
NATIVE = frozenset(
    {"boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger"}
)
TIMES = frozenset({"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"})
CONTROLS = r"[\x00-\x08\x0e-\x1f]"
MANY_DIGITS = r"[0-9.]{17,}|[0-9][eE][+-]?[0-9]{3}"
SHAPEFILE_DIGITS = 18
FIRST_YEAR = {ExportFormat.SHP: 1000}
LONGEST_SHOWN = 40
ROW = "larder_row"
UNIONS = frozenset({"union"})


@dataclass(frozen=True)
class Choice:
    """One way to write a column."""

    written: str
    """SQL."""
    told: str = ""
    """Of a value that made the choice before this one fail."""
    holds: str | None = None
    """SQL for whether a value can be written so; every value where it is None."""


def fitted(rows: duckdb.DuckDBPyRelation, kind: ExportFormat) -> tuple[dict[str, str], list[str]]:
    """SQL for each column as a format holds it, by its name; and what stands otherwise for that."""
    choices = {
        name: choices_of(name, type_, kind)
        for name, type_ in zip(rows.columns, rows.types, strict=True)
        if not is_geometry(str(type_))
    }
    numbered = rows.project(f"row_number() over () as {ROW}, *")
    asked = {name: [one.holds for one in many if one.holds] for name, many in choices.items()}
    parts = [
        f"min({ROW}) filter (where not coalesce({holds}, true))" for all_ in asked.values() for holds in all_
    ]
    answers = iter(numbered.aggregate(", ".join(parts)).fetchall()[0] if parts else ())
    written, warnings = {}, []
    for name, many in choices.items():
        failed = [next(answers) for _ in asked[name]]
        at = next((at for at, row in enumerate(failed) if row is None), len(failed))
        written[name] = many[at].written
        if many[at].told:
            value = _value(numbered, name, failed[at - 1]) if at else ""
            place = f"row {failed[at - 1]:,}, column {name}: {value} " if at else f"column {name} "
            warnings.append(place + many[at].told)
    return written, warnings


def choices_of(name: str, type_: Type, kind: ExportFormat) -> list[Choice]:
    """How a column may be written, the best first; the last holds every value."""
    column = identifier(name)
    if type_.id == "blob" and kind is not ExportFormat.GPKG:
        text = f"coalesce(not regexp_matches(try(decode({column})), '{CONTROLS}'), false)"
        is_text = f"{column} is null or {text}"
        told = "is no text, and the column is written as hexadecimal digits"
        return [Choice(f"decode({column})", holds=is_text), Choice(f"hex({column})", told)]
    if kind is ExportFormat.JSON:
        return _in_json(column, type_)
    return _on_a_map(column, type_, kind) if kind in MAPS else [Choice(column)]


def _in_json(column: str, type_: Type) -> list[Choice]:
    if not has(type_, WIDE) or has(type_, UNIONS):
        return [Choice(column)]
    told = "has more digits than a number holds, and is text"
    return [
        Choice(column, holds=_fits(column, type_)),
        Choice(f"{column}::{retyped(type_, 'varchar')}", told),
    ]


def _on_a_map(column: str, type_: Type, kind: ExportFormat) -> list[Choice]:
    if type_.id in NESTED:
        return _nested(column, type_, kind)
    text = Choice(f"{column}::varchar")
    if type_.id in WIDE:
        told = "has more digits than a number holds, and the column is text"
        number = Choice(f"{column}::{retyped(type_)}", holds=_fits(column, type_))
        return [number, Choice(text.written, told)]
    if type_.id in FLOATS:
        is_number = f"not isnan({column})" if kind is ExportFormat.GPKG else f"isfinite({column})"
        told = "is no number that this format has, and is null"
        shortest = (
            f"{column}::varchar::double" if type_.id == "float" and kind is ExportFormat.SHP else column
        )
        return [Choice(shortest, holds=is_number), Choice(f"case when {is_number} then {shortest} end", told)]
    if type_.id == "bigint" and kind is ExportFormat.SHP:
        told = f"has more than the {SHAPEFILE_DIGITS} digits that a shapefile holds, and the column is text"
        fits = f"abs({column}::hugeint) < {10**SHAPEFILE_DIGITS}"
        return [Choice(column, holds=fits), Choice(text.written, told)]
    if type_.id in TIMES or type_.id == "date":
        years = f"isfinite({column}) and year({column}) between {FIRST_YEAR.get(kind, 1)} and 9999"
        fits = years if type_.id == "date" else f"{years} and epoch_ns({column}) % 1000000 = 0"
        told = "is finer than milliseconds or has another year, and the column is text"
        return [Choice(column, holds=fits), Choice(text.written, told)]
    if type_.id != "varchar":
        return [Choice(column) if type_.id in NATIVE else text]
    if str(type_) == "JSON" and kind is ExportFormat.GEOJSON:
        told = "has numbers of many digits, and the column is text"
        few = f"not regexp_matches({text.written}, '{MANY_DIGITS}')"
        return [Choice(column, holds=few), Choice(text.written, told)]
    told = "has NUL characters, which are left out"
    without = Choice(f"replace({text.written}, chr(0), '')", told)
    return [Choice(text.written, holds=f"not contains({text.written}, chr(0))"), without]


def _nested(column: str, type_: Type, kind: ExportFormat) -> list[Choice]:
    nested = kind is ExportFormat.GEOJSON
    as_json = "to_json({0})" if nested else "to_json({0})::varchar"
    always = "" if nested else "holds several values in one, and is JSON text"
    if has(type_, UNIONS):
        return [Choice(as_json.format(column), always)]
    exact, holds = column, []
    if has(type_, WIDE):
        exact = f"{column}::{retyped(type_)}"
        holds.append(_fits(column, type_))
    if has(type_, FLOATS):
        holds.append(f"{column} is not distinct from {finite(column, type_)}")
    first = Choice(as_json.format(exact), always, " and ".join(holds) or None)
    told = "has NaN, which is null, or more digits than a number holds, which is text"
    text = f"{column}::{retyped(type_, 'varchar')}" if has(type_, WIDE) else column
    return [first, Choice(as_json.format(finite(text, type_)), told)] if holds else [first]


def _fits(column: str, type_: Type) -> str:
    """SQL for whether numbers that every reader knows hold all digits of a value."""
    return f"{column} is not distinct from try_cast(try_cast({column} as {retyped(type_)}) as {type_})"


def _value(rows: duckdb.DuckDBPyRelation, name: str, row: int) -> str:
    value = rows.filter(f"{ROW} = {row}").project(f"{identifier(name)}::varchar").fetchall()[0][0]
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
