"""One call of a stage in a run: looked up, executed where that is needed, recorded."""

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from prefect import get_run_logger

from larder import reasons, results
from larder.artifacts import Artifact, Output, files_of
from larder.definition import Definition, given_by_the_world
from larder.execution import Call
from larder.lookup import Address, address_of, look_up
from larder.outcomes import Outcome, Step, title
from larder.refusal import RefusedError
from larder.results import Persisted
from larder.run import Run
from larder.stage import AskedToFail, StageFailed
from larder.store import Absent, Damaged


class StageCall:
    """A stage with its arguments, in a run. Prefect takes it for one opaque value."""

    def __init__(
        self, run: Run, definition: Definition[Any], arguments: Mapping[str, Any], label: str | None
    ) -> None:
        self.run = run
        self.definition: Definition[Output] = definition
        self.arguments = arguments
        self.label = label
        self.labels = dict(run.labels)
        self.error: Exception | None = None
        self._no_address: Exception | None = None

    def __str__(self) -> str:
        return title(self.definition.stage, self.label)

    @cached_property
    def given(self) -> dict[str, Any]:
        """The arguments, with those that the outside world gives now."""
        return given_by_the_world(self.definition, self.run.context(), self.arguments)

    @cached_property
    def address(self) -> Address:
        """Where its result lies.

        Raises:
            NoKeyError: an argument, or the stage's code, has no digest.
        """
        if self._no_address is not None:
            raise self._no_address
        run = self.run
        try:
            return address_of(
                self.definition, self.label, self.given, self.labels, run.info.id, run.known.by_digest
            )
        except Exception as error:
            self._no_address = error
            raise

    def reuse_or_execute(self) -> tuple[Persisted, Outcome]:
        """The result, reused if all of it is there, else made now.

        Raises:
            StageFailed: there is none.
            RefusedError: what a person wrote has to be fixed.
        """
        began = time.monotonic()
        with self.run.activity.counted():
            try:
                persisted, outcome, reason = self._result()
            except Exception as error:  # noqa: BLE001
                failure = self.failed(error, time.monotonic() - began)
                raise failure from failure.__cause__
            self.error = None
            self.run.known.add(persisted)
            step = self._step(persisted, outcome, reason, time.monotonic() - began)
            self.run.outcomes.record(step)
            _log(step)
        return persisted, outcome

    def failed(self, error: Exception, seconds: float = 0.0) -> Exception:
        """The failure of this call by that error, recorded; a refusal stays what it is."""
        self._record(outcome=Outcome.FAILED, seconds=seconds, error=str(error))
        self.error = error
        if not isinstance(error, RefusedError):
            self.error = StageFailed(self.definition.stage, self.label, self._key, error)
            self.error.__cause__ = error
        return self.error

    def _result(self) -> tuple[Persisted, Outcome, str | None]:
        run, stage, address = self.run, self.definition.stage, self.address
        store = run.store.patient(run.settings.store_seconds)
        if run.options.fail_at == stage and run.info.attempt == 1:
            raise AskedToFail(stage)
        outcome = Outcome.EXECUTED
        try:
            persisted = look_up(store, address)
            forced = run.options.forces(stage, self.label)
            if not forced or persisted.result.made.flow_run == run.info.id:
                return persisted, Outcome.REUSED, None
            reason = "forced"
        except Absent:
            moved = run.moved.get(address.object_name)
            outcome = Outcome.HEALED if moved else outcome
            reason = moved or reasons.reason(store, address)
        except Damaged as damage:
            outcome, reason = Outcome.HEALED, reasons.damage(store, damage)
            if damage.uri == store.uri(address.object_name) and damage.etag:
                results.set_aside(store, address.object_name, damage.etag)
        self._record(reason=reason)
        return self._execute(), outcome, reason

    def _execute(self) -> Persisted:
        run, named = self.run, self.definition.parameters
        arguments = {name: value for name, value in self.given.items() if name in named}
        call = Call(self.address, arguments, run.info, self.labels, run.settings, run.scratch)
        logger, prefix = get_run_logger(), f"{self}: "

        def say(line: str) -> None:
            logger.info("%s%s", prefix, line)

        return run.executor.execute(call, say)

    def _step(self, persisted: Persisted, outcome: Outcome, reason: str | None, seconds: float) -> Step:
        value, known = persisted.value, self.run.known
        artifacts = [file for file in files_of(value) if isinstance(file, Artifact)]
        rows = [artifact.rows for artifact in artifacts if artifact.rows is not None]
        reused = outcome is Outcome.REUSED
        own = [artifact for artifact in artifacts if known.owners.get(artifact.object_name) is persisted]
        return Step(
            self.definition.stage,
            self.label,
            self.address.key,
            outcome,
            seconds,
            self.run.store.uri(self.address.object_name),
            reason,
            sum(rows) if rows else None,
            sum(artifact.bytes for artifact in artifacts),
            saved_seconds=persisted.result.made.seconds if reused else None,
            stored_bytes=0 if reused else sum(artifact.bytes for artifact in own),
            warnings=value.warned,
        )

    def _record(self, **fields: Any) -> None:
        self.run.outcomes.record(Step(self.definition.stage, self.label, self._key, **fields))

    @property
    def _key(self) -> str | None:
        address: Address | None = self.__dict__.get("address")
        return address.key if address else None


def _log(step: Step) -> None:
    because = f" ({step.reason})" if step.reason else ""
    took = f" in {step.seconds:.1f} s" if step.outcome is not Outcome.REUSED else ""
    level = logging.WARNING if step.outcome is Outcome.HEALED else logging.INFO
    logger = get_run_logger()
    logger.log(level, "%s: %s %.8s%s%s", step.title, step.outcome, step.key, took, because)
    for warning in step.warnings:
        logger.warning("%s: %s", step.title, warning)
