"""`stage` makes a definition a Prefect task, `pipeline` makes a function a Prefect flow.

The only module that knows Prefect's cache, persistence and transactions. A stage stands inside the task's
function, under Prefect's own lock, with Prefect's own reading switched off: everywhere else Prefect swallows
what has to fail.
"""

import functools
import inspect
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, overload
from zoneinfo import ZoneInfo

from prefect import Flow, Task, get_run_logger
from prefect.cache_policies import CachePolicy
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.results import ResultRecord  # type: ignore[attr-defined]
from prefect.serializers import Serializer
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff
from prefect.transactions import (
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    get_transaction,
)

from blocks.storage import load_bucket, open_store
from flows.build.options import title
from larder import metrics as tally
from larder import results
from larder.artifacts import Artifact, Output, files_of
from larder.definition import Definition
from larder.keys import NoKeyError
from larder.leases import Leases, keeping
from larder.refusal import RefusedError
from larder.results import Found, Made, Question
from larder.run import NoRunError, Outcome, Run, Step, current_run, opened
from larder.settings import BLOCK_REFERENCE, settings
from larder.store import Absent, Damaged, Store

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Value = TypeVar("Value", bound=Output)
Summary = Callable[[Run, object, Exception | None], None]

MOST_PASSES = 4
BACKOFF_SECONDS = 2
START_SECONDS = 10
STATES_RESULT = "the result of a task run"

_stages: list[Task[..., Any]] = []
_models: dict[str, type[Output]] = {}


class StageFailed(Exception):  # noqa: N818
    """A stage did not come to a result. What earlier stages persisted is kept.

    Attributes:
        stage, label, key: which one; the key is None if it could not be computed
        cause: what went wrong in it
    """

    def __init__(self, stage: str, label: str | None, key: str | None, cause: Exception) -> None:
        shown = f" (key {key[:16]})" if key else ""
        super().__init__(f"Stage {title(stage, label)}{shown} failed: {cause or type(cause).__name__}")
        self.stage = stage
        self.label = label
        self.key = key
        self.cause = cause


class AskedToFail(Exception):  # noqa: N818
    """The run was told to fail here, to show how it is resumed."""


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
        function = results.function_of(STATES_RESULT, blob)
        if function not in _models:
            raise TypeError(f"Import the module that defines {function} before its result is read.")
        _, value = results.parse(STATES_RESULT, blob, _models[function])
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
        """The object name of the result that these inputs ask for.

        Raises:
            NoKeyError: if there is no key, or Prefect would read the bucket by itself.
        """
        if not task_ctx.task.refresh_cache:
            raise NoKeyError(
                f"Stage {self.definition.stage!r} was given refresh_cache=False. Then Prefect would read, "
                "and could execute, what lies in the bucket. Leave it out; to run a stage again use --force."
            )
        return self.question(task_ctx, inputs).object_name

    def question(self, context: TaskRunContext, inputs: Mapping[str, Any]) -> Question:
        """What these inputs ask the bucket; asked once per attempt of a task run."""
        run = current_run()
        arguments = {name: value for name, value in inputs.items() if name != "label"}
        question = results.ask(self.definition, inputs.get("label"), arguments, run.labels, run.found)
        run.questions[context.task_run.id] = question
        return question


class ParallelRunner(ThreadPoolTaskRunner[Any]):
    """Threads for as many stages at once as `LARDER_PARALLEL` says when a run begins."""

    def duplicate(self) -> "ParallelRunner":
        """A runner for one run."""
        return type(self)(max_workers=settings().parallel)


def stage(definition: Definition[Value]) -> Task[..., Value]:
    """A Prefect task that executes a stage, or reuses its persisted result if all of that is there."""
    _models[definition.function_name] = definition.returns
    task: Task[..., Value] = Task(
        _body(definition),
        name=definition.stage,
        task_run_name=f"{definition.stage} {{label}}" if definition.labelled else definition.stage,
        persist_result=True,
        result_storage=BLOCK_REFERENCE,
        result_serializer=ResultSerializer(),
        cache_policy=StageKey(definition=definition),
        refresh_cache=True,
        cache_result_in_memory=False,
        retries=definition.retries,
        retry_delay_seconds=exponential_backoff(BACKOFF_SECONDS) if definition.retries else None,
        retry_condition_fn=_worth_retrying(definition),
        on_failure=[_remember_failure],
    )
    _stages.append(task)
    return task


@overload
def pipeline(body: Callable[Parameters, Returned], /) -> Flow[Parameters, Returned]: ...
@overload
def pipeline(
    *, summary: Summary | None = None, **options: Any
) -> Callable[[Callable[Parameters, Returned]], Flow[Parameters, Returned]]: ...
def pipeline(body: Any = None, /, *, summary: Summary | None = None, **options: Any) -> Any:
    """A Prefect flow whose stages share one loaded block, one scratch folder and one record of outcomes.

    Damage that is found by reading is healed by going through the function again; what is whole is reused.

    Args:
        summary: called at the end, within the flow run, with the run and what the body returned or raised
        options: further options of `prefect.Flow`
    """

    if body is None:
        return functools.partial(pipeline, summary=summary, **options)
    settled = {"name": body.__name__, "task_runner": ParallelRunner(), "persist_result": False}
    return Flow(_in_a_run(body, summary), **{**settled, **options})


def _in_a_run(
    body: Callable[Parameters, Returned], summary: Summary | None
) -> Callable[Parameters, Returned]:
    @functools.wraps(body)
    def run_body(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        with _opened_run() as run:
            value, error = None, None
            try:
                value = _passes(functools.partial(body, *args, **kwargs), run)
            except Exception as raised:  # noqa: BLE001
                error = raised
            if summary is not None:
                summary(run, value, error)
        if isinstance(error, RefusedError):
            return Failed(name="Refused", message=str(error), data=error)  # type: ignore[return-value]
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    return run_body


def gather(futures: list[PrefectFuture[Any]]) -> list[Any]:
    """What submitted stages came to. Waits for all of them before the first failure is raised.

    Raises:
        StageFailed: the first; its text counts the others.
    """
    for future in futures:
        future.wait()
    values, errors = [], []
    for future in futures:
        try:
            values.append(future.result())
        except Exception as error:  # noqa: BLE001
            errors.append(error)
    failed = [error for error in errors if isinstance(error, StageFailed)]
    if len(failed) > 1:
        others = ", ".join(error.label or error.stage for error in failed[1:])
        failed[0].args = (f"{failed[0]} ({len(failed) - 1} more failed: {others})",)
    if errors:
        raise next(iter(failed), errors[0])
    return values


def _body(definition: Definition[Value]) -> Callable[..., Value]:
    def body(*args: Any, **kwargs: Any) -> Value:
        context = TaskRunContext.get()
        if context is None:
            raise NoRunError(f"Stage {definition.stage!r} runs as a Prefect task, not by itself.")
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return _run_stage(definition, context, bound.arguments)  # type: ignore[return-value]
        except Exception:
            # Prefect would write the exception into the bucket, where reading it could import a class.
            context.persist_result = False
            raise

    signature = inspect.signature(definition.function)
    parameters = [one for name, one in signature.parameters.items() if name != "scratch"]
    if definition.labelled:
        parameters.append(inspect.Parameter("label", inspect.Parameter.KEYWORD_ONLY, annotation=str))
    signature = signature.replace(parameters=parameters)
    functools.update_wrapper(body, definition.function)
    body.__signature__ = signature  # type: ignore[attr-defined]
    return body


def _run_stage(definition: Definition[Output], context: TaskRunContext, arguments: dict[str, Any]) -> Output:
    run, began = current_run(), time.monotonic()
    label, key = arguments.get("label"), None
    with run.busy():
        try:
            transaction, question = _question(run, definition, context, arguments)
            key = question.key
            found, outcome, reason = _reuse_or_execute(run, question, arguments)
        except Exception as error:
            seconds = time.monotonic() - began
            run.note(Step(definition.stage, label, key, Outcome.FAILED, seconds, error=str(error)))
            if isinstance(error, RefusedError):
                raise
            raise StageFailed(definition.stage, label, key, error) from error
        run.failures.pop(context.task_run.name, None)
        run.know(found)
        step = _step(run, question, found, outcome, reason, time.monotonic() - began)
        run.note(step)
        _log(step)
        transaction.write_on_commit = False
        if outcome is Outcome.REUSED:
            # Prefect never lets go of the lease where something is raised after this.
            transaction.state = TransactionState.COMMITTED
    return found.value


def _question(
    run: Run, definition: Definition[Output], context: TaskRunContext, arguments: dict[str, Any]
) -> tuple[Transaction, Question]:
    transaction = get_transaction()
    question = run.questions.pop(context.task_run.id, None)
    if (
        not isinstance(transaction, Transaction)
        or question is None
        or transaction.key != question.object_name
    ):
        if isinstance(context.task.cache_policy, StageKey):
            # Prefect logs what goes wrong with a key and runs on without one: say it again, to fail.
            context.task.cache_policy.compute_key(context, arguments, {})
        raise NoKeyError(
            f"Stage {definition.stage!r} lost its cache policy: leave cache_policy to the stage."
        )
    transaction.commit_mode = CommitMode.EAGER
    return transaction, question


def _reuse_or_execute(
    run: Run, question: Question, arguments: dict[str, Any]
) -> tuple[Found, Outcome, str | None]:
    stage, store = question.definition.stage, run.store.patient(run.settings.store_seconds)
    if run.fail_at == stage and run.attempt == 1:
        raise AskedToFail(f"the run was asked to fail at {stage}. Run it again, or retry it, to go on.")
    outcome = Outcome.EXECUTED
    try:
        found = results.look(store, question)
        if not run.forces(question) or found.result.made.flow_run == run.id:
            return found, Outcome.REUSED, None
        reason = "forced"
    except Absent:
        moved = run.set_aside.get(question.object_name)
        outcome = Outcome.HEALED if moved else outcome
        reason = moved or results.reason(store, question)
    except Damaged as damage:
        outcome, reason = Outcome.HEALED, results.damage(store, damage)
        if damage.uri == store.uri(question.object_name):
            results.set_aside(store, question.object_name)
    run.note(Step(stage, question.label, question.key, reason=reason))
    return _execute(run, store, question, arguments), outcome, reason


def _execute(run: Run, store: Store, question: Question, arguments: dict[str, Any]) -> Found:
    began = time.monotonic()
    definition = question.definition
    given = {name: value for name, value in arguments.items() if name != "label"}
    scratch = run.new_folder(definition.stage)
    local = run.bring(given, store)
    if "scratch" in inspect.signature(definition.function).parameters:
        local["scratch"] = scratch
    value = definition.function(**local)
    if not isinstance(value, definition.returns):
        raise TypeError(f"it returned {type(value).__name__}, not {definition.returns.__name__}")
    for file in files_of(value):
        if isinstance(file, Path) and file not in run.given and scratch not in file.parents:
            raise ValueError(
                f"it returned {file}, which lies neither in its scratch folder nor among its inputs"
            )
    stored = results.upload(store, question, value, run.given)
    for path, artifact in zip(files_of(value), files_of(stored), strict=True):
        if isinstance(path, Path) and isinstance(artifact, Artifact) and path not in run.given:
            run.keep(artifact, path)
    made = Made(
        flow_run=run.id,
        worker=socket.gethostname(),
        at=datetime.now(UTC),
        seconds=round(time.monotonic() - began, 3),
    )
    return results.write(store, question, stored, made)


def _step(  # noqa: PLR0913, PLR0917
    run: Run, question: Question, found: Found, outcome: Outcome, reason: str | None, seconds: float
) -> Step:
    artifacts = [file for file in files_of(found.value) if isinstance(file, Artifact)]
    rows = [artifact.rows for artifact in artifacts if artifact.rows is not None]
    reused = outcome is Outcome.REUSED
    own = [] if reused else [artifact for artifact in artifacts if run.owners.get(artifact.uri) is found]
    return Step(
        question.definition.stage,
        question.label,
        question.key,
        outcome,
        seconds,
        run.store.uri(question.object_name),
        reason,
        sum(rows) if rows else None,
        sum(artifact.bytes for artifact in artifacts),
        saved=found.result.made.seconds if reused else None,
        stored=sum(artifact.bytes for artifact in own),
        warnings=found.value.warned,
    )


def _log(step: Step) -> None:
    because = f" ({step.reason})" if step.reason else ""
    took = f" in {step.seconds:.1f} s" if step.outcome is not Outcome.REUSED else ""
    level = logging.WARNING if step.outcome is Outcome.HEALED else logging.INFO
    logger = get_run_logger()
    logger.log(level, "%s: %s %.8s%s%s", step.title, step.outcome, step.key, took, because)
    for warning in step.warnings:
        logger.warning("%s: %s", step.title, warning)


def _worth_retrying(definition: Definition[Output]) -> Callable[[Task[..., Any], TaskRun, State[Any]], bool]:
    def worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
        error = state.data
        return isinstance(error, StageFailed) and isinstance(error.cause, definition.retry_on)

    return worth_retrying


def _remember_failure(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> None:  # noqa: ARG001
    error = state.result(raise_on_failure=False)
    if isinstance(error, Exception):
        current_run().failures[task_run.name] = error


def _passes(body: Callable[[], Returned], run: Run) -> Returned:
    for _ in range(MOST_PASSES - 1):
        try:
            return _through(body, run)
        except Exception:
            if not (healed := run.heal()):
                raise
            for line in healed:
                get_run_logger().warning(line)
    return _through(body, run)


def _through(body: Callable[[], Returned], run: Run) -> Returned:
    """Go through the flow once. A stage that failed fails it, also where nobody asked what came of it."""
    run.failures.clear()
    value = body()
    run.settle()
    if run.failures:
        raise next(iter(run.failures.values()))
    return value


def run_client(context: FlowRunContext) -> SyncPrefectClient:
    """The client that a flow run has already; making another one costs more than most calls."""
    if not isinstance(context.client, SyncPrefectClient):
        raise NoRunError("A pipeline is a sync flow.")
    return context.client


@contextmanager
def _opened_run() -> Iterator[Run]:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise NoRunError("A pipeline runs as a Prefect flow, not by itself.")
    now = settings()
    block = load_bucket(now, run_client(context))
    for task in _stages:
        task.result_storage = block
    open_store(block, START_SECONDS).patient(START_SECONDS).check()
    store = open_store(block)
    flow_run = context.flow_run
    started = flow_run.start_time or datetime.now(UTC)
    day = started.astimezone(ZoneInfo(now.timezone)).date()
    with keeping(now), opened(str(flow_run.id), flow_run.run_count or 1, day, now, store) as run:
        try:
            yield run
        finally:
            tally.leave(run)
