"""`.env` in the checkout: what Docker Compose needs to know, secrets among it."""

import base64
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from larder.settings import CHECKOUT, DEFAULT_BUCKET

DOTENV = CHECKOUT / ".env"
HEAD = "# Made by ./setup.sh, which keeps what stands here. Passwords: for the owner alone.\n"


Made = Callable[[Mapping[str, str]], str]


def _password(_: Mapping[str, str]) -> str:
    return secrets.token_hex(20)


def _store_token(made: Mapping[str, str]) -> str:
    """A JSON web token (RFC 7519), by which MinIO shows its metrics to its user `monitor` for ten years."""
    claims = {"iss": "prometheus", "sub": "monitor", "exp": int(time.time()) + 3650 * 86400}
    head, body = (_base64url(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims))
    signature = hmac.digest(made["LARDER_MONITOR_PASSWORD"].encode(), f"{head}.{body}".encode(), "sha512")
    return f"{head}.{body}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


MADE: Mapping[str, Made] = {
    "LARDER_API_LOGIN": lambda _: f"larder:{_password(_)}",
    "LARDER_POSTGRES_PASSWORD": _password,
    "LARDER_REDIS_PASSWORD": _password,
    "LARDER_LEASES_PASSWORD": _password,
    "LARDER_MINIO_ROOT_USER": lambda _: f"root-{secrets.token_hex(4)}",
    "LARDER_MINIO_ROOT_PASSWORD": _password,
    "LARDER_S3_ACCESS_KEY_ID": lambda _: "larder",
    "LARDER_S3_SECRET_ACCESS_KEY": _password,
    "LARDER_BUCKET": lambda _: DEFAULT_BUCKET,
    "LARDER_MONITOR_PASSWORD": _password,
    "LARDER_MONITOR_STORE_TOKEN": _store_token,
    "LARDER_GRAFANA_PASSWORD": _password,
}
"""What is put in where it is not there, once; each may follow from those before it."""

KEPT = (
    *("LARDER_PROJECT", "LARDER_PREFECT_PORT", "LARDER_S3_PORT", "LARDER_CONSOLE_PORT"),
    *("LARDER_GRAFANA_PORT", "LARDER_WORKER_MEMORY", "LARDER_CATALOG_URL", "LARDER_TIMEZONE"),
    *("LARDER_ALERT_WEBHOOK", "COMPOSE_PROFILES", "COMPOSE_FILE"),
)
"""Given in the environment of setup, these are written down for the next time."""


def read() -> dict[str, str]:
    """What the file says; nothing where it is not there."""
    return {name: value for name, value in dotenv_values(DOTENV, interpolate=False).items() if value}


def lacking() -> list[str]:
    """What `complete` would make."""
    return [name for name in MADE if name not in read()]


def content() -> bytes | None:
    """The whole file, None where it is not there."""
    return DOTENV.read_bytes() if DOTENV.exists() else None


def restore(before: bytes | None) -> None:
    """The file as `content` found it."""
    if before is None:
        DOTENV.unlink(missing_ok=True)
    else:
        _write(DOTENV, before)


def complete() -> dict[str, str]:
    """Puts in what is missing, leaves alone what is there; what the file then says."""
    before = read()
    made: dict[str, str] = {}
    for name in lacking():
        made[name] = MADE[name]({**before, **made})
    given = {name: os.environ[name] for name in KEPT if os.environ.get(name)}
    changed = {name: value for name, value in given.items() if before.get(name) != value}
    if made or changed or not DOTENV.exists():
        kept = [line for line in _lines(DOTENV) if line.partition("=")[0].strip() not in changed]
        added = [f"{name}={value}\n" for name, value in {**made, **changed}.items()]
        _write(DOTENV, "".join([*(kept or [HEAD]), *added]).encode())
    DOTENV.chmod(0o600)
    return read()


def _lines(file: Path) -> list[str]:
    try:
        return [f"{line}\n" for line in file.read_text().splitlines()]
    except FileNotFoundError:
        return []


def _write(file: Path, data: bytes) -> None:
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(data)
    new.replace(file)
