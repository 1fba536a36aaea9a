"""What the worker's container runs: a Prefect worker under the container's own name, and its metrics."""

import logging
import runpy
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from larder import metrics
from larder.outcomes import Outcome
from larder.settings import settings
from stack.servers import POOL

METRICS_PORT = 9464
SHOWN = {
    "stages": ("larder_stages", "Stages, by what became of them"),
    "seconds": ("larder_stage_seconds", "Seconds that stages took"),
    "saved": ("larder_saved_seconds", "Seconds that reused stages took when they were executed"),
    "stored": ("larder_stored_bytes", "Bytes of the artifacts that stages put into the bucket"),
}
"""What is summed up: the counter's name and what it is."""
LABELS = ("product", "stage", "outcome")

log = logging.getLogger(__name__)


class Stages(Collector):
    """The counters of all runs that ended here since the worker started.

    They lag one scrape: a product's counters are shown at 0 first, so that `increase` sees them rise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sums: dict[tuple[str, str, str], Counter[str]] = {}
        self.guard = threading.Lock()

    def collect(self) -> list[CounterMetricFamily]:
        """What was known at the last scrape; what was left since is taken in."""
        with self.guard:
            return self._collected()

    def _collected(self) -> list[CounterMetricFamily]:
        rows, families = list(self._arrived()), []
        for row in rows:
            for outcome in Outcome:
                self.sums.setdefault((row.product, row.stage, outcome), Counter())
        for number, (name, what) in SHOWN.items():
            family = CounterMetricFamily(name, what, labels=LABELS)
            for labels, sums in self.sums.items():
                family.add_metric(labels, sums[number])
            families.append(family)
        for row in rows:
            self.sums[row.product, row.stage, row.outcome].update(
                {"stages": 1, "seconds": row.seconds, "saved": row.saved_seconds, "stored": row.stored_bytes}
            )
        return families

    def describe(self) -> list[CounterMetricFamily]:
        """Nothing: without it, registering would collect once."""
        return []

    def _arrived(self) -> Iterator[metrics.Row]:
        for file in self.folder.glob("*.json"):
            try:
                yield from metrics.ROWS.validate_json(file.read_bytes())
            except (OSError, ValueError) as error:
                log.warning("Left out of the metrics: %s: %s", file, error)
            file.unlink(missing_ok=True)


def serve_metrics(folder: Path, port: int) -> int:
    """Serve what runs leave in a folder; the port, which is any free one for 0."""
    folder.mkdir(parents=True, exist_ok=True)
    registry = CollectorRegistry()
    registry.register(Stages(folder))
    server, _ = start_http_server(port, registry=registry)
    return int(server.server_port)


def main() -> None:
    """Serves the metrics and is the worker."""
    serve_metrics(metrics.folder(settings()), METRICS_PORT)
    sys.argv = [
        *("prefect", "worker", "start", "--pool", POOL, "--type", "process"),
        *("--name", socket.gethostname(), "--with-healthcheck"),
    ]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
