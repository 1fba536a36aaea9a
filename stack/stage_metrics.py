"""What became of the stages of runs, summed up for Prometheus from the files that runs leave."""

import logging
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from larder import metrics
from larder.outcomes import Outcome

SHOWN = {
    "stages": ("larder_stages", "Stages, by what became of them"),
    "seconds": ("larder_stage_seconds", "Seconds that stages took"),
    "saved": ("larder_saved_seconds", "Seconds that reused stages took when they were executed"),
    "stored": ("larder_stored_bytes", "Bytes of the artifacts that stages put into the bucket"),
}
"""What is summed up: the counter's name and what it is."""
LABELS = ("pipeline", "product", "stage", "outcome")
MOST_BYTES = 2**20

log = logging.getLogger(__name__)


class Stages(Collector):
    """The counters of all runs that ended since this process began.

    They lag one scrape: a product's counters are shown at 0 first, so that `increase` sees them rise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[tuple[str, str, str, str], Counter[str]] = {}
        self.guard = threading.Lock()

    def collect(self) -> list[CounterMetricFamily]:
        """What was known at the last scrape; what was left since is taken in."""
        with self.guard:
            return self._collected()

    def _collected(self) -> list[CounterMetricFamily]:
        rows, families = list(self._arrived()), []
        for row in rows:
            for outcome in Outcome:
                self.sums.setdefault((row.pipeline, row.product, row.stage, outcome), Counter())
        for number, (name, what) in SHOWN.items():
            family = CounterMetricFamily(name, what, labels=LABELS)
            for labels, sums in self.sums.items():
                family.add_metric(labels, sums[number])
            families.append(family)
        for row in rows:
            self.sums[row.pipeline, row.product, row.stage, row.outcome].update(
                {"stages": 1, "seconds": row.seconds, "saved": row.saved_seconds, "stored": row.stored_bytes}
            )
        return families

    def describe(self) -> list[CounterMetricFamily]:
        """Nothing: without it, registering would collect once."""
        return []

    def _arrived(self) -> Iterator[metrics.Row]:
        for file in self.folder.glob("*.json"):
            try:
                yield from metrics.ROWS.validate_json(content(file))
            except (OSError, ValueError) as error:
                log.warning("Left out of the metrics: %s (%s)", file, type(error).__name__)
            file.unlink(missing_ok=True)


def content(file: Path) -> bytes:
    """A small ordinary file; whoever runs commands on a worker could have left something else there."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        return opened.read(MOST_BYTES)
