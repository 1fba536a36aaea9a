"""What one run is asked to do besides building: the stages to force, and the one to fail at."""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum

from larder.refusal import Problem, RefusedError


class Stage(StrEnum):
    """The stages of a build."""

    PLAN = "plan"
    LOAD = "load"
    MODEL = "model"
    COMMAND = "command"
    BUILD = "build"
    PACKAGE = "package"


def title(stage: str, label: str | None) -> str:
    """What people call one stage of a run: `plan`, `load bpl_libraries`."""
    return f"{stage} {label}" if label else stage


def stage_named(text: str, option: str) -> Stage:
    """The stage that a person named.

    Raises:
        RefusedError: if there is none of that name; it names the valid ones.
    """
    valid = [stage.value for stage in Stage]
    if text in valid:
        return Stage(text)
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
