"""Whether everything that setup started really works."""

import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from blocks import s3
from blocks.settings import BLOCK_REFERENCE, CHECKOUT
from stack import registration
from stack.daemon import Daemon, plain_environment
from stack.local import Stack, is_online
from stack.servers import POOL

FREE_BYTES = 2 * 2**30
HEARTBEAT_SECONDS = 60
AGAIN = "run ./setup.sh"
OPEN_SAVED_BUCKET = """
import sys
from prefect_aws import S3Bucket
from blocks.storage import connection
block = S3Bucket.load(sys.argv[1])
connection(block).head_bucket(Bucket=block.bucket_name)
print(block.bucket_name, block.credentials.aws_client_parameters.endpoint_url)
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
    look: Callable[[Stack], str]


def examine(stack: Stack) -> bool:
    """Prints one line for each check; whether all of them hold."""
    held = [_holds(check, stack) for check in CHECKS]
    return all(held)


def _holds(check: Check, stack: Stack) -> bool:
    try:
        found = check.look(stack)
    except Unwell as error:
        print(f"FAILED  {check.name:<12} {error.found}\n        {'':<12} → {error.remedy}", flush=True)
        return False
    print(f"ok      {check.name:<12} {found}", flush=True)
    return True


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


def _server(stack: Stack) -> str:
    try:
        version = registration.ask(stack.api_url, "admin/version")
    except OSError as error:
        raise Unwell(
            f"{stack.api_url} does not answer ({error})", f"{AGAIN}; its log is {stack.server.log}"
        ) from error
    return f"Prefect {version} at {stack.api_url}"


def _ui(stack: Stack) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(stack.ui_url, timeout=10) as response:
            page = response.read().decode(errors="replace")
    except OSError as error:
        raise Unwell(f"{stack.ui_url} does not answer ({error})", AGAIN) from error
    if "<html" not in page or "/assets/" not in page:
        raise Unwell(f"{stack.ui_url} answers, but not with the UI", f"see {stack.server.log}")
    return stack.ui_url


def _worker(stack: Stack) -> str:
    if not is_online(stack.api_url, since=time.time() - HEARTBEAT_SECONDS):
        raise Unwell(f"no heartbeat within {HEARTBEAT_SECONDS} s", f"{AGAIN}; its log is {stack.worker.log}")
    return f"sends heartbeats to work pool {POOL}"


def _bucket(stack: Stack) -> str:
    now = stack.settings
    name, content = f"doctor/{uuid.uuid4().hex}.txt", uuid.uuid4().bytes
    try:
        client = s3.client(now)
        client.put_object(Bucket=now.bucket_name, Key=name, Body=content)
        read = client.get_object(Bucket=now.bucket_name, Key=name)["Body"].read()
        listed = client.list_objects_v2(Bucket=now.bucket_name, Prefix=name).get("KeyCount")
        client.delete_object(Bucket=now.bucket_name, Key=name)
        left = client.list_objects_v2(Bucket=now.bucket_name, Prefix=name).get("KeyCount")
    except (s3.StoreNotConfiguredError, BotoCoreError, ClientError) as error:
        log = f"; its log is {stack.store.log}" if stack.store else ""
        raise Unwell(f"{now.s3_endpoint_url}: {error}", AGAIN + log) from error
    if (read, listed, left) != (content, 1, 0):
        raise Unwell(
            f"{now.bucket_name} at {now.s3_endpoint_url} reads, lists or deletes something else than was "
            "written",
            "look at the store",
        )
    return f"{now.bucket_name} at {now.s3_endpoint_url}: wrote, read, listed, deleted"


def _registered(stack: Stack) -> str:
    version = registration.version(stack.settings)
    try:
        missing = registration.missing(stack.api_url, version)
    except OSError as error:
        raise Unwell(f"{stack.api_url} does not answer ({error})", AGAIN) from error
    if missing:
        raise Unwell(f"the server lacks {', '.join(missing)}, of this version", AGAIN)
    return f"blocks, work pool, automation, deployment {registration.DEPLOYMENT} ({version})"


def _block(stack: Stack) -> str:
    environment = {**plain_environment(), **stack.worker.environment}
    command = [sys.executable, "-c", OPEN_SAVED_BUCKET, BLOCK_REFERENCE.partition("/")[2]]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=CHECKOUT)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unwell(f"{BLOCK_REFERENCE} cannot be used: {reason}", AGAIN)
    return f"{BLOCK_REFERENCE} opens {done.stdout.strip()}"


def _disk(stack: Stack) -> str:
    free = shutil.disk_usage(stack.home.folder).free
    if free < FREE_BYTES:
        raise Unwell(f"{free / 2**30:.1f} GiB free below {stack.home.folder}", "make room: 2 GiB at least")
    return f"{free / 2**30:.0f} GiB free below {stack.home.folder}"


CHECKS = (
    Check("processes", _processes),
    Check("settings", _current),
    Check("server", _server),
    Check("ui", _ui),
    Check("worker", _worker),
    Check("bucket", _bucket),
    Check("registered", _registered),
    Check("block", _block),
    Check("disk", _disk),
)
