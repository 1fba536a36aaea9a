"""A run reads a body: every call becomes a Prefect task run."""

import contextvars
import functools
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from larder.action import Action
from larder.artifacts import Output
from larder.orchestration.call import StageCall
from larder.orchestration.task import task_of
from larder.outcomes import title
from larder.pending import pendings_in, settled
from larder.run import Run
from larder.stage import Pending, Stage, StageFailed, first_failure

Value = TypeVar("Value", bound=Output)


class Submitted(Pending[Any]):
    """What a submitted stage comes to. Done once the stage is, or once what it waits for has failed."""

    def __init__(self, call_name: str) -> None:
        self._name = call_name
        self._outcome: Future[Any] = Future()

    def result(self) -> Any:
        """Wait for it.

        Raises:
            StageFailed: the stage, or one that it waits for, failed.
        """
        return self._outcome.result()


class ActionCall:
    """An action with its arguments, in a run. Prefect takes it for one opaque value."""

    def __init__(self, run: Run, action: Action[Any], arguments: tuple[Any, ...], label: str | None) -> None:
        self.run, self.action, self.arguments, self.label = run, action, arguments, label
        self.error: Exception | None = None

    def __str__(self) -> str:
        return title(self.action.name, self.label)

    def perform(self) -> Any:
        """Do what is missing.

        Raises:
            StageFailed: it could not be done.
        """
        try:
            with self.run.activity.counted():
                value = self.action.act(self.run.context(), *self.arguments)
        except Exception as error:
            self.error = StageFailed(self.action.name, self.label, None, error)
            raise self.error from error
        self.error = None
        return value


class RunReader:
    """One pass through the body of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.calls: list[StageCall | ActionCall] = []
        self.submitted: list[Submitted] = []
        self.guard = threading.RLock()

    def call(self, stage: Stage[Value], arguments: Mapping[str, Any], label: str | None) -> Value:
        """Run the stage's task, and wait for it."""
        return cast(Value, task_of(stage)(self._stage_call(stage, settled(dict(arguments)), label)))

    def submit(self, stage: Stage[Value], arguments: Mapping[str, Any], label: str | None) -> Pending[Value]:
        """Submit the stage's task, as soon as all is there that it waits for."""
        submitted = Submitted(title(stage.definition.stage, label))
        self.run.outcomes.expect(stage.definition.stage, label)
        self.submitted.append(submitted)
        waits = [one for one in pendings_in(arguments) if isinstance(one, Submitted)]
        context = contextvars.copy_context()
        missing = len(waits)

        def begin() -> None:
            try:
                call = self._stage_call(stage, settled(dict(arguments)), label)
                future = context.run(task_of(stage).submit, call)
                future.add_done_callback(functools.partial(_finish, submitted))
            except Exception as error:  # noqa: BLE001
                submitted._outcome.set_exception(error)  # noqa: SLF001

        def one_is_there(_: Future[Any]) -> None:
            nonlocal missing
            with self.guard:
                missing -= 1
                ready = missing == 0
            if ready:
                begin()

        if not waits:
            begin()
        for one in waits:
            one._outcome.add_done_callback(one_is_there)  # noqa: SLF001
        return submitted

    def act(self, action: Action[Any], arguments: tuple[Any, ...], label: str | None) -> Any:
        """Run the action's task, and wait for it."""
        call = ActionCall(self.run, action, tuple(settled(list(arguments))), label)
        with self.guard:
            self.calls.append(call)
        return _action_task(action.name)(call)

    def nested(self, pipeline: Any, arguments: Mapping[str, Any]) -> Any:
        """Run another pipeline as a flow within this one."""
        from larder.orchestration.flow import flow_of

        return flow_of(pipeline)(**settled(dict(arguments)))

    def about(self, labels: Mapping[str, object]) -> None:
        """Results of stages that are called from now on show these labels."""
        self.run.labels.update(labels)

    def settle(self) -> None:
        """Wait for all that was submitted.

        Raises:
            StageFailed: a call failed, also where nobody asked what came of it.
        """
        self.wait()
        if errors := list(self.errors()):
            raise first_failure(errors)

    def wait(self) -> None:
        """Wait for all that was submitted, whatever it comes to."""
        for submitted in list(self.submitted):
            submitted._outcome.exception()  # noqa: SLF001

    def errors(self) -> Iterator[Exception]:
        """What failed in this pass, and did not come right by a retry."""
        told: set[int] = set()
        for call in list(self.calls):
            if call.error is not None:
                told.add(id(call.error))
                yield call.error
        for submitted in list(self.submitted):
            error = submitted._outcome.exception() if submitted._outcome.done() else None  # noqa: SLF001
            if isinstance(error, Exception) and id(error) not in told:
                told.add(id(error))
                yield error

    def _stage_call(self, stage: Stage[Any], arguments: Mapping[str, Any], label: str | None) -> StageCall:
        self.run.outcomes.expect(stage.definition.stage, label)
        call = StageCall(self.run, stage.definition, arguments, label)
        with self.guard:
            self.calls.append(call)
        return call


def _finish(submitted: Submitted, future: PrefectFuture[Any]) -> None:
    try:
        submitted._outcome.set_result(future.result())  # noqa: SLF001
    except Exception as error:  # noqa: BLE001
        submitted._outcome.set_exception(error)  # noqa: SLF001


@functools.cache
def _action_task(name: str) -> Task[..., Any]:
    return Task(
        ActionCall.perform, name=name, task_run_name="{self}", persist_result=False, cache_policy=NO_CACHE
    )
