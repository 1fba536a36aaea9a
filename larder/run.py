"""What one run of a pipeline knows: its bucket, its scratch folder, and what became of each stage."""

import importlib.metadata
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID, uuid4

from flows.build.options import title
from larder import keys, results
from larder.artifacts import Artifact, Output, files_of, replace_files
from larder.leases import FileKeeper, lease
from larder.results import Found, Question
from larder.settings import Settings
from larder.store import Damaged, Store

FETCHES_AT_ONCE = 4


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
    reason: str | None = None
    rows: int | None = None
    bytes: int | None = None
    error: str | None = None
    saved: float | None = None
    """Seconds that the result took when it was made, where it is reused now."""
    stored: int | None = None
    """Bytes of the artifacts that this stage put into the bucket."""
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
    runs: list["Run"] = field(default_factory=list)


class NoRunError(RuntimeError):
    """A stage was called outside a pipeline."""


@dataclass
class Run:
    """One attempt of one flow run."""

    id: str
    attempt: int
    day: date
    settings: Settings
    store: Store
    folder: Path
    """Scratch: every stage that is executed gets a folder of its own in it."""
    audiences: tuple["Audience", ...] = ()
    labels: dict[str, object] = field(default_factory=dict)
    force: frozenset[tuple[str, str | None]] = frozenset()
    fail_at: str | None = None
    steps: dict[tuple[str, str | None], Step] = field(default_factory=dict)
    questions: dict[UUID, Question] = field(default_factory=dict)
    """What each task run asks the bucket, from its key's computation until it is answered."""
    found: dict[str, Found] = field(default_factory=dict)
    """This run's results, by digest."""
    owners: dict[str, Found] = field(default_factory=dict)
    """The result that first named each artifact, by URI."""
    suspects: dict[str, str] = field(default_factory=dict)
    """Artifacts whose bytes were bad when they were read, and what was found."""
    failures: dict[str, Exception] = field(default_factory=dict)
    """The stages that failed and did not come right since, by the name of their task run."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """Documents that this run moved away, by object name, and why."""
    local: dict[str, Path] = field(default_factory=dict)
    """Artifacts that lie in scratch, by URI."""
    given: dict[Path, Artifact] = field(default_factory=dict)
    """The same the other way round, for a stage that returns what it was given."""
    fetching: dict[str, threading.Lock] = field(default_factory=dict)
    guard: threading.Condition = field(default_factory=threading.Condition)
    running: int = 0

    def about(self, **labels: object) -> None:
        """Say what the run is about: `product`, `version`, `recipe_hash`. Results show it."""
        self.labels.update(labels)

    def forces(self, question: Question) -> bool:
        """Whether the run was asked to execute this stage, even if its result is there."""
        return bool(
            {(question.definition.stage, None), (question.definition.stage, question.label)} & self.force
        )

    def note(self, step: Step) -> None:
        """Keep what became of a stage; of several passes the strongest outcome stays."""
        with self.guard:
            before = self.steps.get((step.stage, step.label))
            self.steps[step.stage, step.label] = step = _stronger(before, step)
        for audience in self.audiences:
            audience.hear(step)

    @property
    def in_order(self) -> list[Step]:
        """The steps as their stages began, those of one stage by name: the same in every run."""
        with self.guard:
            steps = list(self.steps.values())
        began = list(dict.fromkeys(step.stage for step in steps))
        return sorted(steps, key=lambda step: (began.index(step.stage), step.label or ""))

    def know(self, found: Found) -> None:
        """Remember a result of this run, and which artifacts it names."""
        with self.guard:
            self.found[found.result.digest] = found
            for file in files_of(found.value):
                if isinstance(file, Artifact):
                    self.owners.setdefault(file.uri, found)

    def found_as(self, value: Output) -> Found:
        """The persisted result that a stage's value came from."""
        return self.found[keys.digest(value)]

    def metadata(self) -> dict[str, object]:
        """Who built what, when, and from which results."""
        return {
            **self.labels,
            "flow_run": self.id,
            "worker": socket.gethostname(),
            "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "larder": importlib.metadata.version("larder"),
            "results": [
                {"stage": step.stage, "dataset": step.label, "outcome": step.outcome, "result": step.result}
                for step in self.in_order
            ],
        }

    def keep(self, artifact: Artifact, path: Path) -> None:
        """Remember that an artifact lies at a local path, which nothing may change any more."""
        path.chmod(0o444)
        with self.guard:
            self.local[artifact.uri] = path
            self.given[path] = artifact

    def new_folder(self, name: str) -> Path:
        """An empty folder in scratch."""
        folder = self.folder / f"{name}-{uuid4().hex[:8]}"
        folder.mkdir()
        return folder

    def bring(self, arguments: Mapping[str, object], store: Store) -> dict[str, object]:
        """The arguments with verified local paths in place of artifacts.

        Raises:
            Damaged: if the bytes of one are not what its result says.
        """
        wanted = {file.uri: file for file in files_of(dict(arguments)) if isinstance(file, Artifact)}
        if wanted:
            with ThreadPoolExecutor(min(FETCHES_AT_ONCE, len(wanted))) as threads:
                for _ in threads.map(lambda artifact: self._bring(artifact, store), wanted.values()):
                    pass
        return replace_files(
            dict(arguments),
            lambda file, _: self.local[file.uri] if isinstance(file, Artifact) else file,
        )

    def _bring(self, artifact: Artifact, store: Store) -> None:
        with self.guard:
            lock = self.fetching.setdefault(artifact.uri, threading.Lock())
        with lock:
            if artifact.uri in self.local:
                return
            folder = self.folder / "fetched" / artifact.sha256[:16]
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / artifact.name
            path.unlink(missing_ok=True)
            with self.suspecting():
                results.fetch(store, artifact, path)
            self.keep(artifact, path)

    @contextmanager
    def suspecting(self) -> Iterator[None]:
        """Remember an artifact that turns out to be damaged when it is read."""
        try:
            yield
        except Damaged as error:
            with self.guard:
                self.suspects[error.uri] = error.found
            raise

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count a stage that runs."""
        with self.guard:
            self.running += 1
        try:
            yield
        finally:
            with self.guard:
                self.running -= 1
                self.guard.notify_all()

    def settle(self) -> None:
        """Wait for the stages that run."""
        with self.guard:
            self.guard.wait_for(lambda: self.running == 0)

    def heal(self) -> list[str]:
        """Wait for what runs, then move away the results whose artifacts were bad; what was said of each.

        An empty list means that going through the flow again would find the same.
        """
        self.settle()
        with self.guard:
            suspects, self.suspects = self.suspects, {}
            owners, self.owners = self.owners, {}
        moved = []
        for uri, found in suspects.items():
            if owner := owners.get(uri):
                self._set_aside(owner)
                self.set_aside[owner.object_name] = f"artifact {self.store.name(uri)}: {found}"
                moved.append(f"{uri} is damaged ({found}); made again from {owner.object_name}")
        return moved

    def _set_aside(self, owner: Found) -> None:
        store = self.store.patient(self.settings.store_seconds)
        with lease(owner.object_name):
            results.set_aside(store, owner.object_name, owner.etag)


_current: ContextVar[Run] = ContextVar("larder_run")
_audiences: ContextVar[tuple["Audience", ...]] = ContextVar("larder_audiences", default=())


def current_run() -> Run:
    """The run that this code is part of.

    Raises:
        NoRunError: outside a pipeline.
    """
    try:
        return _current.get()
    except LookupError:
        raise NoRunError("A stage needs a run around it: call it in a flow made by @pipeline.") from None


@contextmanager
def listening(hear: Listener) -> Iterator["Audience"]:
    """Be told of the runs that this block starts, and of each step as it begins and as it ends."""
    audience = Audience(hear)
    token = _audiences.set((*_audiences.get(), audience))
    try:
        yield audience
    finally:
        _audiences.reset(token)


@contextmanager
def opened(run_id: str, attempt: int, day: date, settings: Settings, store: Store) -> Iterator[Run]:
    """A run with its scratch folder, which is gone afterwards; so are those of runs that died."""
    keeper = FileKeeper(settings.home / "leases" / "scratch")
    settings.scratch.mkdir(parents=True, exist_ok=True)
    _sweep(settings.scratch, keeper)
    name, holder = run_id, uuid4().hex
    if not keeper.take(name, holder):
        name = f"{run_id}-{holder[:8]}"
        keeper.take(name, holder)
    folder = settings.scratch / name
    folder.mkdir()
    run = Run(run_id, attempt, day, settings, store, folder, audiences=_audiences.get())
    for audience in run.audiences:
        audience.runs.append(run)
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
        shutil.rmtree(folder, ignore_errors=True)
        keeper.give(name, holder)


def _sweep(scratch: Path, keeper: FileKeeper) -> None:
    for folder in scratch.iterdir():
        holder = uuid4().hex
        if keeper.take(folder.name, holder):
            shutil.rmtree(folder, ignore_errors=True)
            keeper.give(folder.name, holder)


def _stronger(before: Step | None, step: Step) -> Step:
    outcomes = (before.outcome if before else None, step.outcome)
    if before is None or not all(outcome in STRENGTH for outcome in outcomes):
        return step
    return replace(before, key=step.key, result=step.result) if _strength(before) > _strength(step) else step


def _strength(step: Step) -> int:
    return STRENGTH.index(step.outcome) if step.outcome in STRENGTH else -1
