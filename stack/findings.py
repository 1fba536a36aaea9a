"""What a check of the doctor is, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass

AGAIN = "run ./setup.sh"


class Unwell(Exception):  # noqa: N818
    """A check did not hold: what was found, and what to do."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}: {remedy}")
        self.found = found
        self.remedy = remedy


@dataclass(frozen=True)
class Check:
    """One thing that must hold. `look` says what it found."""

    name: str
    look: Callable[[], str]


@dataclass(frozen=True)
class Finding:
    """What one check came to; `remedy` is what to do where it does not hold."""

    check: str
    holds: bool
    found: str
    remedy: str | None = None

    def __str__(self) -> str:
        line = f"{'ok    ' if self.holds else 'FAILED'}  {self.check:<12} {self.found}"
        return line if self.holds else f"{line}\n        {'':<12} → {self.remedy}"
