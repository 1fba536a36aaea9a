"""The names of stages as people write them in options."""

from collections.abc import Iterable
from difflib import get_close_matches

from larder.definition import defined_stages
from larder.refusal import Problem, RefusedError


def stage_named(text: str, option: str) -> str:
    """The stage that a person named.

    Raises:
        RefusedError: if there is none of that name; it names the valid ones.
    """
    valid = defined_stages()
    if text in valid:
        return text
    close = get_close_matches(text, valid, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise RefusedError(option, Problem("stage", repr(text), f"one of {', '.join(valid)}{hint}"))


def forced(named: Iterable[str]) -> frozenset[tuple[str, str | None]]:
    """`STAGE` or `STAGE:NAME`, as pairs.

    Raises:
        RefusedError: if one names no stage.
    """
    pairs = (one.partition(":") for one in named)
    return frozenset((stage_named(stage, "--force"), name or None) for stage, _, name in pairs)
