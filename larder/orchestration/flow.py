"""A pipeline as a Prefect flow: one loaded block, one scratch folder and one record of outcomes for a run."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from prefect import Flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from larder import metrics
from larder.connection import require_answer
from larder.execution import RunInfo
from larder.executors import executor_for
from larder.leases import keeping
from larder.orchestration import block, page, variables
from larder.orchestration.reader import RunReader
from larder.orchestration.task import use_block
from larder.outcomes import Outcomes, audiences
from larder.pipeline import Pipeline
from larder.refusal import RefusedError
from larder.run import Options, Run
from larder.scratch import scratch_of
from larder.settings import settings
from larder.stage import NoRunError, Reader, current_reader, read_by
from larder.stages import forced, stage_named

MOST_PASSES = 4
OPTIONS = (
    inspect.Parameter("force", inspect.Parameter.KEYWORD_ONLY, default=(), annotation=Sequence[str]),
    inspect.Parameter("fail_at", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str | None),
)


class ParallelRunner(ThreadPoolTaskRunner[Any]):
    """Threads for as many stages at once as `LARDER_PARALLEL` says when a run begins."""

    def duplicate(self) -> "ParallelRunner":
        """A runner for one run."""
        return type(self)(max_workers=settings().parallel)


@functools.cache
def flow_of(pipeline: Pipeline[..., Any]) -> Flow[..., Any]:
    """The Prefect flow that a pipeline is. Its parameters are the body's, and `force` and `fail_at`."""
    runner: Any = ParallelRunner()
    return Flow(
        _in_a_run(pipeline),
        name=pipeline.name,
        flow_run_name=pipeline.run_name,
        description=inspect.getdoc(pipeline.body),
        task_runner=runner,
        persist_result=False,
    )


def _in_a_run(pipeline: Pipeline[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(pipeline.body)

    def run_body(*args: Any, **kwargs: Any) -> Any:
        force, fail_at = kwargs.pop("force", ()), kwargs.pop("fail_at", None)
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        value, error = None, None
        with _opened_run(pipeline, Options()) as run:
            try:
                run.options = _options(force, fail_at)
                value = _passes(pipeline, variables.configured(pipeline, arguments), run)
            except Exception as raised:  # noqa: BLE001
                error = raised
            page.show(pipeline, run, value, error)
        if isinstance(error, RefusedError):
            return Failed(name="Refused", message=str(error), data=error)
        if error is not None:
            raise error
        return value

    functools.update_wrapper(run_body, pipeline.body)
    parameters = variables.flow_parameters(pipeline, list(signature.parameters.values()))
    parameters = sorted([*parameters, *OPTIONS], key=lambda one: one.kind)
    annotations = {one.name: one.annotation for one in parameters}
    run_body.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run_body.__annotations__ = annotations
    return run_body


def _options(force: Sequence[str], fail_at: str | None) -> Options:
    outer = _outer()
    if outer is not None and not force and fail_at is None:
        return outer.run.options
    return Options(forced(force), stage_named(fail_at, "fail_at") if fail_at else None)


def _passes(pipeline: Pipeline[..., Any], arguments: Mapping[str, Any], run: Run) -> Any:
    for number in range(MOST_PASSES):
        reader = RunReader(run)
        try:
            with read_by(reader):
                value = pipeline.body(**arguments)
            reader.settle()
        except Exception as error:
            reader.wait()
            healed = run.heal([error, *reader.errors()]) if number < MOST_PASSES - 1 else []
            if not healed:
                raise
            for line in healed:
                get_run_logger().warning(line)
        else:
            return value
    raise AssertionError


def run_client(context: FlowRunContext) -> SyncPrefectClient:
    """The client that a flow run has already; making another one costs more than most calls."""
    if not isinstance(context.client, SyncPrefectClient):
        raise NoRunError
    return context.client


def _outer() -> RunReader | None:
    try:
        reader: Reader = current_reader()
    except NoRunError:
        return None
    return reader if isinstance(reader, RunReader) else None


@contextmanager
def _opened_run(pipeline: Pipeline[..., Any], options: Options) -> Iterator[Run]:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise NoRunError
    now, loaded = block.load(settings(), run_client(context))
    use_block(loaded)
    store = block.open_store(now)
    require_answer(now)
    flow_run = context.flow_run
    started = flow_run.start_time or datetime.now(UTC)
    day = started.astimezone(ZoneInfo(now.timezone)).date()
    info = RunInfo(str(flow_run.id), flow_run.run_count or 1, day)
    outer = _outer()
    with keeping(now), scratch_of(info.id, now) as scratch, executor_for(now, store, scratch) as executor:
        run = Run(
            pipeline.name,
            info,
            now,
            store,
            executor,
            scratch.folder,
            options,
            Outcomes(audiences()),
        )
        for audience in run.outcomes.audiences:
            audience.runs.append(run)
        try:
            yield run
        finally:
            metrics.leave(run)
            if outer is not None:
                outer.run.known.include(run.known)
                outer.run.outcomes.include(run.outcomes)
