"""The doctor's checks that only a stack in containers has."""

import json
import urllib.error
import urllib.request

from stack import compose, mending
from stack.docker import Containers
from stack.findings import AGAIN, Unwell
from stack.probing import logs_of
from stack.steps import SetupError

MONITOR_AGAIN = "run docker compose --profile monitoring up --detach"
MONITORED_BY = "prometheus"
MONITORED = frozenset(
    {"alertmanager", "minio", "postgres", "prefect", "prefect-server", "prometheus", "redis"}
)
"""The jobs that Prometheus is to scrape."""


def containers() -> str:
    """All containers are there and healthy, or did their work and ended."""
    found = compose.containers()
    missing = sorted(compose.services() - {container.service for container in found})
    if missing:
        raise Unwell(f"there is no container of {', '.join(missing)}", AGAIN)
    if unwell := [container for container in found if not container.is_well]:
        first = unwell[0].service
        remedy = AGAIN if first in compose.services() else MONITOR_AGAIN
        raise Unwell(", ".join(one.shown for one in unwell), f"{remedy}; see `docker compose logs {first}`")
    running = [container.service for container in found if container.state == "running"]
    return f"{', '.join(sorted(running))} are up and healthy"


def redis() -> str:
    """Redis takes leases, and Prefect's services listen to it."""
    if found := mending.wrong_with_redis():
        raise Unwell(f"Redis takes no leases: {found}", f"{AGAIN}, which starts it again")
    if found := mending.wrong_with_services():
        raise Unwell(f"prefect-services do not listen to Redis: {found}", f"{AGAIN}, which starts them again")
    return "takes leases, and Prefect's services listen to it"


def is_monitored() -> bool:
    """Whether Prometheus runs or is to run."""
    return MONITORED_BY in {container.service for container in compose.containers()} | compose.services()


def monitoring(stack: Containers) -> str:
    """Prometheus scrapes all that it is to scrape."""
    query = ("promtool", "query", "instant", "-o", "json", "http://127.0.0.1:9090", "up")
    try:
        found = json.loads(compose.ask("exec", "-T", MONITORED_BY, *query))
    except (SetupError, ValueError) as error:
        raise Unwell(f"Prometheus does not answer ({str(error).strip()[-200:]})", MONITOR_AGAIN) from error
    up = {(one["metric"]["job"], one["metric"]["instance"]): one["value"][1] == "1" for one in found}
    down = sorted(f"{job} at {instance}" for (job, instance), works in up.items() if not works)
    wanted = MONITORED if stack.has_store else MONITORED - {"minio"}
    down += sorted(wanted - {job for job, _ in up})
    if down:
        raise Unwell(
            f"no metrics come from {', '.join(down)}",
            f"{MONITOR_AGAIN}; see `docker compose logs {MONITORED_BY} prefect-exporter`",
        )
    return f"Prometheus scrapes {', '.join(sorted({job for job, _ in up}))}"


def login(stack: Containers) -> str:
    """The API refuses who does not log in."""
    request = urllib.request.Request(f"{stack.api_url}/flow_runs/count", b"{}", method="POST")  # noqa: S310
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
            raise Unwell("the API answers without a login", f"set LARDER_API_LOGIN in .env and {AGAIN}")
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise Unwell(f"the API answers {error.code} where no login is given", logs_of(stack)) from error
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    return "the API refuses who does not log in"
