"""A pipeline's configuration in a run: the parameter given, else the Prefect Variable, else the file."""

import inspect
from collections.abc import Mapping
from typing import Any

from prefect.variables import Variable

from larder.artifacts import Frozen
from larder.pipeline import Pipeline

PARAMETER = "configuration"


def configured(pipeline: Pipeline[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a body, its configuration put in.

    Raises:
        RefusedError: the configuration is not as it should be.
    """
    known = pipeline.configurations
    if known is None or PARAMETER not in inspect.signature(pipeline.body).parameters:
        return arguments
    given = arguments.get(PARAMETER)
    if isinstance(given, known.model):
        return arguments
    if isinstance(given, Mapping):
        return {**arguments, PARAMETER: known.check(given, f"configuration of {pipeline.name}")}
    name = str(given or known.default)
    stored = Variable.get(known.variable(name))
    if isinstance(stored, Mapping):
        return {**arguments, PARAMETER: known.check(stored, f"Prefect Variable {known.variable(name)}")}
    return {**arguments, PARAMETER: known.read(name)}


def flow_parameters(
    pipeline: Pipeline[..., Any], parameters: list[inspect.Parameter]
) -> list[inspect.Parameter]:
    """The parameters of the flow: a configuration may also be a name, and need not be given."""
    if pipeline.configurations is None:
        return parameters
    changed = [
        one.replace(annotation=one.annotation | str, default=pipeline.configurations.default)
        if one.name == PARAMETER and isinstance(one.annotation, type) and issubclass(one.annotation, Frozen)
        else one
        for one in parameters
    ]
    required = [one for one in changed if one.default is inspect.Parameter.empty]
    return [*required, *(one for one in changed if one not in required)]
