"""The stages of the pipeline, made from the functions in `stages`: each function is one."""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, TypeVar, cast

from flows.activity.newest import newest_pages
from flows.activity.stages import analytics, exports, sources, transforms
from flows.activity.stages.pages import Source
from flows.activity.stages.sources import Reading
from flows.activity.stages.version import version
from larder.artifacts import Output
from larder.definition import Context, Definition
from larder.stage import Stage, stage

Returned = TypeVar("Returned", bound=Output)
Function = Callable[..., Output]

FOLDER = "activity"
_log = logging.getLogger(__name__)


def version_of(name: str, context: Context, arguments: Mapping[str, object]) -> str:
    """Which version of a source there is now, asked of the API."""
    last = newest_pages(context.store, f"results/{FOLDER}/{name}-")
    place, reading = cast(Source, arguments["source"]), cast(Reading, arguments["reading"])
    return version(name, place, last, reading.limits, reading.refresh, _log.warning)


def source(function: Function) -> Definition[Output]:
    """Reading a source, again only where the API says that it is another one by now."""
    name = function.__name__
    return Definition(
        stage=name,
        function=function,
        folder=FOLDER,
        outside_key=frozenset({"reading"}),
        seen={"version": partial(version_of, name)},
        by_function=True,
    )


def table(function: Function) -> Definition[Output]:
    """A transform or an analysis."""
    return Definition(
        stage=function.__name__, function=function, folder=FOLDER, by_function=True, libraries=("duckdb",)
    )


def export(function: Function) -> Definition[Output]:
    """A file of its own."""
    return Definition(
        stage=f"export_{function.__name__}",
        function=function,
        folder=FOLDER,
        by_function=True,
        libraries=("duckdb",),
    )


def stage_of(function: Callable[..., Returned]) -> Stage[Returned]:
    """The stage that executes a function of `stages`, or reuses what it returned before."""
    return cast(Stage[Returned], _STAGES[function])


def _functions(module: ModuleType) -> Iterator[Function]:
    for name, function in vars(module).items():
        if inspect.isfunction(function) and function.__module__ == module.__name__ and name[0] != "_":
            yield function


_STAGES: dict[Callable[..., Any], Stage[Output]] = {
    function: stage(define(function))
    for module, define in {sources: source, transforms: table, analytics: table, exports: export}.items()
    for function in _functions(module)
}
