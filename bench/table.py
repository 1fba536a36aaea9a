"""What was measured, as a table."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison. `limit` is the largest ratio that is acceptable; None where it is for the record."""

    what: str
    ours: str
    theirs: str
    ratio: float | None
    limit: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or (self.ratio is not None and self.ratio <= self.limit)


def timed(what: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None) -> Row:
    """Seconds of ours and theirs, measured in turn: medians, and the median of the ratios pair by pair."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(what, f"{statistics.median(ours):.2f} s", f"{statistics.median(theirs):.2f} s", ratio, limit)


def shown(rows: Sequence[Row]) -> str:
    """A Markdown table with the machine's size above it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}",
        "",
        "| what | Larder | beside | ratio | at most |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        limit = "" if row.limit is None else f"{row.limit:g}{'' if row.holds else ' (missed)'}"
        lines.append(f"| {row.what} | {row.ours} | {row.theirs} | {ratio} | {limit} |")
    return "\n".join(lines)
