"""A pipeline: a function that calls stages and actions, written once and read by a run or a forecast."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

from larder.configuration import Configurations
from larder.report import Report
from larder.stage import NoRunError, current_reader

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


@dataclass(frozen=True, eq=False)
class Pipeline(Generic[Parameters, Returned]):
    """One pipeline. Calling it outside a run makes one, as calling a Prefect flow does."""

    name: str
    body: Callable[Parameters, Returned]
    run_name: str | None = None
    """Template of a run's name, filled from the parameters: `{recipe.product}`."""
    report: Report = field(default_factory=Report)
    configurations: Configurations[Any] | None = None
    """Where its parameter `configuration` comes from."""
    deployment: str | None = None
    """`flow/deployment`, where its name is not `<name>/<name>`."""

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        """Run it: within another pipeline as a part of that, else as a flow run of its own."""
        arguments = inspect.signature(self.body).bind_partial(*args, **kwargs).arguments
        try:
            reader: Any = current_reader()
        except NoRunError:
            from larder.orchestration.flow import flow_of

            return flow_of(self)(**arguments)  # type: ignore[no-any-return]
        return reader.nested(self, arguments)  # type: ignore[no-any-return]

    @property
    def deployment_name(self) -> str:
        """`flow/deployment` on the Prefect server."""
        return self.deployment or f"{self.name}/{self.name}"


def pipeline(
    *,
    name: str,
    run_name: str | None = None,
    report: Report | None = None,
    configurations: Configurations[Any] | None = None,
    deployment: str | None = None,
) -> Callable[[Callable[Parameters, Returned]], Pipeline[Parameters, Returned]]:
    """Make a function a pipeline.

    Args:
        name: of the Prefect flow, and in `larder run NAME`
        run_name: template of a run's name, filled from the parameters
        report: how it says what a run came to
        configurations: where its parameter `configuration` comes from
        deployment: `flow/deployment`, where the name is not `<name>/<name>`
    """

    def make(body: Callable[Parameters, Returned]) -> Pipeline[Parameters, Returned]:
        return Pipeline(name, body, run_name, report or Report(), configurations, deployment)

    return make
