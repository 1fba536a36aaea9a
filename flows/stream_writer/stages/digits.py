"""JSON whose numbers keep every digit: each member's own text, where a double would say it otherwise."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_LEVELS = 200
"""Of nesting. Python's own limit depends on who calls."""
DECODER = json.JSONDecoder()
WHITE = " \t\n\r"


class Parsed:
    """What a text says.

    Attributes:
        value: as Python has it
    """

    def __init__(self, text: str) -> None:
        """Reads it.

        Raises:
            ValueError: it is no JSON, or nested too deeply.
        """
        self._rounded = False
        if text.count("[") + text.count("{") > MOST_LEVELS and _depth(text) > MOST_LEVELS:
            raise ValueError(f"nested more than {MOST_LEVELS} levels deep")
        self._text = text
        self.value = json.loads(text, parse_float=self._float, parse_constant=_refuse)
        if "\\u" in text and not _is_unicode(self.value):
            raise ValueError("half of a surrogate pair")

    def texts(self) -> Callable[[str], str]:
        """Gives the text of a member's value, by its name; `value` must be an object."""
        found: Mapping[str, Any] = self.value
        if self._rounded:
            return dict(_members(self._text)).__getitem__
        return lambda name: compact(found[name])

    def _float(self, text: str) -> float:
        number = float(text)
        if repr(number) != text:
            self._rounded = True
        return number


def compact(value: Any) -> str:
    """A value as JSON without white space."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _members(text: str) -> Iterator[tuple[str, str]]:
    at = _past_white(text, _past_white(text, 0) + 1)
    while text[at] != "}":
        name, at = DECODER.raw_decode(text, _past_white(text, at))
        at = _past_white(text, _past_white(text, at) + 1)
        _, end = DECODER.raw_decode(text, at)
        yield name, text[at:end]
        at = _past_white(text, end)
        if text[at] == ",":
            at = _past_white(text, at + 1)


def _past_white(text: str, at: int) -> int:
    while text[at] in WHITE:
        at += 1
    return at


def _depth(text: str) -> int:
    depth = deepest = 0
    at, quoted = 0, False
    while at < len(text):
        letter = text[at]
        if quoted:
            at += letter == "\\"
            quoted = letter != '"'
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
        at += 1
    return deepest


def _is_unicode(value: Any) -> bool:
    try:
        compact(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
