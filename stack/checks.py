"""The doctor's checks: each says what it found, or what is wrong and what to do."""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from email.utils import parsedate_to_datetime

from stack import compose, registration
from stack.daemon import Daemon, plain_environment
from stack.docker import Containers
from stack.findings import AGAIN, Unwell
from stack.local import Stack, is_online
from stack.probing import Probe, logs_of
from stack.servers import POOL
from stack.steps import SetupError
from stack.stuck_runs import stuck_runs
from stack.user_interface import BASE, POLICY

FREE_BYTES = 2 * 2**30
HEARTBEAT_SECONDS = 60
CLOCK_SECONDS = 5.0
FREE_TEMPORARY = 0.2
"""Of the worker's /tmp."""
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


def processes(stack: Stack) -> str:
    """Every process of the home runs."""
    for daemon in stack.daemons:
        if daemon.pid is None:
            raise Unwell(f"{daemon.name} is not running", f"{AGAIN}; its log is {daemon.log}")
    return ", ".join(f"{daemon.name} {daemon.pid}" for daemon in stack.daemons)


def current(stack: Stack) -> str:
    """Every process was started with the present settings."""
    old: list[Daemon] = [daemon for daemon in stack.daemons if not daemon.is_current()]
    if old:
        names = ", ".join(daemon.name for daemon in old)
        raise Unwell(f"{names} was started with other settings than the ones given now", AGAIN)
    return "started with the present settings"


def server(stack: Stack | Containers) -> str:
    """Prefect's API answers."""
    try:
        version = registration.ask(stack.api_url, "admin/version")
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", f"{AGAIN}; {logs_of(stack)}") from error
    return f"Prefect {version} at {stack.api_url}"


def ui(stack: Stack | Containers) -> str:
    """The pages are served, with the policy that keeps them from calling elsewhere."""
    try:
        with _opener().open(f"{stack.ui_url}{BASE}/", timeout=10) as response:
            page = response.read().decode(errors="replace")
    except OSError as error:
        raise Unwell(f"{stack.ui_url} does not answer ({error})", AGAIN) from error
    if "<html" not in page or "/assets/" not in page:
        raise Unwell(f"{stack.ui_url} answers, but not with the UI", logs_of(stack))
    if POLICY.partition(" ")[0] not in page:
        raise Unwell(f"the pages at {stack.ui_url} may call an analytics host", AGAIN)
    return stack.ui_url


def runs(stack: Stack | Containers) -> str:
    """No run is going on of which nothing is heard."""
    try:
        stuck = stuck_runs(stack.api_url)
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    if stuck:
        said = ", ".join(
            f"{one.product} ({one.pipeline}, {one.run['id']}) is {one.run['state_name']} for "
            f"{one.minutes:.0f} minutes"
            for one in stuck
        )
        raise Unwell(
            f"nothing is heard of {len(stuck)}: {said}",
            f"{logs_of(stack)}; a run whose process is gone can be cancelled in the UI, and run again",
        )
    return "all that are going on are heard of"


def database(stack: Stack | Containers) -> str:
    """The database is reachable and of the present version."""
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
            f"it cannot be asked ({str(error).strip()[-300:]})", f"{AGAIN}; {logs_of(stack)}"
        ) from error
    current, *heads = said.split()[-2:]
    if [current] != heads:
        raise Unwell(f"its migrations stand at {current}, not at {', '.join(heads)}", AGAIN)
    return f"reachable, its migrations are current ({current})"


def registered(stack: Stack | Containers) -> str:
    """The server holds everything of this version."""
    try:
        missing = registration.missing(stack.api_url, stack.version)
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    if missing:
        raise Unwell(f"the server lacks {', '.join(missing)}, of this version", AGAIN)
    names = ", ".join(registration.deployments())
    return f"blocks, work pool, automation, deployments {names} ({stack.version})"


def worker(stack: Stack | Containers) -> str:
    """A worker sends heartbeats, and asks for work."""
    since = time.time() - HEARTBEAT_SECONDS
    if not is_online(stack.api_url, since):
        raise Unwell(f"no heartbeat of one within {HEARTBEAT_SECONDS} s", f"{AGAIN}; {logs_of(stack)}")
    try:
        queues = registration.ask(stack.api_url, "work_pools/{}/queues/filter", POOL, body={}) or []
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    polled = [datetime.fromisoformat(one["last_polled"]).timestamp() for one in queues if one["last_polled"]]
    if not polled or max(polled) < since:
        raise Unwell(f"work pool {POOL} was not polled within {HEARTBEAT_SECONDS} s", logs_of(stack))
    paused = [one["name"] for one in queues if one["is_paused"]]
    if paused:
        raise Unwell(f"work queue {', '.join(paused)} is paused", "let it go on in the UI, under Work Pools")
    return f"sends heartbeats and polls work pool {POOL}"


def clocks(stack: Stack | Containers, probe: Probe) -> str:
    """The clocks agree."""
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


def disk(stack: Stack | Containers, probe: Probe) -> str:
    """There is room, here and where runs work."""
    rooms = {f"below {stack.home.folder}": shutil.disk_usage(stack.home.folder).free}
    if isinstance(stack, Containers) and probe.free_bytes is not None:
        rooms["for containers and volumes"] = probe.free_bytes
    said = ", ".join(f"{free / 2**30:.1f} GiB free {where}" for where, free in rooms.items())
    if min(rooms.values()) < FREE_BYTES:
        raise Unwell(said, f"make room: {FREE_BYTES / 2**30:.0f} GiB at least")
    if probe.free_scratch_bytes is not None:
        scratch, kept = probe.free_scratch_bytes
        if scratch < kept:
            raise Unwell(
                f"{scratch / 2**20:,.0f} MiB free in the worker's scratch folder, where stages are refused",
                f"make room: more than {kept / 2**20:,.0f} MiB (LARDER_KEEP_FREE_BYTES)",
            )
    if probe.free_temporary is not None and probe.free_temporary < FREE_TEMPORARY:
        raise Unwell(
            f"the worker's folder for temporary files is {1 - probe.free_temporary:.0%} full",
            "end the runs that fill it; docker compose restart worker empties it",
        )
    return said


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
