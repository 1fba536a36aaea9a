"""Commands of recipes, run one by one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.build.recipe.schema import Command, CommandType
from flows.build.stages.command import command
from flows.build.stages.surroundings import Surroundings
from flows.tables.bounds import Bounds
from flows.tables.table import Table

DEADLINE_SECONDS = 120


@dataclass
class RanCommand:
    """What a command said, and what it left."""

    said: list[str]
    scratch: Path
    tables: dict[str, Table]


Run = Callable[..., RanCommand]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one command."""

    def run_command(
        text: str,
        *,
        kind: str = "shell",
        limit: float | None = None,
        limit_bytes: int | None = None,
        bounds: Bounds = Bounds(),  # noqa: B008
        surroundings: Surroundings = Surroundings(),  # noqa: B008
        **given: object,
    ) -> RanCommand:
        ran = RanCommand([], tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}", {})
        ran.scratch.mkdir()
        whole: dict[str, object] = {
            **{name: {} for name in ("env", "libraries", "tables")},
            **dict.fromkeys(("connector_args", "promised"), ()),
            "before": None,
            **given,
        }
        definition = Command(name="c", run=text, command_type=CommandType(kind))
        ran.tables = command(
            definition,
            **whole,  # type: ignore[arg-type]
            limit_seconds=limit,
            limit_bytes=limit_bytes,
            bounds=bounds,
            surroundings=surroundings,
            say=ran.said.append,
            scratch=ran.scratch,
        ).tables
        return ran

    return run_command


def processes(marker: str) -> list[int]:
    """Those whose command line holds a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


def until_there(marker: str, times: int = 1) -> None:
    """Wait until so many such processes run."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(processes(marker)) < times:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def until_gone(marker: str) -> None:
    """Wait until no such process runs."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while processes(marker):
        assert time.monotonic() < deadline, processes(marker)
        time.sleep(0.1)
