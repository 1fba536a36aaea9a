"""Exit codes, and what ends a command."""

from collections.abc import Sequence

EXIT_CODES = {"completed": 0, "failed": 1, "refused": 2}
INTERRUPTED = 130


def wants_json(words: Sequence[str]) -> bool:
    """Whether one JSON document is wanted on stdout."""
    return "--json" in words


def errors_of_the_world() -> tuple[type[Exception], ...]:
    """What is nobody's mistake in what was written: a store, a server, a catalog that does not answer."""
    from cli.server import ServerMissing
    from larder.refusal import OutsideUnreachable
    from larder.s3 import StoreNotConfiguredError
    from larder.store import StoreError

    return (StoreError, ServerMissing, StoreNotConfiguredError, OutsideUnreachable, ConnectionError)
