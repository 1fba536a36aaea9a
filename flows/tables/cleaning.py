"""What is mended in the values of a table before rules look at them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from flows.tables.column_types import TEXT, DeclaredType, sql_type
from flows.tables.quality import Check, OnFailure, QualityError
from flows.tables.quoting import identifier, literal
from larder.artifacts import Frozen

SPACE = " \t\n\r\f\v\u00a0\u2007\u202f\ufeff"


class Case(StrEnum):
    """How letters are written."""

    LOWER = "lower"
    UPPER = "upper"


class Cleaning(Frozen):
    """What is mended, in this order: space, words for nothing, case, types."""

    trim: bool | tuple[str, ...] = False
    """Takes space from both ends of these text columns, of all if true; what is empty then is null."""
    null_words: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    """Words that stand for nothing, in every text column or by column; case does not count."""
    case: dict[str, Case] = {}
    """By column."""
    types: dict[str, DeclaredType] = {}
    """By column."""
    formats: dict[str, str] = Field({}, description="How a date or timestamp is written, `%d.%m.%Y`.")
    on_failure: OnFailure = OnFailure.QUARANTINE
    """What becomes of a row with a value that has not the declared type; with `warn` the value is null."""

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, value: dict[str, str]) -> dict[str, str]:
        for format_ in value.values():
            if "%" not in format_:
                raise ValueError("a format of a date, as %d.%m.%Y")
        return value

    @property
    def columns(self) -> set[str]:
        """All columns that it names."""
        trimmed = self.trim if isinstance(self.trim, tuple) else ()
        words = self.null_words if isinstance(self.null_words, dict) else {}
        return {*trimmed, *words, *self.case, *self.types, *self.formats}


@dataclass(frozen=True)
class Cleaned:
    """Cleaning as SQL."""

    selected: dict[str, str]
    """An expression for each column, over the columns as they came."""
    checks: tuple[Check, ...]
    """Which rows have a value that is not of its declared type; over the columns as they came."""


def cleaned(cleaning: Cleaning, types: Mapping[str, str]) -> Cleaned:
    """What cleaning makes of columns of these SQL types.

    Raises:
        QualityError: if it names a column that is not there.
    """
    if unknown := sorted(cleaning.columns - types.keys()):
        raise QualityError(f"cleaning: there is no column {unknown[0]}; there are {', '.join(types)}.")
    selected, checks = {}, []
    for name, type_ in types.items():
        text = _text(cleaning, name) if type_ == TEXT else identifier(name)
        declared = cleaning.types.get(name)
        if declared is None:
            selected[name] = text
            continue
        selected[name] = _typed(text, sql_type(declared), cleaning.formats.get(name))
        wrong = f"{text} is not null and {selected[name]} is null"
        checks.append(Check(f"type_of_{name}", cleaning.on_failure, wrong, (name,)))
    return Cleaned(selected, tuple(checks))


def _text(cleaning: Cleaning, name: str) -> str:
    made = identifier(name)
    if cleaning.trim is True or (cleaning.trim and name in cleaning.trim):
        made = f"nullif(trim({made}, {literal(SPACE)}), '')"
    if words := list(_null_words(cleaning.null_words, name)):
        listed = ", ".join(literal(word.lower()) for word in words)
        made = f"case when lower({made}) in ({listed}) then null else {made} end"
    if name in cleaning.case:
        made = f"{cleaning.case[name]}({made})"
    return made


def _null_words(words: Any, name: str) -> Iterator[str]:
    yield from words.get(name, ()) if isinstance(words, Mapping) else words


def _typed(text: str, type_: str, format_: str | None) -> str:
    if format_ is not None:
        return f"try_strptime({text}::varchar, {literal(format_)})::{type_}"
    return f"try_cast({text} as {type_})"
