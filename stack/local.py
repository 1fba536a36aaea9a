"""The stack without containers: an S3 server, Prefect's server and a worker, as processes of this user."""

import hashlib
import os
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from larder import s3
from larder.settings import CHECKOUT, DEFAULT_BUCKET, Settings, settings, stack_environment
from stack import registration, servers
from stack.daemon import Daemon, end_marked, end_recorded, mark, marked, plain_environment, recorded_pid
from stack.home import Home
from stack.ports import HOST, kept_ports
from stack.servers import POOL, WORKER
from stack.steps import SetupError, step

STORE_SECONDS = 60
SERVER_SECONDS = 180
WORKER_SECONDS = 120
BUCKET_SECONDS = 15
PORTS = (*servers.STORE_PORTS, "server")


@dataclass(frozen=True)
class Stack:
    """One home's processes, and how their users reach them."""

    home: Home
    settings: Settings
    store: Daemon | None
    """None where the store is not ours."""
    server: Daemon
    worker: Daemon
    ui_url: str
    console_url: str | None
    """Where the bucket can be browsed; None where the store is not ours."""

    @property
    def api_url(self) -> str:
        """Prefect's API."""
        return f"{self.ui_url}/api"

    @property
    def logins(self) -> dict[str, str]:
        """What to type where, by the name of the page."""
        if self.console_url is None:
            return {}
        found = self.environment
        return {"Store UI": f"{found['LARDER_S3_ACCESS_KEY_ID']}   {found['LARDER_S3_SECRET_ACCESS_KEY']}"}

    @property
    def version(self) -> str:
        """Of the code and settings from which everything on the server is to be made."""
        return registration.version(self.settings)

    @property
    def daemons(self) -> list[Daemon]:
        """All that this home runs, in the order in which they start."""
        return [daemon for daemon in (self.store, self.server, self.worker) if daemon]

    @property
    def environment(self) -> dict[str, str]:
        """What `$LARDER_HOME/env` says."""
        return environment(self.home, self.settings, self.api_url)


def environment(home: Home, now: Settings, api_url: str) -> dict[str, str]:
    """What every command of this home needs to know."""
    secret = now.s3_secret_access_key.get_secret_value() if now.s3_secret_access_key else ""
    return {
        "LARDER_HOME": str(home.folder),
        "LARDER_S3_ENDPOINT_URL": now.s3_endpoint_url or "",
        "LARDER_S3_ACCESS_KEY_ID": now.s3_access_key_id or "",
        "LARDER_S3_SECRET_ACCESS_KEY": secret,
        "LARDER_BUCKET": now.bucket_name,
        **({"LARDER_OBJECT_URL": now.object_url} if now.object_url else {}),
        "PREFECT_API_URL": api_url,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_CLIENT_MAX_RETRIES": "15",
    }


def start(home: Home) -> Stack:
    """Starts whatever is not running and registers whatever is not there.

    Raises:
        SetupError: a step failed; says which, and where its log is.
        StartError: a process did not come up.
    """
    _end_lost(home)
    stack = plan(home)
    home.write_environment(stack.environment)
    with step("store") as said:
        if stack.store:
            said.append(_launch(stack.store))
        _launch(stack.server)
        if stack.store:
            stack.store.wait(STORE_SECONDS)
        said.append(_open_bucket(stack.settings))
    with step("server") as said:
        stack.server.wait(SERVER_SECONDS)
        said.append(stack.ui_url)
    with step("blocks") as said:
        said.append(_register(stack))
    with step("worker") as said:
        stack.worker.wait(WORKER_SECONDS)
        said.append(f"online in work pool {POOL}")
    return stack


def stop(home: Home) -> list[str]:
    """Ends what this home started, runs on its worker too, and nothing else; names what was running."""
    ended = [name for name in ("worker", "server", "store") if _end(home, name)]
    home.set_mode(None)
    return ended


def plan(home: Home) -> Stack:
    """The stack as it is to run now; chooses ports and keys where none are kept.

    Raises:
        SetupError: a store is named whose keys are not.
    """
    before = kept_ports(home.ports, PORTS, in_use=PORTS)
    ports = kept_ports(home.ports, PORTS, in_use=_listening(home))
    own_urls = {_url(before["s3"]), _url(ports["s3"])}
    now = settings()
    if "LARDER_S3_ENDPOINT_URL" in os.environ and now.s3_endpoint_url not in own_urls:
        _require_keys(now)
        return _assemble(home, now, None, ports)
    now = _with_own_store(now, own_urls, _url(ports["s3"]))
    return _assemble(home, now, _own_store(home, ports, now), ports)


def existing(home: Home) -> Stack:
    """The stack as it was started last, to be looked at."""
    ports = kept_ports(home.ports, PORTS, in_use=PORTS)
    now = settings()
    is_own = now.s3_endpoint_url == _url(ports["s3"])
    return _assemble(home, now, _own_store(home, ports, now) if is_own else None, ports)


def is_online(api_url: str, since: float, name: str | None = None) -> bool:
    """Whether a worker, or the one of this name, sent a heartbeat since then (seconds of the epoch)."""
    try:
        workers = registration.ask(api_url, "work_pools/{}/workers/filter", POOL, body={}) or []
    except OSError:
        return False
    beats = [worker["last_heartbeat_time"] for worker in workers if name in {None, worker["name"]}]
    return any(beat and datetime.fromisoformat(beat).timestamp() >= since for beat in beats)


def _assemble(home: Home, now: Settings, store: Daemon | None, ports: Mapping[str, int]) -> Stack:
    folder, ui_url = home.folder, _url(ports["server"])
    given = {name: value for name, value in os.environ.items() if name.startswith("LARDER_")}
    built_from = hashlib.sha256((CHECKOUT / "requirements.lock").read_bytes()).hexdigest()
    api_url = f"{ui_url}/api"
    if store and "LARDER_OBJECT_URL" not in os.environ:
        now = now.model_copy(update={"object_url": _object_url(store, ports)})
    worker = servers.prefect_worker(
        folder,
        {**given, **environment(home, now, api_url)},
        built_from,
        ready=lambda: is_online(api_url, worker.record.stat().st_mtime, WORKER),
    )
    server = servers.prefect_server(folder, ports["server"], built_from)
    return Stack(home, now, store, server, worker, ui_url, _console_url(store, ports))


def _listening(home: Home) -> set[str]:
    store = servers.STORE_PORTS if recorded_pid(home.folder, "store") else ()
    return {*store, *(["server"] if recorded_pid(home.folder, "server") else [])}


def _own_store(home: Home, ports: Mapping[str, int], now: Settings) -> Daemon:
    program = servers.minio_program()
    chose_seaweedfs = (home.folder / "store" / "seaweedfs").exists()
    chose_minio = (home.folder / "store" / "minio").exists()
    if program and not chose_seaweedfs:
        return servers.minio(program, home.folder, ports, now)
    if chose_minio:
        raise SetupError(
            f"The data in {home.folder / 'store' / 'minio'} was written by MinIO or Silo, and neither silo "
            "nor minio is on the PATH. Put it there, or give this data up with ./setup.sh down --volumes."
        )
    return servers.seaweedfs(home.folder, ports, now)


def _with_own_store(now: Settings, own_urls: Collection[str], own_url: str) -> Settings:
    kept = stack_environment()
    if kept.get("LARDER_S3_ENDPOINT_URL") not in own_urls:
        kept = {}

    def chosen(variable: str, otherwise: str) -> str:
        return os.environ.get(variable) or kept.get(variable) or otherwise

    changed = {
        "s3_endpoint_url": own_url,
        "s3_access_key_id": chosen("LARDER_S3_ACCESS_KEY_ID", f"larder-{secrets.token_hex(4)}"),
        "s3_secret_access_key": SecretStr(chosen("LARDER_S3_SECRET_ACCESS_KEY", secrets.token_hex(20))),
        "bucket": chosen("LARDER_BUCKET", DEFAULT_BUCKET),
    }
    return now.model_copy(update=changed)


def _require_keys(now: Settings) -> None:
    kept = stack_environment()
    if now.s3_endpoint_url == kept.get("LARDER_S3_ENDPOINT_URL"):
        return
    for variable in ("LARDER_S3_ACCESS_KEY_ID", "LARDER_S3_SECRET_ACCESS_KEY"):
        if not os.environ.get(variable):
            raise SetupError(
                f"LARDER_S3_ENDPOINT_URL is {now.s3_endpoint_url}, and {variable} is not set: set it to the "
                "store's key, or unset LARDER_S3_ENDPOINT_URL and setup starts a store.",
                code=2,
            )


def _launch(daemon: Daemon) -> str:
    if daemon.pid and daemon.is_current():
        return "running"
    changed = daemon.stop()
    daemon.start()
    return "started again, as it changed" if changed else "started"


def _launch_worker(stack: Stack) -> None:
    worker = stack.worker
    busy = [pid for pid in marked(worker.mark) if pid != worker.pid]
    if worker.pid and not worker.is_current() and busy:
        print("worker       is building, and keeps its settings until the next ./setup.sh after that")
        return
    _launch(worker)


def _open_bucket(now: Settings) -> str:
    try:
        made = _ensure_bucket(now)
    except (BotoCoreError, ClientError) as error:
        raise SetupError(
            f"The store {now.s3_endpoint_url} did not give bucket {now.bucket_name!r}: {error}. Check "
            "LARDER_S3_ENDPOINT_URL, LARDER_S3_ACCESS_KEY_ID, LARDER_S3_SECRET_ACCESS_KEY and LARDER_BUCKET."
        ) from error
    return f"bucket {now.bucket_name} {'created' if made else 'there'} at {now.s3_endpoint_url}"


def _ensure_bucket(now: Settings) -> bool:
    deadline = time.monotonic() + BUCKET_SECONDS
    while True:
        try:
            return s3.ensure_bucket(s3.client(now), now.bucket_name)
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _register(stack: Stack) -> str:
    version = registration.version(stack.settings)
    try:
        registration.ensure_pool(stack.api_url)
        _launch_worker(stack)
        missing = registration.missing(stack.api_url, version)
        if not missing:
            return "and deployment there"
        log = stack.home.folder / "log" / "register.log"
        registration.register({**plain_environment(), **stack.worker.environment}, log)
        missing = registration.missing(stack.api_url, version)
    except OSError as error:
        raise SetupError(
            f"Prefect's API at {stack.api_url} failed: {error}. Its log is {stack.server.log}."
        ) from error
    if missing:
        raise SetupError(f"Registered, and yet the server lacks {', '.join(missing)}. See {log}.")
    return f"and deployment registered ({version})"


def _end_lost(home: Home) -> None:
    """Ends servers of this home whose pid file is gone; a flow run that outlived its worker goes on."""
    if recorded_pid(home.folder, "worker") is None:
        end_marked(mark(home.folder, "worker"), command=servers.WORKER_COMMAND)
    for name in ("server", "store"):
        if recorded_pid(home.folder, name) is None:
            end_marked(mark(home.folder, name))


def _end(home: Home, name: str) -> bool:
    was_running = end_recorded(home.folder, name)
    return end_marked(mark(home.folder, name)) > 0 or was_running


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"


def _object_url(store: Daemon, ports: Mapping[str, int]) -> str:
    is_seaweedfs = Path(store.command[0]).name == "weed"
    return _url(ports["admin"]) + (servers.SEAWEEDFS_OBJECT if is_seaweedfs else servers.MINIO_OBJECT)


def _console_url(store: Daemon | None, ports: Mapping[str, int]) -> str | None:
    return _url(ports["admin"]) if store else None
