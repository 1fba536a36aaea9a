"""Values that stand in Secret blocks on the Prefect server."""

from typing import Any

from prefect.blocks.system import Secret

from larder.refusal import Problem, RefusedError


def read_secret(name: str) -> str:
    """The value in the Secret block of a name.

    Raises:
        RefusedError: there is no such block.
    """
    try:
        block: Any = Secret.load(name, _sync=True)  # type: ignore[call-arg]
    except ValueError as error:
        expected = "a block of type Secret with this name on the Prefect server"
        problem = Problem(f"Secret block {name}", "none of that name", expected)
        raise RefusedError("configuration", problem) from error
    return str(block.get())
