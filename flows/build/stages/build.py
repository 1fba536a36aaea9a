"""Build: the output tables from the inputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.build.recipe.schema import ConnectorArg
from flows.tables.table import Table, Tables


def build(  # noqa: PLR0913, PLR0917
    version: str,  # noqa: ARG001
    env: Mapping[str, str],  # noqa: ARG001
    connector_args: Sequence[ConnectorArg],  # noqa: ARG001
    inputs: Mapping[str, Table],
    models: Mapping[str, Table],
    commands: Mapping[str, Table],
    scratch: Path,  # noqa: ARG001
) -> Tables:
    """The tables of a product: its models and what its commands promise; else its inputs as they are."""
    return Tables(tables=dict(sorted(({**models, **commands} or inputs).items())))
