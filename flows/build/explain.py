"""What a build would run, what it would reuse, and why. Asks the bucket and the catalog, changes nothing."""

import inspect
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from larder.store import Absent, Damaged, Store
from flows.build import definitions
from larder import keys
from larder import results
from larder.artifacts import Artifact, Output
from larder.definition import Definition
from flows.build.stages.command import Ran, given_to
from flows.tables.lineage import in_order
from flows.build.catalog import Catalog
from flows.tables.table import Table, Tables
from flows.build.options import title
from flows.build.publish import Releases
from flows.build.recipe.lock import Lock, LockedInput
from flows.build.recipe.schema import Recipe, is_floating

QUESTIONS_AT_ONCE = 16
A_NEW_RUN = "a run that has not begun"


class Will(StrEnum):
    """What a build would do with a stage."""

    RUN = "run"
    REUSE = "reuse"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Forecast:
    """What would become of one stage. It would be reused where there is a `value`."""

    stage: str
    dataset: str | None
    key: str | None
    will: Will
    reason: str
    value: Output | None = None

    @property
    def title(self) -> str:
        """The stage and its label."""
        return title(self.stage, self.dataset)

    @property
    def document(self) -> dict[str, str | None]:
        """As `larder explain --json` prints it."""
        named = {"stage": self.stage, "dataset": self.dataset, "key": self.key}
        return {**named, "will": self.will, "reason": self.reason}


class Explainer:
    """Asks the bucket the questions that a run of one recipe would ask.

    Args:
        recipe: with its base and variables put in
        day: the day that a run would have that began now
        own_files: as `flows.build.command_files` names them
    """

    def __init__(
        self, recipe: Recipe, store: Store, catalog: Catalog, day: date, own_files: Artifact | None = None
    ) -> None:
        self.recipe, self.store, self.catalog, self.day = recipe, store, catalog, day
        self.own_files = own_files
        self.labels: dict[str, object] = {"product": recipe.product, "recipe_hash": keys.digest(recipe)}

    def forecasts(self) -> list[Forecast]:
        """What would become of each stage, in the order in which they would come.

        Raises:
            RefusedError: the recipe has to be fixed.
            Unreachable: the store gave no clear answer.
            CatalogUnreachable: the catalog did not answer.
        """
        planned, lock = self.plan()
        self.labels["version"] = lock.version
        load = definitions.SIMULATED_LOAD if lock.simulated else definitions.LOAD
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as threads:
            loads = list(threads.map(partial(self._load, load), lock.inputs))
        inputs = dict(zip((entry.name for entry in lock.inputs), loads, strict=True))
        rest = self._simulated(lock, inputs) if lock.simulated else self._real(lock, inputs)
        return [planned, *loads, *rest]

    def plan(self) -> tuple[Forecast, Lock]:
        """What would become of plan, and the lock that it would make.

        Raises:
            as `forecasts`
        """
        definition = definitions.SIMULATED_PLAN if self.recipe.simulate else definitions.PLAN
        run = A_NEW_RUN if is_floating(self.recipe) else None
        given = {
            "run": run,
            "day": self.day,
            "catalog": self.catalog,
            "releases": Releases(self.store, self.recipe.product),
        }
        forecast = self._asked(definition, None, self.recipe, **given)
        if isinstance(forecast.value, Lock):
            return forecast, forecast.value
        with tempfile.TemporaryDirectory(prefix="larder-explain-") as folder:
            return forecast, definition.function(self.recipe, **given, scratch=Path(folder))

    def _load(self, definition: Definition[Table], entry: LockedInput) -> Forecast:
        outside = dict.fromkeys(definition.outside_key)
        return self._asked(definition, entry.name, entry.dataset, **outside)

    def _real(self, lock: Lock, inputs: Mapping[str, Forecast]) -> Iterator[Forecast]:
        models: dict[str, Forecast] = {}
        for name, reads in in_order(lock.build.models, tuple(inputs)).items():
            tables = {table: models.get(table) or inputs[table] for table in reads}
            models[name] = self._asked(definitions.MODEL, name, name, lock.build.models[name], tables)
            yield models[name]
        left: object = self.own_files
        promised: object = {}
        for definition in lock.build.commands:
            ran = self._asked(
                definitions.COMMAND,
                definition.name,
                **given_to(definition, lock),
                before=left,
                tables={**inputs, **models},
                **dict.fromkeys(definitions.COMMAND.outside_key),
            )
            yield ran
            left, promised = (
                (ran.value.folder, ran.value.tables) if isinstance(ran.value, Ran) else (ran, ran)
            )
        env = {**lock.env, **lock.build.env}
        yield from self._built(
            definitions.BUILD,
            definitions.PACKAGE,
            lock,
            (lock.version, env, lock.build.connector_args),
            {"inputs": dict(inputs), "models": models, "commands": promised},
        )

    def _simulated(self, lock: Lock, inputs: Mapping[str, Forecast]) -> Iterator[Forecast]:
        yield from self._built(
            definitions.SIMULATED_BUILD,
            definitions.SIMULATED_PACKAGE,
            lock,
            (lock.version, lock.env, lock.build, lock.tables),
            {"inputs": dict(inputs)},
        )

    def _built(
        self,
        build: Definition[Tables],
        package: Definition[Any],
        lock: Lock,
        given: tuple[object, ...],
        tables: Mapping[str, object],
    ) -> Iterator[Forecast]:
        built = self._asked(build, None, *given, **tables, **dict.fromkeys(build.outside_key))
        yield built
        made = built.value.tables if isinstance(built.value, Tables) else built
        about = (lock.name, lock.product, lock.version, lock.exports, lock.source_versions)
        yield self._asked(package, None, *about, made, **dict.fromkeys(package.outside_key))

    def _asked(
        self, definition: Definition[Any], label: str | None, /, *args: object, **kwargs: object
    ) -> Forecast:
        """What would become of a stage with these arguments, among them forecasts of other stages."""
        bound = inspect.signature(definition.function).bind_partial(*args, **kwargs)
        arguments = {name: _valued(value) for name, value in bound.arguments.items()}
        if missing := [one.title for value in bound.arguments.values() for one in _without_value(value)]:
            reason = f"depends on {', '.join(missing)}"
            return Forecast(definition.stage, label, None, Will.UNKNOWN, reason)
        question = results.ask(definition, label, arguments, self.labels, {})
        forecast = partial(Forecast, definition.stage, label, question.key)
        try:
            found = results.look(self.store, question)
        except Absent:
            return forecast(Will.RUN, results.reason(self.store, question))
        except Damaged as damage:
            return forecast(Will.RUN, results.damage(self.store, damage))
        since = found.result.made.at.isoformat(sep=" ", timespec="minutes")
        return forecast(Will.REUSE, f"made {since}", found.value)


def _valued(value: object) -> object:
    match value:
        case Forecast():
            return value.value
        case dict():
            return {name: _valued(item) for name, item in value.items()}
        case _:
            return value


def _without_value(value: object) -> Iterator[Forecast]:
    match value:
        case Forecast(value=None):
            yield value
        case dict():
            for item in value.values():
                yield from _without_value(item)
