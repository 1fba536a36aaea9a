"""What setup says while it works."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class SetupError(RuntimeError):
    """A step failed; the message says what to do. `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def step(title: str) -> Iterator[list[str]]:
    """Prints one line when the step has ended: its title, what was put in the list, its seconds."""
    began = time.monotonic()
    found: list[str] = []
    yield found
    print(f"{title:<12} {', '.join(found)} ({time.monotonic() - began:.1f} s)", flush=True)
