"""What setup says while it works."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


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


def age(made: datetime) -> str:
    """How long ago something was made, in its largest unit."""
    seconds = (datetime.now(UTC) - made).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"
