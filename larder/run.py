"""One attempt of one flow run: what it is about, its results so far, and the damage that it met."""

import importlib.metadata
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from larder import keys, results
from larder.artifacts import Artifact, Output, files_of
from larder.definition import Context
from larder.execution import RunInfo
from larder.executors import Executor
from larder.keys import NoKeyError
from larder.leases import lease
from larder.outcomes import Outcomes
from larder.results import Persisted
from larder.settings import Settings
from larder.store import Damaged, Store


@dataclass(frozen=True)
class Options:
    """What a run is asked to do besides its pipeline."""

    force: frozenset[tuple[str, str | None]] = frozenset()
    """Stages to execute even if their results are there; a label of None means all of that stage."""
    fail_at: str | None = None
    """The stage at which the first attempt fails, to show how a run is resumed."""

    def forces(self, stage: str, label: str | None) -> bool:
        """Whether this stage is to be executed."""
        return bool({(stage, None), (stage, label)} & self.force)


@dataclass
class Known:
    """The results of a run so far."""

    by_digest: dict[str, Persisted] = field(default_factory=dict)
    owners: dict[str, Persisted] = field(default_factory=dict)
    """The result that first named each artifact, by the artifact's object name."""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, persisted: Persisted) -> None:
        """Remember a result, and which artifacts it names."""
        with self.guard:
            self.by_digest[persisted.result.digest] = persisted
            for file in files_of(persisted.value):
                if isinstance(file, Artifact):
                    self.owners.setdefault(file.object_name, persisted)

    def persisted(self, value: Output) -> Persisted:
        """The result that a value came from.

        Raises:
            KeyError: it is no result of this run.
        """
        try:
            return self.by_digest[keys.digest(value)]
        except NoKeyError as error:
            raise KeyError(str(error)) from error

    def include(self, other: "Known") -> None:
        """Remember the results of a run within this one too."""
        with self.guard:
            self.by_digest = {**other.by_digest, **self.by_digest}
            self.owners = {**other.owners, **self.owners}


@dataclass
class Activity:
    """How many stages and actions run now."""

    running: int = 0
    guard: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one that runs."""
        with self.guard:
            self.running += 1
        try:
            yield
        finally:
            with self.guard:
                self.running -= 1
                self.guard.notify_all()

    def settle(self) -> None:
        """Wait until none runs."""
        with self.guard:
            self.guard.wait_for(lambda: self.running == 0)


@dataclass
class Run:
    """One attempt of one flow run of a pipeline."""

    pipeline: str
    info: RunInfo
    settings: Settings
    store: Store
    executor: Executor
    scratch: Path
    options: Options = field(default_factory=Options)
    outcomes: Outcomes = field(default_factory=Outcomes)
    known: Known = field(default_factory=Known)
    activity: Activity = field(default_factory=Activity)
    labels: dict[str, object] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    """Documents that this run moved to `damaged/`, by object name, and why."""

    def context(self) -> Context:
        """What an action of this run is given."""
        return Context(
            self.settings,
            self.store.patient(self.settings.store_seconds),
            self.info.id,
            self.info.attempt,
            self.info.day,
            dict(self.labels),
            self.known.persisted,
            self.built_by,
        )

    def built_by(self) -> dict[str, object]:
        """Who built what, when, and from which results."""
        return {
            **self.labels,
            "flow_run": self.info.id,
            "worker": socket.gethostname(),
            "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "larder": importlib.metadata.version("larder"),
            "results": [
                {"stage": step.stage, "dataset": step.label, "outcome": step.outcome, "result": step.result}
                for step in self.outcomes.in_order
            ],
        }

    def heal(self, errors: Iterable[Exception]) -> list[str]:
        """Wait for what runs, then move away the results whose artifacts were found damaged.

        What was said of each; empty where going through the body again would find the same.
        """
        self.activity.settle()
        found = {damage.uri: damage for one in errors for damage in damages(one)}
        healed = []
        for damage in found.values():
            name = damage.uri.removeprefix(self.store.uri(""))
            if (owner := self.known.owners.pop(name, None)) is None:
                continue
            store = self.store.patient(self.settings.store_seconds)
            with lease(owner.object_name):
                results.set_aside(store, owner.object_name, owner.etag)
            self.moved[owner.object_name] = f"artifact {name}: {damage.found}"
            healed.append(f"{damage.uri} is damaged ({damage.found}); made again from {owner.object_name}")
        return healed


def damages(error: BaseException | None) -> Iterator[Damaged]:
    """The damage that an error tells of, itself or by its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, Damaged):
            yield error
        error = error.__cause__ or error.__context__
