"""The stack in containers: `docker-compose.yml`, brought up and waited for."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from larder.settings import settings
from stack import compose, mending, ownership, registration, secret_file
from stack.home import Home
from stack.ports import HOST, free_ports, is_free
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
WORKERS = "LARDER_WORKERS"


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
    def logins(self) -> dict[str, str]:
        """What to type where, by the name of the page."""
        made = {"Prefect UI": self.secrets["LARDER_API_LOGIN"]}
        if self.console_url:
            keys = ("LARDER_S3_ACCESS_KEY_ID", "LARDER_S3_SECRET_ACCESS_KEY")
            made["Store UI"] = "{}   {}".format(*(self.secrets[name] for name in keys))
        if self.grafana_url:
            made["Grafana"] = f"larder   {self.secrets['LARDER_GRAFANA_PASSWORD']}"
        return made

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
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
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
    ownership.require_own()
    stack = _with_free_ports(Containers(home, secret_file.read(), compose.services()))
    home.write_environment(stack.environment)
    stack.log.parent.mkdir(parents=True, exist_ok=True)
    stack.log.unlink(missing_ok=True)
    print(f"images and containers … (the first time takes minutes; log: {stack.log})", flush=True)
    with step("images") as said:
        compose.tell(stack.log, "build")
        said.append("there")
    with step("containers") as said:
        said.extend(mending.mend(stack.log))
        said.append(_up(stack))
        compose.remove_old_images(ownership.project())
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


def port(secrets: dict[str, str], setting: str) -> int:
    """The port of this machine that a setting gives, else its default."""
    return int(os.environ.get(setting) or secrets.get(setting) or PORTS[setting][1])


def _with_free_ports(stack: Containers) -> Containers:
    """The stack on free ports: a default that is taken gives way, one that was asked for does not."""
    own = {number for container in compose.containers() for number in container.ports}
    chosen: dict[str, str] = {}
    for setting, (service, _) in PORTS.items():
        number = port(stack.secrets, setting)
        if number in own or service not in stack.services or is_free(number):
            continue
        if os.environ.get(setting) or setting in stack.secrets:
            raise SetupError(
                f"Port {number} of {HOST}, which {service} is to have, is taken. End what has it, or choose "
                f"another one: {setting}=NUMBER ./setup.sh"
            )
        chosen[setting] = str(free_ports(1)[0])
        print(f"port {number} is taken: {service} gets {chosen[setting]} ({setting})", flush=True)
    if not chosen:
        return stack
    secret_file.keep(chosen)
    return Containers(stack.home, secret_file.read(), stack.services)


def _up(stack: Containers) -> str:
    found = compose.containers()
    workers = _workers(stack, found)
    stack.home.set_workers(_asked_workers(stack))
    if compose.is_current(found, {"worker": workers}):
        return f"{len(found)} well, as they were"
    words = ("up", "--detach", "--remove-orphans", "--wait", "--wait-timeout", str(WELL_SECONDS))
    try:
        compose.tell(stack.log, *words, environment={WORKERS: str(workers)})
    except SetupError as error:
        raise SetupError(_why(error)) from error
    return f"{len(compose.containers())} well"


def _asked_workers(stack: Containers) -> int:
    given = os.environ.get(WORKERS) or stack.secrets.get(WORKERS) or "1"
    if not given.isdigit():
        raise SetupError(f"{WORKERS} is {given!r}, expected a number.", code=2)
    return int(given)


def _workers(stack: Containers, found: Sequence[compose.Container]) -> int:
    """How many workers are to be there: as the setting says where it changed, else as many as there are."""
    asked = _asked_workers(stack)
    there = sum(container.service == "worker" for container in found)
    return there if there and stack.home.workers in {None, asked} else asked


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
