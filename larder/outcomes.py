"""What became of each stage in a run, and who is told of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of a stage in a run."""

    REUSED = "reused"
    EXECUTED = "executed"
    HEALED = "healed"
    FAILED = "failed"


STRENGTH = (Outcome.REUSED, Outcome.EXECUTED, Outcome.HEALED)


@dataclass(frozen=True)
class Step:
    """One stage in a run. `outcome` is None while it runs."""

    stage: str
    label: str | None
    key: str | None = None
    outcome: Outcome | None = None
    seconds: float | None = None
    result: str | None = None
    """URI of its result."""
    reason: str | None = None
    rows: int | None = None
    bytes: int | None = None
    error: str | None = None
    saved_seconds: float | None = None
    """What the result took when it was made, where it is reused now."""
    stored_bytes: int | None = None
    """Of the artifacts that this stage put into the bucket."""
    warnings: tuple[str, ...] = ()
    """What its result warns of."""

    @property
    def title(self) -> str:
        """The stage and its label."""
        return title(self.stage, self.label)


Listener = Callable[[Step], None]


@dataclass
class Audience:
    """Somebody who follows runs in this process."""

    hear: Listener
    runs: list[Any] = field(default_factory=list)
    """The runs that began while it listened."""


@dataclass
class Outcomes:
    """The steps of one run; of several passes through its body the strongest outcome of a stage stays."""

    audiences: tuple[Audience, ...] = ()
    steps: dict[tuple[str, str | None], Step] = field(default_factory=dict)
    order: dict[tuple[str, str | None], None] = field(default_factory=dict)
    """Stages as the body called them."""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, stage: str, label: str | None) -> None:
        """A stage was called."""
        with self.guard:
            self.order.setdefault((stage, label))

    def record(self, step: Step) -> None:
        """Keep what became of a stage, and tell those who listen."""
        with self.guard:
            before = self.steps.get((step.stage, step.label))
            self.steps[step.stage, step.label] = step = _stronger(before, step)
        for audience in self.audiences:
            audience.hear(step)

    def include(self, other: "Outcomes") -> None:
        """Keep what became of the stages of a run within this one; those who listen were told already."""
        with self.guard:
            for step in other.in_order:
                before = self.steps.get((step.stage, step.label))
                self.steps[step.stage, step.label] = _stronger(before, step)

    @property
    def in_order(self) -> list[Step]:
        """The steps as the body called them, those of one stage together: the same in every run."""
        with self.guard:
            steps, called = list(self.steps.values()), list(self.order)
        stages = list(dict.fromkeys([*(stage for stage, _ in called), *(step.stage for step in steps)]))
        places = {key: at for at, key in enumerate(called)}
        last = len(places)
        return sorted(
            steps,
            key=lambda step: (stages.index(step.stage), places.get((step.stage, step.label), last)),
        )


def title(stage: str, label: str | None) -> str:
    """What people call one stage of a run: `plan`, `load bpl_libraries`."""
    return f"{stage} {label}" if label else stage


@contextmanager
def listening(hear: Listener) -> Iterator[Audience]:
    """Be told of the runs that this block starts, and of each step as it begins and as it ends."""
    audience = Audience(hear)
    token = _audiences.set((*_audiences.get(), audience))
    try:
        yield audience
    finally:
        _audiences.reset(token)


def audiences() -> tuple[Audience, ...]:
    """Those who listen now."""
    return _audiences.get()


_audiences: ContextVar[tuple[Audience, ...]] = ContextVar("larder_audiences", default=())


def _stronger(before: Step | None, step: Step) -> Step:
    if before is None or before.outcome not in STRENGTH or step.outcome not in STRENGTH:
        return step
    if STRENGTH.index(before.outcome) > STRENGTH.index(step.outcome):
        return replace(before, key=step.key, result=step.result)
    return step
