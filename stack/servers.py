"""The servers of the local stack: how each is started, and how it is known to answer."""

import hashlib
import hmac
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from larder.s3 import client
from larder.settings import CHECKOUT, Settings
from stack.daemon import Daemon
from stack.ports import HOST

STORE_PORTS = tuple(
    name + kind for name in ("s3", "master", "volume", "filer", "admin") for kind in ("", "_grpc")
)
SEAWEEDFS_SIGNING_KEYS = tuple(
    f"WEED_JWT_{kind}_KEY" for kind in ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
)
"""With these, its volume and file servers answer its own S3 server alone."""
SEAWEEDFS_OBJECT = "/files?path=/buckets/{bucket}/{folder}"
MINIO_OBJECT = "/browser/{bucket}/{name}"
"""Where each store's console shows an object; SeaweedFS shows the folder that holds it."""
POOL = "larder"
WORKER = "larder"
WORKER_COMMAND = (sys.executable, "-m", "stack.worker", WORKER)


def minio_program() -> Path | None:
    """The `silo` or `minio` on the PATH."""
    found = shutil.which("silo") or shutil.which("minio")
    return Path(found) if found else None


def minio(program: Path, home: Path, ports: Mapping[str, int], store: Settings) -> Daemon:
    """MinIO, or Silo, which continues it."""
    secret = _secret(store)
    return Daemon(
        name="store",
        command=(
            str(program),
            "server",
            str(home / "store" / "minio"),
            "--address",
            f"{HOST}:{ports['s3']}",
            "--console-address",
            f"{HOST}:{ports['admin']}",
        ),
        environment={
            "MINIO_ROOT_USER": store.s3_access_key_id or "",
            "MINIO_ROOT_PASSWORD": secret,
            "MINIO_UPDATE": "off",
        },
        home=home,
        directory=home,
        ready=lambda: answers_s3(store),
    )


def seaweedfs(home: Path, ports: Mapping[str, int], store: Settings) -> Daemon:
    """SeaweedFS from its wheel: an S3 server in one process, which creates no bucket unasked."""
    folder = home / "store" / "seaweedfs"
    folder.mkdir(parents=True, exist_ok=True)
    return Daemon(
        name="store",
        command=(
            str(Path(sys.executable).with_name("weed")),
            "-logtostderr=true",
            "mini",
            f"-dir={folder}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *(f"-{_flag(name)}={ports[name]}" for name in STORE_PORTS),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-webdav=false",
            "-master.telemetry=false",
            "-volume.preStopSeconds=0",
        ),
        environment={
            "AWS_ACCESS_KEY_ID": store.s3_access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": _secret(store),
            "WEED_ADMIN_USER": store.s3_access_key_id or "",
            "WEED_ADMIN_PASSWORD": _secret(store),
            **{name: _derived(store, name) for name in SEAWEEDFS_SIGNING_KEYS},
        },
        home=home,
        directory=folder,
        ready=lambda: answers_s3(store),
    )


def prefect_server(home: Path, port: int, built_from: str = "") -> Daemon:
    """Prefect's API and UI on SQLite."""
    pages = home / "prefect" / "ui"
    server = (sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port))
    return Daemon(
        name="server",
        command=(sys.executable, "-m", "stack.user_interface", str(pages), *server),
        environment={
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_SERVER_API_HOST": HOST,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(pages),
            "PREFECT_SERVER_UI_V2_ENABLED": "true",
            "PREFECT_CLI_COLORS": "false",
        },
        home=home,
        directory=home,
        ready=lambda: answers_http(f"http://{HOST}:{port}/api/ready"),
        built_from=built_from,
    )


def prefect_worker(
    home: Path, environment: Mapping[str, str], built_from: str, ready: Callable[[], bool]
) -> Daemon:
    """The worker that runs builds as processes on this machine; Prefect's folder in /tmp is one user's."""
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return Daemon(
        name="worker",
        command=WORKER_COMMAND,
        environment={
            **environment,
            "PREFECT_HOME": str(home / "prefect"),
            "TMPDIR": str(temporary),
            "PREFECT_UI_URL": f"{environment['PREFECT_API_URL'].removesuffix('/api')}/v2",
            "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "larder,flows",
            "PREFECT_CLI_COLORS": "false",
        },
        home=home,
        directory=CHECKOUT,
        ready=ready,
        built_from=built_from,
    )


def answers_http(url: str) -> bool:
    """Whether a GET of this URL, past any proxy, is answered with success."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def answers_s3(store: Settings) -> bool:
    """Whether the store takes our keys."""
    try:
        client(store).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def _flag(port: str) -> str:
    server, _, kind = port.partition("_")
    return f"{server}.port.{kind}" if kind else f"{server}.port"


def _secret(store: Settings) -> str:
    return store.s3_secret_access_key.get_secret_value() if store.s3_secret_access_key else ""


def _derived(store: Settings, purpose: str) -> str:
    return hmac.new(_secret(store).encode(), purpose.encode(), hashlib.sha256).hexdigest()
