"""`.env` in the checkout: what Docker Compose needs to know, secrets among it."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from larder.settings import CHECKOUT, DEFAULT_BUCKET
from stack.steps import SetupError

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


def _project(_: Mapping[str, str]) -> str:
    return f"larder-{hashlib.sha256(bytes(CHECKOUT)).hexdigest()[:8]}"


MADE: Mapping[str, Made] = {
    "LARDER_PROJECT": _project,
    "LARDER_CHECKOUT": lambda _: str(CHECKOUT),
    "LARDER_API_LOGIN": lambda _: f"larder:{_password(_)}",
    "LARDER_POSTGRES_PASSWORD": _password,
    "LARDER_REDIS_PASSWORD": _password,
    "LARDER_LEASES_PASSWORD": _password,
    "LARDER_STREAMS_PASSWORD": _password,
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
    *("LARDER_GRAFANA_PORT", "LARDER_WORKERS", "LARDER_WORKER_MEMORY", "LARDER_WORKER_RUNS"),
    *("LARDER_CATALOG_URL", "LARDER_TIMEZONE", "LARDER_UI_URL", "LARDER_CONSOLE_URL"),
    *("LARDER_ALERT_WEBHOOK", "COMPOSE_PROFILES", "COMPOSE_FILE"),
)
"""Given in the environment of setup, these are written down for the next time."""
OF_A_STORE = ("LARDER_S3_ACCESS_KEY_ID", "LARDER_S3_SECRET_ACCESS_KEY", "LARDER_BUCKET")
"""Of what is made, that which may open a store that is not ours."""


def read() -> dict[str, str]:
    """What the file says; nothing where it is not there."""
    return {name: value for name, value in dotenv_values(DOTENV, interpolate=False).items() if value}


def checkout() -> Path:
    """The checkout whose stack this file belongs to: where it was made, before somebody moved it.

    Raises:
        SetupError: the file was copied here together with a checkout, and belongs to the other one's stack.
    """
    made = Path(read().get("LARDER_CHECKOUT", CHECKOUT))
    if made != CHECKOUT and dotenv_values(made / ".env").get("LARDER_CHECKOUT") == str(made):
        raise SetupError(
            f"{DOTENV} is a copy of {made / '.env'} and names the stack of that checkout. Remove it here: "
            "./setup.sh makes another one, for a stack of its own.",
            code=2,
        )
    return made


def keep(values: Mapping[str, str]) -> None:
    """Writes down what setup chose for the next time."""
    _merge(values)


def forget(*, keep_store: bool) -> None:
    """Removes the passwords of data that is gone, and the file where nothing else stands in it.

    Args:
        keep_store: whether the keys of the store stay, since the store is not ours
    """
    gone = [name for name in MADE if not (keep_store and name in OF_A_STORE)]
    lines = [line for line in _lines(DOTENV) if line.partition("=")[0].strip() not in gone]
    if any(line.strip() and line != HEAD for line in lines):
        _write(DOTENV, "".join(lines).encode())
    else:
        DOTENV.unlink(missing_ok=True)


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
        _merge({**made, **changed})
    DOTENV.chmod(0o600)
    return read()


def _merge(values: Mapping[str, str]) -> None:
    kept = [line for line in _lines(DOTENV) if line.partition("=")[0].strip() not in values]
    added = [f"{name}={value}\n" for name, value in values.items()]
    _write(DOTENV, "".join([*(kept or [HEAD]), *added]).encode())


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
