"""What runs of the stream writer came to, for Prometheus, from the files that they leave."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.stream_writer import metrics
from flows.stream_writer.metrics import Row
from stack.stage_metrics import content

COUNTED = {
    "batches": "Batches that were acknowledged",
    "messages": "Messages that the batches held",
    "written": "Messages that were written for the first time",
    "quarantined": "Messages that no table takes",
    "lost": "Messages that left the stream before anybody read them",
    "files": "Files that hold the batches",
    "trimmed": "Messages that were removed from the stream",
}
SHOWN = {
    "length": "Messages in the stream as the last run ended",
    "pending": "Messages that were read and not acknowledged as the last run ended",
    "lag": "Messages that nobody had read as the last run ended",
}
LABELS = ("stream", "group")
BUCKETS = (1, 10, 100, 1000, 5000, 10_000, 20_000, 50_000, 100_000)

log = logging.getLogger(__name__)


class StreamRuns(Collector):
    """Counters of all runs that ended since this process began, and what the last one left.

    Counters lag one scrape, as those of stages do, so that `increase` sees them rise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[tuple[str, str], Counter[str]] = {}
        self.sizes: dict[tuple[str, str], list[int]] = {}
        self.last: dict[tuple[str, str], Row] = {}
        self.guard = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing: without it, registering would collect once."""
        return []

    def collect(self) -> list[Metric]:
        """What was known at the last scrape; what was left since is taken in."""
        with self.guard:
            rows = list(self._arrived())
            for row in rows:
                self.sums.setdefault((row.stream, row.group), Counter())
                self.sizes.setdefault((row.stream, row.group), [])
                self.last[row.stream, row.group] = row
            families = [*self._counters(), *self._gauges(), self._histogram()]
            for row in rows:
                counts = {name: getattr(row, name) for name in COUNTED}
                self.sums[row.stream, row.group].update(counts)
                if row.largest_batch:
                    self.sizes[row.stream, row.group].append(row.largest_batch)
            return families

    def _counters(self) -> Iterator[Metric]:
        for name, what in COUNTED.items():
            family = CounterMetricFamily(f"larder_stream_{name}", what, labels=LABELS)
            for labels, sums in self.sums.items():
                family.add_metric(labels, sums[name])
            yield family

    def _gauges(self) -> Iterator[Metric]:
        for name, what in SHOWN.items():
            family = GaugeMetricFamily(f"larder_stream_{name}", what, labels=LABELS)
            for labels, row in self.last.items():
                if (value := getattr(row, name)) is not None:
                    family.add_metric(labels, value)
            yield family

    def _histogram(self) -> Metric:
        what = "The largest batch of a run, in messages"
        family = HistogramMetricFamily("larder_stream_largest_batch", what, labels=LABELS)
        for labels, sizes in self.sizes.items():
            counted = [(str(bound), sum(size <= bound for size in sizes)) for bound in BUCKETS]
            family.add_metric(labels, [*counted, ("+Inf", len(sizes))], sum(sizes))
        return family

    def _arrived(self) -> Iterator[Row]:
        for file in sorted(self.folder.glob(f"*{metrics.SUFFIX}"), key=lambda file: file.lstat().st_mtime):
            try:
                yield from metrics.ROWS.validate_json(content(file))
            except (OSError, ValueError) as error:
                log.warning("Left out of the metrics: %s (%s)", file, type(error).__name__)
            file.unlink(missing_ok=True)
