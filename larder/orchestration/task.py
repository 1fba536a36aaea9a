"""A stage as a Prefect task, with its cache policy, its lock and its serializer.

A stage stands inside the task's function, under Prefect's own lock, with Prefect's own reading switched off:
everywhere else Prefect swallows what has to fail.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.results import ResultRecord  # type: ignore[attr-defined]
from prefect.serializers import Serializer
from prefect.tasks import exponential_backoff
from prefect.transactions import (
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    get_transaction,
)

from larder import results
from larder.artifacts import Output
from larder.definition import Definition, definition_of
from larder.keys import NoKeyError
from larder.leases import Leases
from larder.orchestration.call import StageCall
from larder.outcomes import Outcome
from larder.settings import BLOCK_REFERENCE
from larder.stage import NoRunError, Stage, StageFailed

BACKOFF_SECONDS = 2
STATES_RESULT = "the result of a task run"

_tasks: list[Task[..., Any]] = []
_blocks: list[Any] = []
"""The block of the newest run, for tasks that are made during it."""


class ResultSerializer(Serializer):
    """Reads results into the model of the stage that they name. Knows no other class, imports nothing."""

    type: Literal["larder"] = "larder"

    def dumps(self, obj: Any) -> bytes:
        """Refuse: a stage writes its result itself and reads it back before it is Completed."""
        raise TypeError(f"Prefect must not write results: {type(obj).__name__}")

    def loads(self, blob: bytes) -> Any:
        """The value in a result's document.

        Raises:
            Damaged: if it is no such document.
            TypeError: if the module that defines its stage is not imported.
        """
        function = results.read_document(STATES_RESULT, blob).function
        definition = definition_of(function)
        if definition is None:
            raise TypeError(f"Import the module that defines {function} before its result is read.")
        _, value = results.parse(STATES_RESULT, blob, definition.returns)
        return value


def _read_results_as_ours_alone() -> None:
    """Keep Prefect from trying a result as a record of its own, by whichever serializer that names.

    That is what it does where a state's result is asked for in another process, before it asks ours.
    """
    as_record = ResultRecord.deserialize

    def deserialize(data: bytes, backup_serializer: Serializer | None = None) -> ResultRecord[Any]:
        if not isinstance(backup_serializer, ResultSerializer):
            return as_record(data, backup_serializer)
        value = backup_serializer.loads(data)
        return ResultRecord.model_validate({"metadata": {"serializer": backup_serializer}, "result": value})

    ResultRecord.deserialize = staticmethod(deserialize)  # type: ignore[method-assign]


_read_results_as_ours_alone()


@dataclass
class StageKey(CachePolicy):
    """The cache policy of a stage: its key names an object of the bucket, its lock is a lease."""

    definition: Definition[Output] = field(kw_only=True)

    def __post_init__(self) -> None:
        self.isolation_level = IsolationLevel.SERIALIZABLE
        self.lock_manager = Leases()

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> str:
        """The object name of the result that a call asks for.

        Raises:
            NoKeyError: if there is no key, or Prefect would read or write the bucket by itself.
        """
        task = task_ctx.task
        if not task.refresh_cache or not isinstance(task.result_serializer, ResultSerializer):
            raise NoKeyError(
                f"Stage {self.definition.stage!r} lost refresh_cache=True or its serializer. Then Prefect "
                "would read, and could execute, what lies in the bucket. Leave both to the stage."
            )
        call: StageCall = inputs["call"]
        return call.address.object_name


def task_of(stage: Stage[Any]) -> Task[..., Any]:
    """The Prefect task that a stage is in a run; the same one for the same stage."""
    return _task_of(stage.definition, stage)


@functools.cache
def _task_of(definition: Definition[Any], stage: Stage[Any]) -> Task[..., Any]:
    options = stage.options
    retries = definition.retries if options.retries is None else options.retries
    delay: Any = options.retry_delay_seconds
    if delay is None:
        delay = definition.retry_delay_seconds
    if delay is None and retries:
        delay = exponential_backoff(BACKOFF_SECONDS)
    task: Task[..., Any] = Task(
        _body(definition),
        name=definition.stage,
        task_run_name="{call}",
        tags=options.tags or None,
        persist_result=True,
        result_storage=BLOCK_REFERENCE,
        result_serializer=ResultSerializer(),
        cache_policy=StageKey(definition=definition),
        refresh_cache=True,
        cache_result_in_memory=False,
        retries=retries,
        retry_delay_seconds=delay,
        retry_condition_fn=_worth_retrying(definition),
    )
    _tasks.append(task)
    for block in _blocks:
        task.result_storage = block
    return task


def use_block(block: Any) -> None:
    """Let every stage's task persist its result through this block, which is loaded already."""
    _blocks[:] = [block]
    for task in _tasks:
        task.result_storage = block


def _body(definition: Definition[Output]) -> Callable[[StageCall], Output]:
    def body(call: StageCall) -> Output:
        context = TaskRunContext.get()
        if context is None:
            raise NoRunError
        try:
            return _run(call, context)
        except Exception:
            # Prefect would write the exception into the bucket, where reading it could import a class.
            context.persist_result = False
            raise

    body.__name__ = definition.stage
    body.__doc__ = definition.function.__doc__
    return body


def _run(call: StageCall, context: TaskRunContext) -> Output:
    transaction = _transaction(call, context)
    persisted, outcome = call.reuse_or_execute()
    transaction.write_on_commit = False
    if outcome is Outcome.REUSED:
        # Prefect never lets go of the lease where something is raised after this.
        transaction.state = TransactionState.COMMITTED
    return persisted.value


def _transaction(call: StageCall, context: TaskRunContext) -> Transaction:
    transaction = get_transaction()
    try:
        expected = call.address.object_name
        if not isinstance(transaction, Transaction) or transaction.key != expected:
            if isinstance(context.task.cache_policy, StageKey):
                # Prefect logs what goes wrong with a key and runs on without one: say it again, to fail.
                context.task.cache_policy.compute_key(context, {"call": call}, {})
            raise NoKeyError(
                f"Stage {call.definition.stage!r} lost its cache policy: leave cache_policy to the stage."
            )
    except Exception as error:  # noqa: BLE001
        failure = call.failed(error)
        raise failure from failure.__cause__
    transaction.commit_mode = CommitMode.EAGER
    return transaction


def _worth_retrying(definition: Definition[Output]) -> Callable[[Task[..., Any], TaskRun, State[Any]], bool]:
    def worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
        error = state.data
        return isinstance(error, StageFailed) and isinstance(error.cause, definition.retry_on)

    return worth_retrying
