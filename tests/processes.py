"""Builds in processes of their own, forked from one that has imported Prefect already."""

import importlib
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from flows.build.recipe.schema import Recipe

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["larder.orchestration.flow", "tests.tiny"])
"""What is forked must have one thread: what another thread holds locked stays locked in the child for ever.
DuckDB and NumPy start threads where they are imported, so each child imports them itself."""


@dataclass
class Builder:
    """A process that builds one recipe. Held at a stage, it stands in it with the stage's lease."""

    process: BaseProcess
    told: Connection
    heard: list[tuple[str, str]] = field(default_factory=list)
    """Each step as it began (`running`) and as it ended, with its outcome."""

    def until(self, title: str, outcome: str) -> None:
        """Wait until a step is so far."""
        while (title, outcome) not in self.heard:
            said = self._next()
            assert isinstance(said, tuple), said
            self.heard.append(said)

    def go_on(self) -> None:
        """Let it out of the stage at which it is held."""
        self.told.send("go on")

    def end(self) -> dict[str, Any]:
        """What the build came to, as `larder build --json` would say it."""
        while isinstance(said := self._next(), tuple):
            self.heard.append(said)
        self.process.join()
        answer: dict[str, Any] = said
        return answer

    def _next(self) -> Any:
        wait([self.told, self.process.sentinel])
        assert self.told.poll(), f"it ended with {self.process.exitcode} after {self.heard}"
        return self.told.recv()


@contextmanager
def building(recipe: Recipe, hold_at: str | None = None) -> Iterator[Builder]:
    """A process that builds with the environment of this one."""
    ours, theirs = CONTEXT.Pipe()
    environment = {name: value for name, value in os.environ.items() if name.startswith("LARDER_")}
    process = CONTEXT.Process(target=_build, args=(environment, recipe, hold_at, theirs))
    process.start()
    theirs.close()
    try:
        yield Builder(process, ours)
    finally:
        process.kill()
        process.join()


def _build(environment: dict[str, str], recipe: Recipe, hold_at: str | None, told: Connection) -> None:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.build.flow import build
    from larder.orchestration.page import ended_run
    from larder.outcomes import Step, listening

    for name in [name for name in os.environ if name.startswith("LARDER_") and name not in environment]:
        del os.environ[name]
    os.environ.update(environment)
    guard = threading.Lock()

    def hear(step: Step) -> None:
        with guard:
            told.send((step.title, str(step.outcome or "running")))
        if step.outcome is None and step.title == hold_at:
            told.recv()

    published, error = None, None
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), listening(hear) as audience:
        try:
            published = build(recipe)
        except Exception as raised:  # noqa: BLE001
            error = raised
    told.send(build.report.document(ended_run(audience.runs[-1], published, error)))


@contextmanager
def running(
    module: str, name: str, arguments: Mapping[str, Any], hold_at: Iterable[str] = ()
) -> Iterator[Builder]:
    """A process that runs a pipeline, which is `name` of a module, with the environment of this one.

    Held at stages, it stands in them with their leases. It ends with the document of its run.
    """
    ours, theirs = CONTEXT.Pipe()
    environment = {name: value for name, value in os.environ.items() if name.startswith("LARDER_")}
    given = (environment, module, name, dict(arguments), set(hold_at), theirs)
    process = CONTEXT.Process(target=_run, args=given)
    process.start()
    theirs.close()
    try:
        yield Builder(process, ours)
    finally:
        process.kill()
        process.join()


def _run(
    environment: dict[str, str],
    module: str,
    name: str,
    arguments: dict[str, Any],
    hold_at: set[str],
    told: Connection,
) -> None:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from larder.orchestration.page import ended_run
    from larder.outcomes import Step, listening

    for variable in [one for one in os.environ if one.startswith("LARDER_") and one not in environment]:
        del os.environ[variable]
    os.environ.update(environment)
    pipeline = getattr(importlib.import_module(module), name)
    guard = threading.Lock()

    def hear(step: Step) -> None:
        with guard:
            told.send((step.title, str(step.outcome or "running")))
        if step.outcome is None and step.title in hold_at:
            told.recv()

    value, error = None, None
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), listening(hear) as audience:
        try:
            value = pipeline(**arguments)
        except Exception as raised:  # noqa: BLE001
            error = raised
    told.send(pipeline.report.document(ended_run(audience.runs[0], value, error)))
