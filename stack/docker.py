"""The stack in containers: `docker-compose.yml`, brought up and waited for."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from larder.settings import CHECKOUT, settings
from stack import compose, registration, secret_file
from stack.home import Home
from stack.ports import HOST
from stack.steps import SetupError, step

IN_IMAGE = Path("/opt/larder")
"""Where the checkout lies in the worker's image."""
STORE_IN_NETWORK = "http://minio:9000"
PORTS = {
    "LARDER_PREFECT_PORT": ("prefect-server", 4200),
    "LARDER_S3_PORT": ("minio", 9000),
    "LARDER_CONSOLE_PORT": ("minio", 9001),
    "LARDER_GRAFANA_PORT": ("grafana", 3000),
}
"""The ports of this machine that are published: the setting, the service, the default."""
WELL_SECONDS = 300
REGISTERED_SECONDS = 30


@dataclass(frozen=True)
class Containers:
    """The stack as its users reach it."""

    home: Home
    secrets: dict[str, str]
    services: frozenset[str]
    """Those that are to be there: with another S3 than our own, no `minio`; with the profile, `grafana`."""

    @property
    def ui_url(self) -> str:
        """Prefect's UI."""
        return f"http://{HOST}:{port(self.secrets, 'LARDER_PREFECT_PORT')}"

    @property
    def api_url(self) -> str:
        """Prefect's API."""
        return f"{self.ui_url}/api"

    @property
    def has_store(self) -> bool:
        """Whether the store is among the containers."""
        return "minio" in self.services

    @property
    def s3_url(self) -> str | None:
        """Where the store answers; None for AWS."""
        if self.has_store:
            return f"http://{HOST}:{port(self.secrets, 'LARDER_S3_PORT')}"
        return self.secrets.get("LARDER_S3_ENDPOINT_URL")

    @property
    def console_url(self) -> str | None:
        """The object browser, where the store is ours."""
        if not self.has_store:
            return None
        return f"http://{HOST}:{port(self.secrets, 'LARDER_CONSOLE_PORT')}"

    @property
    def grafana_url(self) -> str | None:
        """The dashboard, where the profile `monitoring` is on."""
        if "grafana" not in self.services:
            return None
        return f"http://{HOST}:{port(self.secrets, 'LARDER_GRAFANA_PORT')}"

    @property
    def log(self) -> Path:
        """What Docker Compose printed."""
        return self.home.folder / "log" / "compose.log"

    @property
    def environment(self) -> dict[str, str]:
        """What `$LARDER_HOME/env` says."""
        object_url = self.secrets.get("LARDER_OBJECT_URL")
        if self.console_url:
            object_url = f"{self.console_url}/browser/{{bucket}}/{{name}}"
        given = {
            "LARDER_HOME": str(self.home.folder),
            "LARDER_S3_ENDPOINT_URL": self.s3_url,
            "LARDER_S3_ACCESS_KEY_ID": self.secrets["LARDER_S3_ACCESS_KEY_ID"],
            "LARDER_S3_SECRET_ACCESS_KEY": self.secrets["LARDER_S3_SECRET_ACCESS_KEY"],
            "LARDER_BUCKET": self.secrets["LARDER_BUCKET"],
            "LARDER_OBJECT_URL": object_url,
            "PREFECT_API_URL": self.api_url,
            "PREFECT_API_AUTH_STRING": self.secrets["LARDER_API_LOGIN"],
        }
        return {name: value for name, value in given.items() if value}

    @property
    def version(self) -> str:
        """Of the code and settings from which everything on the server is to be made."""
        endpoint = STORE_IN_NETWORK if self.has_store else self.s3_url
        inside = settings().model_copy(update={"s3_endpoint_url": endpoint})
        return registration.version(inside, IN_IMAGE)


def start(home: Home) -> Containers:
    """Brings everything up that is not there, of the present code, and waits until it is well.

    Raises:
        SetupError: a step failed; says which, and where its log is.
    """
    compose.require_engine()
    secrets = _secrets()
    _require_own_project()
    stack = Containers(home, secrets, compose.services())
    _require_free_ports(stack)
    home.write_environment(stack.environment)
    stack.log.parent.mkdir(parents=True, exist_ok=True)
    stack.log.unlink(missing_ok=True)
    print(f"images and containers … (the first time takes minutes; log: {stack.log})", flush=True)
    with step("images") as said:
        compose.tell(stack.log, "build")
        said.append("there")
    with step("containers") as said:
        said.append(_up(stack))
    with step("blocks") as said:
        said.append(_registered(stack))
    return stack


def existing(home: Home) -> Containers:
    """The stack as it was started last, to be looked at.

    Raises:
        SetupError: it was never wholly started.
    """
    if lacking := secret_file.lacking():
        raise SetupError(f"{secret_file.DOTENV} lacks {', '.join(lacking)}: run ./setup.sh --docker.")
    return Containers(home, secret_file.read(), compose.services())


def stop(home: Home, *, volumes: bool) -> tuple[list[str], list[str]]:
    """Removes the containers, with `volumes` the data too; names the services and volumes that there were."""
    compose.require_engine()
    secret_file.complete()
    _require_own_project()
    there = sorted({container.service for container in compose.containers()})
    data = compose.volumes()
    log = home.folder / "log" / "compose.log"
    compose.tell(log, *compose.EVERYTHING, "down", "--remove-orphans", *(["--volumes"] if volumes else []))
    home.set_mode(None)
    return there, data


def port(secrets: dict[str, str], setting: str) -> int:
    """The port of this machine that a setting gives, else its default."""
    return int(os.environ.get(setting) or secrets.get(setting) or PORTS[setting][1])


def _secrets() -> dict[str, str]:
    is_new = "LARDER_POSTGRES_PASSWORD" in secret_file.lacking()
    before = secret_file.content()
    secrets = secret_file.complete()
    if is_new and (left := compose.volumes()):
        secret_file.restore(before)
        raise SetupError(
            f"The passwords in {secret_file.DOTENV} are gone, and the volumes {', '.join(left)} still "
            "have the old ones. Put the file back; or give this data up with ./setup.sh --docker down "
            "--volumes."
        )
    return secrets


def _require_own_project() -> None:
    owner = compose.owner()
    if owner not in {None, CHECKOUT}:
        raise SetupError(
            f"The containers of this name were started from {owner}. Set LARDER_PROJECT to another name "
            "(and LARDER_PREFECT_PORT, LARDER_S3_PORT, LARDER_CONSOLE_PORT to free ports) for a second stack."
        )


def _require_free_ports(stack: Containers) -> None:
    own = {number for container in compose.containers() for number in container.ports}
    for setting, (service, _) in PORTS.items():
        number = port(stack.secrets, setting)
        if number in own or service not in stack.services:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, number))
            except OSError as error:
                raise SetupError(
                    f"Port {number} of {HOST}, which {service} is to have, is taken ({error.strerror}). End "
                    f"what has it, or choose another one: {setting}=NUMBER ./setup.sh"
                ) from error


def _up(stack: Containers) -> str:
    try:
        compose.tell(
            stack.log, "up", "--detach", "--remove-orphans", "--wait", "--wait-timeout", str(WELL_SECONDS)
        )
    except SetupError as error:
        raise SetupError(_why(error)) from error
    return f"{len(compose.containers())} well"


def _why(error: SetupError) -> str:
    unwell = [container for container in compose.containers() if not container.is_well]
    if not unwell:
        return str(error)
    first = next((one for one in unwell if one.state != "created"), unwell[0])
    states = ", ".join(container.shown for container in unwell)
    return f"{error}\n{states}. The log of {first.service} ends with:\n{compose.last_words(first.service)}"


def _registered(stack: Containers) -> str:
    until = time.monotonic() + REGISTERED_SECONDS
    os.environ["PREFECT_API_AUTH_STRING"] = stack.secrets["LARDER_API_LOGIN"]
    while True:
        try:
            missing = registration.missing(stack.api_url, stack.version)
        except OSError as error:
            missing = [f"an answer ({error})"]
        if not missing:
            return f"and deployment there ({stack.version})"
        if time.monotonic() > until:
            raise SetupError(
                f"The server at {stack.api_url} lacks {', '.join(missing)}. The log of register ends with:\n"
                f"{compose.last_words('register')}"
            )
        time.sleep(1)
