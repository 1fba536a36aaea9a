"""Which libraries are installed, as far as commands of a recipe may use them."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from larder.refusal import Problem, RefusedError

OWN = "larder"
"""Counts nowhere by its version: its code counts by its fingerprint."""


def libraries_of(command: str, names: Sequence[str]) -> dict[str, str]:
    """The version of each of these libraries, by name; of every installed one where none is named.

    Raises:
        RefusedError: one is not installed.
    """
    found = installed(tuple(sys.path))
    if not names:
        return dict(found)
    for name in names:
        if normalized(name) not in found:
            place = f"stage_config.builds.build.commands ({command}).libraries"
            problem = Problem(place, name, "the name of a library that is installed where builds run")
            raise RefusedError("recipe", problem)
    return {name: found[name] for name in sorted(map(normalized, names))}


@cache
def installed(paths: tuple[str, ...]) -> Mapping[str, str]:
    """Name and version of every distribution in these folders. Of two of one name the first one counts.

    They stand in the names of folders; `importlib.metadata` would read a file of each.
    """
    found: dict[str, str] = {}
    for path in paths:
        for folder in sorted(Path(path).glob("*.dist-info")) if path else ():
            name, _, version = folder.stem.rpartition("-")
            found.setdefault(normalized(name), version)
    found.pop(OWN, None)
    return dict(sorted(found.items()))


def normalized(name: str) -> str:
    """The name of a distribution as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
