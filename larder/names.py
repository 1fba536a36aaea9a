"""Types of the names and texts that people write, checked before they become object names and paths."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

_PLAIN = "at most 100 ASCII letters, digits, '_', '.', '-', beginning with a letter or digit"


def is_plain_name(text: str) -> bool:
    """Whether `text` may become part of an object name or a path."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text) is not None


def wrong(found: str, expected: str) -> PydanticCustomError:
    """A validation error that says what was found and what is expected."""
    return PydanticCustomError("wrong", "{expected}", {"found": found, "expected": expected})


def _name(text: str) -> str:
    if not is_plain_name(text):
        raise ValueError(f"a plain name ({_PLAIN})")
    return text


def _alias(text: str) -> str:
    if not is_plain_name(text.removeprefix("_")) or len(text) > 100:
        raise ValueError(f"a plain name ({_PLAIN} or '_')")
    return text


def _file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}", text):
        raise ValueError(f"a plain file name ({_PLAIN}; spaces are allowed)")
    return text


def _folder(text: str) -> str:
    for part in text.removesuffix("/").split("/"):
        if not is_plain_name(part):
            raise ValueError(f"a folder below the package, each part a plain name ({_PLAIN})")
    return text.removesuffix("/")


def _below(text: str) -> str:
    if not text or text.startswith(("/", "~")) or ".." in text.split("/") or "\0" in text:
        raise ValueError("a path or pattern below the recipe's folder, without '..'")
    return text


def _title(text: str) -> str:
    if not 0 < len(text.strip()) <= 200 or not text.isprintable():
        raise ValueError("a title of 1 to 200 printable characters")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise ValueError("the name of a variable (letters, digits, '_')")
    return text


def _environment_value(text: str) -> str:
    if "\0" in text:
        raise ValueError("text without NUL")
    return text


Name = Annotated[str, AfterValidator(_name)]


Alias = Annotated[str, AfterValidator(_alias)]


FileName = Annotated[str, AfterValidator(_file_name)]


Folder = Annotated[str, AfterValidator(_folder)]


Below = Annotated[str, AfterValidator(_below)]


Title = Annotated[str, AfterValidator(_title)]


Variable = Annotated[str, AfterValidator(_variable)]


Environment = dict[Variable, Annotated[str, AfterValidator(_environment_value)]]


Custom = dict[str, JsonValue]


DurationSeconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
