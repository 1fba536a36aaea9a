"""A pipeline's configurations: YAML files in its folder, typed, and Prefect Variables once setup has run."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError

from larder.artifacts import Frozen
from larder.refusal import Problem, RefusedError

Model = TypeVar("Model", bound=Frozen)
MOST_CHARACTERS = 5000
"""What a Prefect Variable holds."""


@dataclass(frozen=True)
class Configurations(Generic[Model]):
    """The configurations of one pipeline."""

    pipeline: str
    folder: Path
    model: type[Model]
    default: str = "default"
    """The one that a run takes which names none."""
    called: str | None = None
    """What people call one, where it is an option of its own: `department`."""

    def names(self) -> list[str]:
        """Those that have a file; `a/b` where files lie in folders."""
        return sorted(
            str(file.relative_to(self.folder).with_suffix("")) for file in self.folder.rglob("*.yml")
        )

    def variable(self, name: str) -> str:
        """The Prefect Variable that a configuration becomes."""
        return "larder_" + re.sub(r"[^a-z0-9]+", "_", f"{self.pipeline}_{name}".lower())

    def read(self, name: str) -> Model:
        """A configuration from its file.

        Raises:
            RefusedError: there is none of that name, or it is not as it should be.
        """
        file = self.folder / f"{name}.yml"
        if name not in self.names():
            close = get_close_matches(name, self.names(), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            known = ", ".join(self.names()) or "none is there yet"
            problem = Problem("configuration", repr(name), f"one of: {known}{hint}")
            raise RefusedError(f"{self.pipeline}", problem)
        return self.parse(file.read_text(), str(file))

    def read_file(self, file: Path) -> Model:
        """A configuration from any file.

        Raises:
            RefusedError: it is not there, or not as it should be.
        """
        try:
            return self.parse(file.read_text(), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(str(file), Problem("", str(error), "a YAML file in UTF-8")) from error

    def parse(self, text: str, origin: str) -> Model:
        """A configuration from YAML.

        Raises:
            RefusedError: it is not as it should be; it names each place, with its line.
        """
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            found = str(getattr(error, "problem", None) or error)
            line = mark.line + 1 if mark else None
            raise RefusedError(origin, Problem("", found, "valid YAML", line)) from error
        if not isinstance(content, Mapping):
            found = "nothing" if content is None else f"a {type(content).__name__}"
            raise RefusedError(origin, Problem("", found, "names with values"))
        return self.check(content, origin, root)

    def check(self, content: Mapping[str, Any], origin: str, root: yaml.Node | None = None) -> Model:
        """A configuration from plain values, as a run's parameter gives it.

        Raises:
            RefusedError: it is not as it should be.
        """
        try:
            return self.model.model_validate(content)
        except ValidationError as error:
            raise RefusedError(origin, *_problems(error, root)) from error


def _problems(error: ValidationError, root: yaml.Node | None) -> Iterator[Problem]:
    for one in error.errors(include_url=False):
        place = [part for part in one["loc"] if not (isinstance(part, str) and "[" in part)]
        context = one.get("ctx", {})
        found = context.get("found") or _shown(one["input"], one["type"])
        expected = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            found, expected = (
                f"{place[-1]!r}, which is no option here",
                "one of the names that are valid here",
            )
        if one["type"] == "missing":
            found, expected = "nothing", "a value"
        yield Problem(_dotted(place), found, expected, _line(root, place))


def _shown(value: object, kind: str) -> str:
    return "nothing" if kind == "missing" else f"{value!r:.100}"


def _dotted(place: list[str | int]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _line(node: yaml.Node | None, place: list[str | int]) -> int | None:
    line = None
    for part in place:
        if node is None:
            break
        node = _below(node, part)
        line = node.start_mark.line + 1 if node is not None else line
    return line


def _below(node: yaml.Node, part: str | int) -> yaml.Node | None:
    match node:
        case yaml.MappingNode():
            return next((value for key, value in node.value if key.value == str(part)), None)
        case yaml.SequenceNode() if isinstance(part, int) and part < len(node.value):
            item: yaml.Node = node.value[part]
            return item
        case _:
            return None
