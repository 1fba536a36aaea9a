"""A pipeline of three stages that has nothing to do with recipes. Each execution leaves a line in a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from larder.artifacts import File, Output
from larder.definition import Definition
from larder.orchestration.call import StageCall
from larder.orchestration.reader import RunReader
from larder.pipeline import pipeline
from larder.run import Run
from larder.stage import Stage, current_reader, stage

Executed = Callable[[], list[str]]
"""Asks which stages were executed since it was last asked."""


class Text(Output):
    """Some lines."""

    file: File
    rows: int


def draw(seed: int, scratch: Path) -> Text:
    """Ten numbers."""
    return written("draw", [str(seed * number) for number in range(10)], scratch)


def double(numbers: Text, scratch: Path) -> Text:
    """Each number twice as large."""
    return written("double", [str(2 * int(line)) for line in lines(numbers)], scratch)


def total(parts: dict[str, Text], offset: int, scratch: Path) -> Text:
    """The sum of all numbers."""
    return written(
        "total", [str(offset + sum(int(line) for part in parts.values() for line in lines(part)))], scratch
    )


drawn, doubled, totalled = (
    stage(Definition(function.__name__, function, "tiny")) for function in (draw, double, total)
)


@pipeline(name="tiny")
def tiny(seed: int = 3, offset: int = 0) -> Text:
    """draw → double → total."""
    numbers = drawn(seed)
    return totalled({"once": numbers, "twice": doubled.submit(numbers)}, offset)


def lines(text: Text) -> list[str]:
    """What stands in it."""
    return Path(str(text.file)).read_text().splitlines()


def written(name: str, content: list[str], scratch: Path) -> Text:
    """A file of these lines; the execution is recorded in `TINY_LOG`."""
    record(name)
    (scratch / f"{name}.txt").write_text("\n".join(content))
    return Text(file=scratch / f"{name}.txt", rows=len(content))


def record(name: str) -> None:
    """Leave a line in `TINY_LOG`."""
    with Path(os.environ["TINY_LOG"]).open("a") as log:
        log.write(f"{name}\n")


def current_run() -> Run:
    """The run that reads the body which calls this."""
    reader = current_reader()
    assert isinstance(reader, RunReader)
    return reader.run


def call_of(called: Stage[Any], **arguments: object) -> StageCall:
    """A call as a run makes it, to be given to the Prefect task itself."""
    return StageCall(current_run(), called.definition, arguments, None)
