"""Whether everything that setup started really works. Every check can fail, and says what to do."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from stack import compose, docker, local, registration
from stack.daemon import Daemon, plain_environment
from stack.docker import Containers
from stack.home import Home
from stack.local import Stack, is_online
from stack.servers import POOL
from stack.steps import SetupError

FREE_BYTES = 2 * 2**30
HEARTBEAT_SECONDS = 60
PROBE_SECONDS = 120
CLOCK_SECONDS = 5.0
AGAIN = "run ./setup.sh"
PROBE = "probe/probe"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
MONITOR_AGAIN = "run docker compose --profile monitoring up --detach"
MONITORED_BY = "prometheus"
MONITORED = frozenset(
    {"alertmanager", "minio", "postgres", "prefect", "prefect-server", "prometheus", "redis", "worker"}
)
"""The jobs that Prometheus is to scrape."""
MIGRATIONS = """
import asyncio, sqlalchemy
from alembic.script import ScriptDirectory
from prefect.server.database.alembic_commands import alembic_config
from prefect.server.database.dependencies import provide_database_interface
database = provide_database_interface()
scripts = ScriptDirectory.from_config(alembic_config())
scripts.version_locations = [str(database.orm.versions_dir)]
async def current():
    async with (await database.engine()).connect() as connection:
        return (await connection.execute(sqlalchemy.text("select version_num from alembic_version"))).scalar()
print(asyncio.run(current()), *scripts.get_heads())
"""


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


def running(home: Home) -> Stack | Containers:
    """The stack that a home runs, as it was started last.

    Raises:
        SetupError: it runs none.
    """
    if home.mode is None:
        raise SetupError(f"Nothing is started in {home.folder}: run ./setup.sh.")
    if home.mode == "local":
        return local.existing(home)
    stack = docker.existing(home)
    os.environ.update(stack.environment)
    return stack


def examine(stack: Stack | Containers, *, as_json: bool = False) -> bool:
    """Goes through all checks, saying each as it is done, or all as one JSON document; whether all hold."""
    findings = []
    for check in checks(stack):
        finding = _finding(check)
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    well = all(finding.holds for finding in findings)
    if as_json:
        print(json.dumps({"well": well, "checks": [asdict(finding) for finding in findings]}, indent=2))
    return well


def checks(stack: Stack | Containers) -> list[Check]:
    """What must hold for a stack of this kind."""
    probe = Probe(stack)
    first = _of_containers(stack) if isinstance(stack, Containers) else _of_processes(stack)
    last = (
        [Check("monitoring", partial(_monitoring, stack))]
        if isinstance(stack, Containers) and _is_monitored()
        else []
    )
    return [
        *first,
        Check("server", partial(_server, stack)),
        Check("ui", partial(_ui, stack)),
        Check("database", partial(_database, stack)),
        Check("registered", partial(_registered, stack)),
        Check("worker", partial(_worker, stack)),
        Check("queue", probe.run),
        Check("bucket", probe.bucket),
        Check("leases", probe.leases),
        Check("clocks", partial(_clocks, stack, probe)),
        Check("disk", partial(_disk, stack, probe)),
        *last,
    ]


def _finding(check: Check) -> Finding:
    try:
        return Finding(check.name, holds=True, found=check.look())
    except Unwell as error:
        return Finding(check.name, holds=False, found=error.found, remedy=error.remedy)


class Probe:
    """A tiny run on the worker, and what it found there."""

    def __init__(self, stack: Stack | Containers) -> None:
        self.stack = stack
        self.found: dict[str, Any] | None = None
        self.seconds_apart = 0.0

    def run(self) -> str:
        """Create the run, wait for its end, take what it found, and remove it."""
        api, began = self.stack.api_url, time.monotonic()
        try:
            deployment = registration.ask(api, "deployments/name/{}/{}", *PROBE.split("/"))
            if deployment is None:
                raise Unwell(f"there is no deployment {PROBE}", AGAIN)
            run = registration.ask(api, "deployments/{}/create_flow_run", deployment["id"], body={})
            state = self._end_of(run["id"])
            asked = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}, "type": {"any_": ["result"]}}}
            found = registration.ask(api, "artifacts/filter", body=asked)
        except OSError as error:
            raise Unwell(f"{api} does not answer ({error})", AGAIN) from error
        if state not in ENDED:
            raise Unwell(
                f"a run was not taken and done within {PROBE_SECONDS} s ({state})", _logs(self.stack)
            )
        if not found:
            raise Unwell(f"a run ended {state} and told nothing", _logs(self.stack))
        self.found = found[0]["data"]
        self.seconds_apart = abs(self.found["time"] - time.time()) - (time.monotonic() - began)
        registration.ask(api, "flow_runs/{}", run["id"], method="DELETE")
        return f"{self.found['worker']} took a run and ended it in {time.monotonic() - began:.1f} s"

    def bucket(self) -> str:
        """What the worker could do in the bucket, with the saved block's keys."""
        found = self._part("bucket")
        if not found["same"]:
            raise Unwell(
                f"{found['name']} reads, lists or deletes something else than was written", "look at it"
            )
        if isinstance(self.stack, Containers) and self.stack.has_store and not found["confined"]:
            raise Unwell(
                "the worker's user can look into other buckets", f"{AGAIN}, which sets its policy anew"
            )
        confined = ", and may do so nowhere else" if found["confined"] else ""
        return (
            f"the worker wrote, read, listed and deleted in {found['name']} at {found['endpoint']}{confined}"
        )

    def leases(self) -> str:
        """Whether the worker could hold a lease."""
        found = self._part("lease")
        if not found["works"]:
            raise Unwell("a lease was not held, or not let go", _logs(self.stack))
        return f"the worker held one in {found['kept_in']} and let it go"

    @property
    def free_bytes(self) -> int | None:
        """Room for the worker's scratch."""
        return None if self.found is None else int(self.found["free_bytes"])

    def _end_of(self, run_id: str) -> str:
        until = time.monotonic() + PROBE_SECONDS
        state = ""
        while state not in ENDED and time.monotonic() < until:
            time.sleep(0.5)
            state = str(registration.ask(self.stack.api_url, "flow_runs/{}", run_id)["state_type"])
        return state

    def _part(self, name: str) -> dict[str, Any]:
        if self.found is None:
            raise Unwell("not known, as no run came through", "see queue")
        part: dict[str, Any] = self.found[name]
        if part["error"]:
            raise Unwell(f"on the worker: {part['error']}", _logs(self.stack))
        return part


def _of_processes(stack: Stack) -> list[Check]:
    return [Check("processes", partial(_processes, stack)), Check("settings", partial(_current, stack))]


def _of_containers(stack: Containers) -> list[Check]:
    return [Check("containers", _containers), Check("login", partial(_login, stack))]


def _processes(stack: Stack) -> str:
    for daemon in stack.daemons:
        if daemon.pid is None:
            raise Unwell(f"{daemon.name} is not running", f"{AGAIN}; its log is {daemon.log}")
    return ", ".join(f"{daemon.name} {daemon.pid}" for daemon in stack.daemons)


def _current(stack: Stack) -> str:
    old: list[Daemon] = [daemon for daemon in stack.daemons if not daemon.is_current()]
    if old:
        names = ", ".join(daemon.name for daemon in old)
        raise Unwell(f"{names} was started with other settings than the ones given now", AGAIN)
    return "started with the present settings"


def _containers() -> str:
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


def _is_monitored() -> bool:
    return MONITORED_BY in {container.service for container in compose.containers()} | compose.services()


def _monitoring(stack: Containers) -> str:
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


def _login(stack: Containers) -> str:
    request = urllib.request.Request(f"{stack.api_url}/flow_runs/count", b"{}", method="POST")  # noqa: S310
    try:
        with _opener().open(request, timeout=10):
            raise Unwell("the API answers without a login", f"set LARDER_API_LOGIN in .env and {AGAIN}")
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise Unwell(f"the API answers {error.code} where no login is given", _logs(stack)) from error
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    return "the API refuses who does not log in"


def _server(stack: Stack | Containers) -> str:
    try:
        version = registration.ask(stack.api_url, "admin/version")
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", f"{AGAIN}; {_logs(stack)}") from error
    return f"Prefect {version} at {stack.api_url}"


def _ui(stack: Stack | Containers) -> str:
    try:
        with _opener().open(stack.ui_url, timeout=10) as response:
            page = response.read().decode(errors="replace")
    except OSError as error:
        raise Unwell(f"{stack.ui_url} does not answer ({error})", AGAIN) from error
    if "<html" not in page or "/assets/" not in page:
        raise Unwell(f"{stack.ui_url} answers, but not with the UI", _logs(stack))
    return stack.ui_url


def _database(stack: Stack | Containers) -> str:
    try:
        if isinstance(stack, Containers):
            said = compose.ask("exec", "-T", "prefect-server", "python", "-c", MIGRATIONS)
        else:
            environment = {**plain_environment(), **stack.server.environment}
            command = [sys.executable, "-c", MIGRATIONS]
            said = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment, timeout=60
            ).stdout
    except (SetupError, subprocess.SubprocessError) as error:
        raise Unwell(
            f"it cannot be asked ({str(error).strip()[-300:]})", f"{AGAIN}; {_logs(stack)}"
        ) from error
    current, *heads = said.split()[-2:]
    if [current] != heads:
        raise Unwell(f"its migrations stand at {current}, not at {', '.join(heads)}", AGAIN)
    return f"reachable, its migrations are current ({current})"


def _registered(stack: Stack | Containers) -> str:
    try:
        missing = registration.missing(stack.api_url, stack.version)
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    if missing:
        raise Unwell(f"the server lacks {', '.join(missing)}, of this version", AGAIN)
    names = ", ".join(registration.deployments())
    return f"blocks, work pool, automation, deployments {names} ({stack.version})"


def _worker(stack: Stack | Containers) -> str:
    since = time.time() - HEARTBEAT_SECONDS
    if not is_online(stack.api_url, since):
        raise Unwell(f"no heartbeat of one within {HEARTBEAT_SECONDS} s", f"{AGAIN}; {_logs(stack)}")
    try:
        queues = registration.ask(stack.api_url, "work_pools/{}/queues/filter", POOL, body={}) or []
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    polled = [datetime.fromisoformat(one["last_polled"]).timestamp() for one in queues if one["last_polled"]]
    if not polled or max(polled) < since:
        raise Unwell(f"work pool {POOL} was not polled within {HEARTBEAT_SECONDS} s", _logs(stack))
    paused = [one["name"] for one in queues if one["is_paused"]]
    if paused:
        raise Unwell(f"work queue {', '.join(paused)} is paused", "let it go on in the UI, under Work Pools")
    return f"sends heartbeats and polls work pool {POOL}"


def _clocks(stack: Stack | Containers, probe: Probe) -> str:
    apart = {"the worker": probe.seconds_apart}
    for name, url in (
        ("Prefect's server", stack.ui_url),
        ("the store", stack.environment.get("LARDER_S3_ENDPOINT_URL", "https://s3.amazonaws.com")),
    ):
        apart[name] = _apart(url)
    if wrong := {name: seconds for name, seconds in apart.items() if seconds > CLOCK_SECONDS}:
        said = ", ".join(f"{name}'s is {seconds:.0f} s off" for name, seconds in wrong.items())
        raise Unwell(said, "let NTP set the clocks; keys and leases do not suffer, times shown do")
    return f"agree within {CLOCK_SECONDS:.0f} s"


def _apart(url: str) -> float:
    try:
        with _opener().open(url, timeout=10) as response:
            date: str = response.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
    except OSError as error:
        raise Unwell(f"{url} does not answer ({error})", AGAIN) from error
    return max(0.0, abs(parsedate_to_datetime(date).timestamp() - time.time()) - 1)


def _disk(stack: Stack | Containers, probe: Probe) -> str:
    rooms = {f"below {stack.home.folder}": shutil.disk_usage(stack.home.folder).free}
    if isinstance(stack, Containers) and probe.free_bytes is not None:
        rooms["for containers and volumes"] = probe.free_bytes
    said = ", ".join(f"{free / 2**30:.1f} GiB free {where}" for where, free in rooms.items())
    if min(rooms.values()) < FREE_BYTES:
        raise Unwell(said, f"make room: {FREE_BYTES / 2**30:.0f} GiB at least")
    return said


def _logs(stack: Stack | Containers) -> str:
    if isinstance(stack, Containers):
        return "see `docker compose logs prefect-server prefect-services worker`"
    return f"see {stack.server.log} and {stack.worker.log}"


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
