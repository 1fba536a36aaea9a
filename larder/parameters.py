"""What the Prefect server takes as the parameters of a run, checked before there is a run."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from larder.artifacts import Frozen
from larder.refusal import Problem, RefusedError

MOST_BYTES = 512 * 1024
"""Prefect refuses more, with a bare 422."""
KEPT_BYTES = 1024
"""What may come on top: the flow's own defaults."""
LEAST, MOST = -(2**63), 2**64 - 1
"""With an integer outside, the server answers 500 to every list of runs from then on."""


def plain(parameters: Mapping[str, object]) -> dict[str, Any]:
    """The parameters as JSON has them."""
    return {
        name: value.model_dump(mode="json") if isinstance(value, Frozen) else value
        for name, value in parameters.items()
    }


def require_sendable(refused: str, parameters: Mapping[str, object]) -> None:
    """Return if the server can keep these parameters.

    Args:
        refused: what a refusal calls them, as `recipe of PRODUCT`

    Raises:
        RefusedError: if a number is too large, or they are.
    """
    if problems := [problem for name, value in parameters.items() for problem in _numbers(name, value)]:
        raise RefusedError(refused, *problems)
    sent = plain(parameters)
    size = len(json.dumps(sent, separators=(",", ":"), default=str)) + KEPT_BYTES
    if size > MOST_BYTES:
        name = max(sent, key=lambda name: len(json.dumps(sent[name], default=str)))
        found = f"{size:,} bytes as JSON, most of them in {name}"
        expected = f"at most {MOST_BYTES:,}, which is Prefect's limit for the parameters of a run"
        raise RefusedError(refused, Problem("parameters", found, expected))


def _numbers(place: str, value: object) -> Iterator[Problem]:
    match value:
        case bool():
            return
        case int() if not LEAST <= value <= MOST:
            yield Problem(place, str(value), "an integer of at most 64 bits, or text in quotes")
        case float() if not math.isfinite(value):
            yield Problem(place, str(value), "a number that JSON has, or text in quotes")
        case Frozen():
            yield from _numbers(place, value.model_dump())
        case Mapping():
            for name, item in value.items():
                yield from _numbers(f"{place}.{name}", item)
        case list() | tuple():
            for at, item in enumerate(value):
                yield from _numbers(f"{place}[{at}]", item)
