"""What Prefect's API knows about runs, queues and workers, as metrics for Prometheus.

The server's own metrics tell how it is; these tell how the work is. Read from the API at every scrape.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from larder import metrics
from larder.settings import settings
from stack.stage_metrics import Stages
from stack.stream_metrics import StreamRuns
from stack.stuck_runs import product_of, stuck_runs

METRICS_PORT = 9465
ANSWER_SECONDS = 10
PAGE = 200
OPEN_STATES = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
BAD_STATES = ("FAILED", "CRASHED")
RUN = ("pipeline", "product", "run", "page")
TOLD = timedelta(minutes=15)
"""For how long a failed run is told of."""
END_STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LATE_ANSWERS = timedelta(minutes=2)
"""How long after its end a run may turn up, as the server takes in states from a queue."""
BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)

log = logging.getLogger(__name__)


class PrefectMetrics(Collector):
    """Gauges of what is now, and a histogram of the runs that ended since this process began."""

    def __init__(self, api_url: str, login: str | None, registry: CollectorRegistry) -> None:
        user, _, password = (login or "").partition(":")
        self.client = httpx.Client(
            base_url=api_url,
            auth=(user, password) if login else None,
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )
        self.ended = Histogram(
            "prefect_flow_run_seconds",
            "How long flow runs took that ended, by the state in which they did",
            ("pipeline", "deployment", "state"),
            buckets=BUCKETS,
            registry=registry,
        )
        self.ui_url = os.environ.get("LARDER_UI_URL", "")
        self.began = self.looked = datetime.now(UTC)
        self.counted: set[tuple[str, str]] = set()
        self.guard = threading.Lock()
        registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: without it, registering would collect once."""
        return []

    def collect(self) -> list[GaugeMetricFamily]:
        """What the API answers now; `prefect_up` alone, at 0, where it does not answer."""
        up = GaugeMetricFamily("prefect_up", "Whether Prefect's API answers")
        with self.guard:
            try:
                flows = {flow["id"]: flow["name"] for flow in self._all("/flows/filter", {})}
                found = [*self._runs(), *self._queues(), *self._workers(), self._failed(flows), self._stuck()]
                self._count_ended(flows)
            except (httpx.HTTPError, OSError, KeyError, ValueError) as error:
                log.warning("Prefect's API did not answer: %s", error)
                up.add_metric([], 0)
                return [up]
        up.add_metric([], 1)
        return [up, *found]

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()

    def _runs(self) -> Iterator[GaugeMetricFamily]:
        for kind, states in (("flow_runs", OPEN_STATES), ("task_runs", (*OPEN_STATES, *END_STATES))):
            family = GaugeMetricFamily(
                f"prefect_{kind}", f"The {kind.replace('_', ' ')} that the database holds", labels=("state",)
            )
            for state in states:
                family.add_metric(
                    [state], self._ask(f"/{kind}/count", {kind: {"state": {"type": {"any_": [state]}}}})
                )
            yield family

    def _queues(self) -> Iterator[GaugeMetricFamily]:
        labels = ("work_pool", "work_queue")
        depth = GaugeMetricFamily(
            "prefect_queue_depth", "Flow runs that are due and that no worker has taken", labels=labels
        )
        oldest = GaugeMetricFamily(
            "prefect_queue_oldest_seconds", "For how long the first of them has been due", labels=labels
        )
        now = datetime.now(UTC)
        due = {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": now.isoformat()},
        }
        for pool in self._ask("/work_pools/filter", {}):
            for queue in self._ask(f"/work_pools/{pool['name']}/queues/filter", {}):
                where = {"flow_runs": due, "work_pool_queues": {"id": {"any_": [queue["id"]]}}}
                number = self._ask("/flow_runs/count", where)
                first = {**where, "sort": "NEXT_SCHEDULED_START_TIME_ASC", "limit": 1}
                runs = self._ask("/flow_runs/filter", first) if number else []
                waited = [now - datetime.fromisoformat(run["next_scheduled_start_time"]) for run in runs]
                depth.add_metric([pool["name"], queue["name"]], number)
                oldest.add_metric(
                    [pool["name"], queue["name"]], max((wait.total_seconds() for wait in waited), default=0)
                )
        yield depth
        yield oldest

    def _workers(self) -> Iterator[GaugeMetricFamily]:
        online = GaugeMetricFamily(
            "prefect_workers_online", "Workers that send heartbeats", labels=("work_pool",)
        )
        age = GaugeMetricFamily(
            "prefect_worker_heartbeat_age_seconds",
            "How long ago a worker that is online sent its last heartbeat",
            labels=("work_pool", "worker"),
        )
        for pool in self._ask("/work_pools/filter", {}):
            workers = [
                worker
                for worker in self._ask(f"/work_pools/{pool['name']}/workers/filter", {})
                if worker["status"] == "ONLINE"
            ]
            online.add_metric([pool["name"]], len(workers))
            for worker in workers:
                beat = datetime.fromisoformat(worker["last_heartbeat_time"])
                age.add_metric([pool["name"], worker["name"]], (datetime.now(UTC) - beat).total_seconds())
        yield online
        yield age

    def _failed(self, flows: Mapping[str, str]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "larder_failed_run", "Runs that ended badly within the last minutes", labels=(*RUN, "state")
        )
        since = datetime.now(UTC) - TOLD
        ended = {"end_time": {"after_": since.isoformat()}, "state": {"type": {"any_": list(BAD_STATES)}}}
        for run in self._all("/flow_runs/filter", {"flow_runs": ended, "sort": "END_TIME_DESC"}):
            family.add_metric([*self._named(flows.get(run["flow_id"], ""), run), run["state_type"]], 1)
        return family

    def _stuck(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "larder_stuck_run", "Runs of which nothing was heard for minutes", labels=(*RUN, "state")
        )
        for one in stuck_runs(str(self.client.base_url).rstrip("/")):
            family.add_metric([*self._named(one.pipeline, one.run), one.run["state_type"]], 1)
        return family

    def _named(self, pipeline: str, run: Mapping[str, Any]) -> list[str]:
        page = f"{self.ui_url}/runs/flow-run/{run['id']}"
        return [pipeline, product_of(dict(run)), str(run["id"]), page]

    def _count_ended(self, flows: Mapping[str, str]) -> None:
        deployments = {one["id"]: one for one in self._all("/deployments/filter", {})}
        since, now = max(self.began, self.looked - LATE_ANSWERS), datetime.now(UTC)
        ended = {
            "end_time": {"after_": since.isoformat()},
            "state": {"type": {"any_": list(END_STATES)}},
        }
        runs = {
            (run["id"], run["end_time"]): run
            for run in self._all("/flow_runs/filter", {"flow_runs": ended, "sort": "END_TIME_DESC"})
        }
        known = {(one["flow_id"], one["name"]) for one in deployments.values()}
        for flow, deployment in known | {(flow, "") for flow in flows}:
            for state in END_STATES:
                self.ended.labels(flows.get(flow, ""), deployment, state)
        for key, run in runs.items():
            if key not in self.counted:
                deployment = deployments.get(run["deployment_id"], {}).get("name", "")
                self.ended.labels(flows.get(run["flow_id"], ""), deployment, run["state_type"]).observe(
                    run["total_run_time"]
                )
        self.counted, self.looked = set(runs), now

    def _all(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while page := self._ask(path, {**body, "limit": PAGE, "offset": offset}):
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE


def serve_metrics(api_url: str, login: str | None, folder: Path, port: int) -> int:
    """Serve what the API tells and what runs leave in a folder; the port, which is any free one for 0."""
    registry = CollectorRegistry()
    PrefectMetrics(api_url, login, registry)
    registry.register(Stages(folder))
    registry.register(StreamRuns(folder))
    server, _ = start_http_server(port, registry=registry)
    return int(server.server_port)


def main() -> None:
    """Serves until the process is ended."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    login = os.environ.get("PREFECT_API_AUTH_STRING")
    serve_metrics(os.environ["PREFECT_API_URL"], login, metrics.folder(settings()), METRICS_PORT)
    threading.Event().wait()


if __name__ == "__main__":
    main()
