"""The records of a page of JSON as they stand in its text: no digit and no order of fields is lost."""

import json
import re
from collections.abc import Iterator

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class RecordsError(ValueError):
    """A page holds no list of records where one is expected. The text says what it holds."""


def records_of(text: str, path: str | None) -> list[str]:
    """The texts of the records in a page.

    Args:
        text: the whole page, which is valid JSON
        path: of the field that holds the list, `meta.items`; None where the page is the list

    Raises:
        RecordsError: if there is no list.
    """
    start = _skip(text, 0)
    names = path.split(".") if path else []
    for number, name in enumerate(names):
        place = ".".join(names[:number]) or "the page"
        if text[start] != "{":
            raise RecordsError(f"{place} is no object; it is expected to hold {path}")
        fields = {key: at for key, at, _ in _fields(text, start)}
        if name not in fields:
            raise RecordsError(f"{place} has no field {name}; it has {', '.join(fields) or 'none'}")
        start = fields[name]
    if text[start] != "[":
        raise RecordsError(f"{path or 'the page'} is no list (`records` says where the list stands)")
    return [text[at:end] for at, end in _items(text, start)]


def field_of(page: object, path: str) -> object:
    """The value of a field, `meta.next`; None where it is not there."""
    for name in path.split("."):
        if not isinstance(page, dict):
            return None
        page = page.get(name)
    return page


def _fields(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Name, beginning and end of each value of an object."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        yield name, at, end
        at = _next(text, end)


def _items(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Beginning and end of each item of a list."""
    at = _skip(text, start + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        yield at, end
        at = _next(text, end)


def _next(text: str, at: int) -> int:
    """Where the next item begins, or the bracket stands that ends them all."""
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
