"""The types that people declare for columns, and what they are in SQL."""

import re
from typing import Annotated

from pydantic import AfterValidator

TEXT, INTEGER, NUMBER = "VARCHAR", "BIGINT", "DOUBLE"
BOOLEAN, DATE, TIMESTAMP = "BOOLEAN", "DATE", "TIMESTAMP"
WORDS = {
    "text": TEXT,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "date": DATE,
    "timestamp": TIMESTAMP,
}
"""What a person writes, and the type that DuckDB and Parquet have for it. Timestamps are in UTC."""
_DECIMAL = re.compile(r"decimal\((\d{1,2}), ?(\d{1,2})\)")
_MOST_DIGITS = 38


def _declared(text: str) -> str:
    decimal = _DECIMAL.fullmatch(text)
    if decimal and int(decimal[2]) <= int(decimal[1]) <= _MOST_DIGITS and int(decimal[1]) > 0:
        return text
    if text not in WORDS:
        raise ValueError(f"one of {', '.join(WORDS)}, decimal(12,2)")
    return text


DeclaredType = Annotated[str, AfterValidator(_declared)]
"""A type as a configuration names it."""


def sql_type(declared: str) -> str:
    """The SQL type of a declared one."""
    return WORDS.get(declared) or declared.upper().replace(" ", "")


def declared_type(sql: str) -> str:
    """A SQL type in the words of people; itself where there is no word for it."""
    return next((word for word, type_ in WORDS.items() if type_ == sql), sql.lower())
