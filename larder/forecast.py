"""A forecast reads a body without running it: what a run would do with each stage and action, and why."""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from larder import reasons
from larder.action import Action
from larder.artifacts import Output
from larder.definition import GIVEN, Context, Definition, given_by_the_world
from larder.execution import supplied
from larder.lookup import address_of, look_up
from larder.outcomes import Outcome, Step, title
from larder.pending import settled
from larder.pipeline import Pipeline
from larder.refusal import RefusedError
from larder.results import Persisted
from larder.run import Known
from larder.settings import Settings
from larder.stage import Pending, Stage, read_by
from larder.store import Absent, Damaged, Store

Value = TypeVar("Value", bound=Output)
LOOKED_UP_AT_ONCE = 16
A_NEW_RUN = "a run that has not begun"


class Will(StrEnum):
    """What a run would do with a stage."""

    RUN = "run"
    REUSE = "reuse"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Entry:
    """What would become of one stage or action."""

    stage: str
    label: str | None
    key: str | None
    will: Will
    reason: str
    persisted: Persisted | None = None
    """Its result, where it would be reused."""
    is_action: bool = False

    @property
    def title(self) -> str:
        """The stage and its label."""
        return title(self.stage, self.label)


class RefusedByStageError(RefusedError):
    """What only the outside world can tell was refused by a stage; a run of the pipeline refuses it too."""


class EndsHereError(Exception):
    """The body needs to know more of an unknown than that it will come."""

    def __init__(self, unknown: "Unknown") -> None:
        super().__init__(f"what comes next depends on what {unknown.title} makes")


class Unknown:
    """What a stage would return that did not run. It may be handed on; it cannot be looked into."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __getattr__(self, name: str) -> "Unknown":
        if name.startswith("__"):
            raise AttributeError(name)
        return Unknown(self.title)

    def _ends(self, *_: object) -> Any:
        raise EndsHereError(self)

    __iter__ = __len__ = __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _ends
    __getitem__ = __contains__ = __str__ = __int__ = __float__ = __call__ = _ends

    def __hash__(self) -> int:
        raise EndsHereError(self)

    def __repr__(self) -> str:
        return f"<what {self.title} makes>"


class Expected(Pending[Any]):
    """What a submitted stage would return."""

    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def result(self) -> Any:
        """The value, or an unknown."""
        return self._future.result()


@dataclass
class Forecast:
    """What a run that began now would do."""

    entries: list[Entry]
    labels: Mapping[str, object]
    value: Any = None
    """What the body returned."""
    ended_at: str | None = None
    """Why the forecast could not go on to the end of the body."""

    @property
    def nothing_to_do(self) -> bool:
        """Whether every stage would be reused, and every action has nothing to do."""
        return self.ended_at is None and all(entry.will is Will.REUSE for entry in self.entries)

    def steps(self, store: Store) -> list[Step]:
        """The stages as those of a run that reused them all."""
        return [_reused(entry, store) for entry in self.entries if not entry.is_action]


@dataclass
class ForecastReader:
    """Reads a body, and looks up what is there."""

    settings: Settings
    store: Store
    threads: ThreadPoolExecutor
    scratch: Path
    labels: dict[str, object] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    slots: list[Future[Entry]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def call(self, stage: Stage[Value], arguments: Mapping[str, Any], label: str | None) -> Value:
        """The persisted value, one computed in memory, or an unknown."""
        return self.submit(stage, arguments, label).result()

    def submit(self, stage: Stage[Value], arguments: Mapping[str, Any], label: str | None) -> Pending[Value]:
        """The same, looked up beside what the body does."""
        slot: Future[Entry] = Future()
        self.slots.append(slot)
        labels = dict(self.labels)

        def look() -> Any:
            try:
                entry, value = self._look(stage.definition, settled(dict(arguments)), label, labels)
            except BaseException as error:
                slot.set_exception(error)
                raise
            slot.set_result(entry)
            return value

        return Expected(self.threads.submit(look))

    def act(self, action: Action[Any], arguments: tuple[Any, ...], label: str | None) -> Any:
        """What holds now where there is nothing to do, or an unknown."""
        given = settled(list(arguments))
        named = title(action.name, label)
        missing = list(dict.fromkeys(one.title for one in _unknowns(given)))
        if missing:
            reason = f"depends on {', '.join(missing)}"
            entry = Entry(action.name, label, None, Will.UNKNOWN, reason, is_action=True)
            value: Any = Unknown(named)
        else:
            entry, value = self._ahead(action, given, label, named)
        slot: Future[Entry] = Future()
        slot.set_result(entry)
        self.slots.append(slot)
        return value

    def _ahead(
        self, action: Action[Any], given: list[Any], label: str | None, named: str
    ) -> tuple[Entry, Any]:
        try:
            ahead = action.look(self._context(dict(self.labels)), *given)
        except KeyError:
            reason = "depends on what is resolved anew"
            return Entry(action.name, label, None, Will.RUN, reason, is_action=True), Unknown(named)
        will = Will.RUN if ahead.value is None else Will.REUSE
        entry = Entry(action.name, label, None, will, ahead.says, is_action=True)
        return entry, Unknown(named) if ahead.value is None else ahead.value

    def nested(self, pipeline: Pipeline[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Read the body of a pipeline that this one calls."""
        outside = dict(self.labels)
        self.labels.clear()
        try:
            return pipeline.body(**arguments)
        finally:
            self.labels.clear()
            self.labels.update(outside)

    def about(self, labels: Mapping[str, object]) -> None:
        """Results show these labels."""
        self.labels.update(labels)

    def entries(self) -> Iterator[Entry]:
        """What was found, in the order in which the body called.

        Raises:
            Exception: what a look-up, or a stage that was computed in memory, raised.
        """
        for slot in list(self.slots):
            yield slot.result()

    def _look(
        self,
        definition: Definition[Any],
        arguments: dict[str, Any],
        label: str | None,
        labels: Mapping[str, object],
    ) -> tuple[Entry, Any]:
        stage, named = definition.stage, title(definition.stage, label)
        if missing := list(dict.fromkeys(one.title for one in _unknowns(arguments))):
            reason = f"depends on {', '.join(missing)}"
            return Entry(stage, label, None, Will.UNKNOWN, reason), Unknown(named)
        context = self._context(labels)
        given = given_by_the_world(definition, context, arguments)
        address = address_of(definition, label, given, labels, A_NEW_RUN, self.known.by_digest)
        try:
            persisted = look_up(self.store, address)
        except Absent:
            reason = reasons.reason(self.store, address)
        except Damaged as damage:
            reason = reasons.damage(self.store, damage)
        else:
            self.known.add(persisted)
            since = persisted.result.made.at.isoformat(sep=" ", timespec="minutes")
            return Entry(stage, label, address.key, Will.REUSE, f"made {since}", persisted), persisted.value
        value = self._computed(definition, given, context) if definition.in_memory else Unknown(named)
        return Entry(stage, label, address.key, Will.RUN, reason), value

    def _computed(self, definition: Definition[Any], given: dict[str, Any], context: Context) -> Any:
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        offered = dict(zip(GIVEN, (folder, lambda line: None), strict=True))  # noqa: ARG005
        arguments = {name: value for name, value in given.items() if name in definition.parameters}
        try:
            return definition.function(**arguments, **supplied(definition, context, offered))
        except RefusedError as refusal:
            raise RefusedByStageError(refusal.file, *refusal.problems) from refusal

    def _context(self, labels: Mapping[str, object]) -> Context:
        day = datetime.now(ZoneInfo(self.settings.timezone)).date()
        return Context(self.settings, self.store, A_NEW_RUN, 1, day, labels, self.known.persisted)


def forecast(
    pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], settings: Settings, store: Store
) -> Forecast:
    """What a run of a pipeline that began now would do. Asks the bucket and the world, changes nothing.

    Raises:
        RefusedError: what a person wrote has to be fixed.
        StoreError: the store gave no clear answer.
    """
    with (
        tempfile.TemporaryDirectory(prefix="larder-forecast-") as scratch,
        ThreadPoolExecutor(LOOKED_UP_AT_ONCE) as threads,
    ):
        reader = ForecastReader(settings, store, threads, Path(scratch))
        value, ended_at = None, None
        with read_by(reader):
            try:
                value = pipeline.body(**arguments)
            except EndsHereError as end:
                ended_at = str(end)
            except Exception:
                with suppress(EndsHereError):
                    list(reader.entries())
                raise
        return Forecast(list(reader.entries()), dict(reader.labels), value, ended_at)


def _unknowns(value: object) -> Iterator[Unknown]:
    match value:
        case Unknown():
            yield value
        case dict():
            for item in value.values():
                yield from _unknowns(item)
        case list() | tuple():
            for item in value:
                yield from _unknowns(item)


def _reused(entry: Entry, store: Store) -> Step:
    persisted = entry.persisted
    return Step(
        entry.stage,
        entry.label,
        entry.key,
        Outcome.REUSED if entry.will is Will.REUSE else None,
        0.0,
        store.uri(persisted.object_name) if persisted else None,
        saved_seconds=persisted.result.made.seconds if persisted else None,
        warnings=persisted.value.warned if persisted else (),
    )
