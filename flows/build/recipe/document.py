"""YAML as recipes use it: scalars are text, and nothing in it can run, refer to itself, or grow."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from larder.refusal import Problem, RefusedError

log = logging.getLogger(__name__)

MAX_DEPTH = 32
Place = tuple[str | int, ...]

_RESOLVER = yaml.resolver.Resolver()
_PLAIN_TYPES = tuple(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null"))


@dataclass(frozen=True)
class Document:
    """The content of one YAML document, and the line on which each place begins."""

    content: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int | None:
        """The line of a place, or of the nearest place around it; None for the document as a whole."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place) if place else None


def dotted(place: Place) -> str:
    """`("inputs", "datasets", 3)` as `inputs.datasets[3]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def read_yaml(text: str, file: str) -> Document:
    """The one mapping that `text` holds.

    Scalars are text; plain `null`, `~` and nothing mean that the key is absent. Below a key `custom`, true,
    false, null and numbers keep YAML's meaning. Of a key that is given twice the last one counts.

    Raises:
        RefusedError: where it is no YAML, holds another number of documents, tags or aliases, or is nested
            too deeply.
    """
    try:
        return _Reader(file, text).document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = Problem("", error.problem or "something else", "YAML", line)
        raise RefusedError(file, problem) from error
    except yaml.YAMLError as error:
        raise RefusedError(file, Problem("", str(error).splitlines()[0], "YAML")) from error


class _Reader:
    def __init__(self, file: str, text: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.file = file
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self.lines: dict[Place, int] = {}

    def document(self) -> Document:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise self._refusal((), None, "nothing", "a recipe")
        event = next(self.events)
        if not isinstance(event, yaml.MappingStartEvent):
            raise self._refusal((), event, "no mapping", "a mapping of a recipe's keys")
        content = self._value(event, (), typed=False)
        next(self.events)
        if not isinstance(following := next(self.events), yaml.StreamEndEvent):
            raise self._refusal((), following, "a second document", "one document")
        return Document(content, self.lines)

    def _value(self, event: yaml.Event, place: Place, *, typed: bool) -> Any:
        self.lines[place] = _line(event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refusal(place, event, f"the tag {tag}", "a value without a tag")
        if len(place) > MAX_DEPTH:
            raise self._refusal(place, event, "deeper nesting", f"at most {MAX_DEPTH} levels")
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(place, typed=typed)
            case yaml.SequenceStartEvent():
                return self._sequence(place, typed=typed)
            case yaml.ScalarEvent():
                return self._scalar(event, place, typed=typed)
            case _:
                raise self._refusal(place, event, "an alias", "the value itself, without anchors")

    def _mapping(self, place: Place, *, typed: bool) -> dict[str, Any]:
        content: dict[str, Any] = {}
        seen: set[str] = set()
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise self._refusal(place, event, "a key that is no plain text", "text as a key")
            key, inner = event.value, (*place, event.value)
            if key in seen:
                told = (self.file, dotted(inner), _line(event))
                log.warning("%s: %s (line %d) is given twice; the last one counts", *told)
            seen.add(key)
            value = self._value(next(self.events), inner, typed=typed or key == "custom")
            self.lines[inner] = _line(event)
            content[key] = value
            if value is None and not typed:
                del content[key]
        return content

    def _sequence(self, place: Place, *, typed: bool) -> list[Any]:
        content: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            content.append(self._value(event, (*place, len(content)), typed=typed))
        return content

    def _scalar(self, event: yaml.ScalarEvent, place: Place, *, typed: bool) -> Any:
        text, is_plain = event.value, event.implicit[0]
        if not is_plain:
            return text
        if not typed:
            return None if text in ("", "~", "null") else text
        kind = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if kind not in _PLAIN_TYPES:
            return text
        try:
            value = yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(kind, text))
        except ValueError as error:
            raise self._refusal(place, event, f"{text:.40}", "a number that can be read") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refusal(place, event, text, "a finite number, or text in quotes")
        return value

    def _refusal(self, place: Place, event: yaml.Event | None, found: str, expected: str) -> RefusedError:
        line = _line(event) if event else None
        return RefusedError(self.file, Problem(dotted(place), found, expected, line))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
