"""What stages may take of a machine, and what is said when one would take more."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from flows.tables.supervision import Ended, Limits
from larder.artifacts import Frozen

DATABASE_BYTES = 2**30
"""The memory that DuckDB takes before it spills to disk. The order of rows may depend on it."""
STAGE_MEMORY_BYTES = 5 * 2**28
"""What a stage with a database takes in all."""
OUT_OF_MEMORY_CODES = frozenset({-9, 137})


class Bounds(Frozen):
    """What every stage may take; None is no limit."""

    stage_seconds: float | None = None
    """How long one model or command may take."""
    stage_bytes: int | None = None
    """How much disk one model or command may fill."""
    stage_processes: int | None = None
    """How many processes and threads one command may have at once."""
    input_seconds: float | None = None
    """How long the reading of one input may take."""
    input_bytes: int | None = None
    """How much disk the reading of one input may fill."""
    input_memory_bytes: int | None = None
    """How much memory the reading of one input may take."""
    memory_bytes: int | None = None
    """How much memory all stages that run at once share."""
    memory_file: Path | None = None
    """Where the processes of this machine, or of this container, agree on who has how much of it."""
    keep_free_bytes: int = 0
    """How much of the disk no stage may fill."""

    def of_stage(self, limit_seconds: float | None = None, limit_bytes: int | None = None) -> Limits:
        """The limits of a model or command, of which a recipe may ask for less."""
        return Limits(
            seconds=_least(self.stage_seconds, limit_seconds),
            disk_bytes=_least(self.stage_bytes, limit_bytes),
            keep_free_bytes=self.keep_free_bytes,
            memory_bytes=self.memory_bytes,
        )


class Kind(StrEnum):
    """What a limit is of."""

    STAGE = "stage"
    INPUT = "input"


SETTINGS: Mapping[Kind, Mapping[str, str]] = {
    Kind.STAGE: {
        "seconds": "`limit_seconds` of the recipe, at most LARDER_STAGE_SECONDS",
        "disk": "`limit_bytes` of the recipe, at most LARDER_STAGE_BYTES",
        "processes": "LARDER_STAGE_PROCESSES",
        "memory": "LARDER_MEMORY_BYTES",
    },
    Kind.INPUT: {
        "seconds": "LARDER_INPUT_SECONDS",
        "disk": "LARDER_INPUT_BYTES",
        "processes": "LARDER_STAGE_PROCESSES",
        "memory": "LARDER_INPUT_MEMORY_BYTES",
    },
}
"""Who sets each limit."""


def limit_reached(ended: Ended, limits: Limits, kind: Kind) -> str | None:
    """How something ended that met a limit, for people; None where it met none."""
    names = SETTINGS[kind]
    match ended.reached:
        case "seconds":
            return f"took longer than {limits.seconds:g} seconds and was ended ({names['seconds']})"
        case "disk":
            allowed = f"{limits.disk_bytes:,} are allowed ({names['disk']})"
            return f"filled {ended.found} bytes of disk, and {allowed}"
        case "free":
            kept = f"{limits.keep_free_bytes:,} are kept (LARDER_KEEP_FREE_BYTES)"
            return f"was ended as the disk had {ended.found} bytes left, of which {kept}"
        case "hidden":
            expected = "folders that it may read itself, and paths of less than 4,096 bytes"
            return f"was ended as its folder cannot be measured ({ended.found}): expected are {expected}"
        case "processes":
            allowed = f"{limits.processes:,} are allowed ({names['processes']})"
            return f"had {ended.found} processes and threads at once, and {allowed}"
        case "memory":
            allowed = f"{limits.memory_bytes:,} are allowed ({names['memory']})"
            return f"took {ended.found} bytes of memory, and {allowed}"
        case "killed":
            return f"killed the process that watched over it (exit code {ended.code})"
    if ended.killed_for_memory and ended.code in OUT_OF_MEMORY_CODES:
        hint = f"give it more, or let less run at once ({names['memory']}, LARDER_PARALLEL)"
        return f"was ended by the kernel for want of memory (exit code {ended.code}): {hint}"
    return None


Number = TypeVar("Number", int, float)


def _least(*limits: Number | None) -> Number | None:
    given = [limit for limit in limits if limit is not None]
    return min(given) if given else None
