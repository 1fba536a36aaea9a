"""Docker Compose, asked about and told what to do with our one file."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder.settings import CHECKOUT
from stack.daemon import tail
from stack.steps import SetupError

ANSWER_SECONDS = 20
LONG_SECONDS = 3600
DONE = "exited"
EVERYTHING = ("--profile", "*")
"""Also what stands in a profile that is off now."""


@dataclass(frozen=True)
class Container:
    """One container of the project, as `docker compose ps` shows it."""

    name: str
    service: str
    state: str
    health: str
    exit_code: int
    ports: frozenset[int]
    """Those of the host that it has."""
    made_from: frozenset[str] = frozenset()
    """Digests of the configuration and of the image that it was made from."""

    @property
    def is_well(self) -> bool:
        """Whether it runs and is healthy, or did its work and ended."""
        if self.state == DONE:
            return self.exit_code == 0
        return self.state == "running" and self.health in {"", "healthy"}

    @property
    def shown(self) -> str:
        """How it is, in a few words."""
        if self.state == DONE:
            return f"{self.service} ended with exit code {self.exit_code}"
        return f"{self.service} is {self.health or self.state}"


def engine_answers() -> bool:
    """Whether there is a Docker engine with Compose."""
    if not shutil.which("docker"):
        return False
    for command in (
        ["docker", "version", "--format", "{{.Server.Version}}"],
        ["docker", "compose", "version"],
    ):
        try:
            done = subprocess.run(command, check=False, capture_output=True, timeout=ANSWER_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode != 0:
            return False
    return True


def require_engine() -> None:
    """Return if Docker can be used.

    Raises:
        SetupError: it cannot.
    """
    if not engine_answers():
        raise SetupError(
            "No Docker engine with Compose answers (`docker version`, `docker compose version`). Start it, "
            "or run ./setup.sh --local, which needs none.",
            code=2,
        )


def ask(*words: str, seconds: float = 60) -> str:
    """What `docker compose` answers.

    Raises:
        SetupError: it failed; holds what it said.
    """
    return _answer(_command(words), seconds)


def engine(*words: str, seconds: float = 60) -> str:
    """What `docker` itself answers.

    Raises:
        SetupError: it failed; holds what it said.
    """
    return _answer(["docker", *words], seconds)


def tell(log: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
    """Let `docker compose` do what may take long; what it prints goes to a log.

    Raises:
        SetupError: it failed; names the log, and shows its end.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            _command(words),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            env={**os.environ, **(environment or {})},
            timeout=LONG_SECONDS,
        )
    if done.returncode != 0:
        raise SetupError(
            f"docker compose {' '.join(words)} failed. The log is {log}; it ends with:\n{tail(log)}"
        )


def containers() -> list[Container]:
    """All containers of the project, also those that ended."""
    lines = ask(*EVERYTHING, "ps", "--all", "--format", "json").splitlines()
    found = [json.loads(line) for line in lines if line.strip()]
    origins = _origins([one["ID"] for one in found])
    return [_container(one, origins.get(one["Name"], frozenset())) for one in found]


def is_current(found: Sequence[Container], numbers: Mapping[str, int]) -> bool:
    """Whether all of the project is there, well, and made from the present configuration and images.

    Args:
        found: the containers that there are
        numbers: how many containers a service has, where that is not one
    """
    wanted = dict(line.split() for line in ask("config", "--hash", "*").splitlines())
    images = json.loads(ask("config", "--format", "json"))["services"]
    there = {name: _image_id(name) for name in {images[service]["image"] for service in wanted}}
    for service, digest in wanted.items():
        ours = [one for one in found if one.service == service]
        made_from = {digest, there[images[service]["image"]]}
        if len(ours) != numbers.get(service, 1) or not all(
            one.is_well and one.made_from == made_from for one in ours
        ):
            return False
    return True


def services() -> frozenset[str]:
    """The services that are to be there, with the profiles that are on."""
    return frozenset(ask("config", "--services").split())


def remove_image(service: str) -> None:
    """Remove the image that was built for a service, where no other container uses it."""
    name = json.loads(ask(*EVERYTHING, "config", "--format", "json"))["services"][service]["image"]
    if _image_id(name):
        with suppress(SetupError):
            engine("image", "rm", name)


def remove_old_images(project: str) -> None:
    """Remove the images that were built for a project and that newer ones took the name of."""
    label = f"label=com.docker.compose.project={project}"
    with suppress(SetupError):
        engine("image", "prune", "--force", "--filter", label, seconds=600)


def last_words(service: str, lines: int = 15) -> str:
    """The end of a service's log."""
    return ask(*EVERYTHING, "logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service).rstrip()


def owner() -> Path | None:
    """The folder that the project's containers were made from; None where there are none."""
    ids = ask(*EVERYTHING, "ps", "--all", "--quiet").split()
    if not ids:
        return None
    label = '{{index .Config.Labels "com.docker.compose.project.working_dir"}}'
    found = engine("inspect", "--format", label, ids[0]).strip()
    return Path(found) if found else None


def _origins(ids: Sequence[str]) -> dict[str, frozenset[str]]:
    if not ids:
        return {}
    label = '{{index .Config.Labels "com.docker.compose.config-hash"}}'
    shown = engine("inspect", "--format", f"{{{{.Name}}}} {label} {{{{.Image}}}}", *ids)
    lines = [line.split() for line in shown.splitlines()]
    return {name.lstrip("/"): frozenset(digests) for name, *digests in lines}


def _image_id(name: str) -> str:
    return engine("image", "ls", "--no-trunc", "--quiet", name).strip()


def _container(found: Mapping[str, Any], made_from: frozenset[str]) -> Container:
    return Container(
        name=found["Name"],
        service=found["Service"],
        state=found["State"],
        health=found.get("Health", ""),
        exit_code=int(found.get("ExitCode", 0)),
        ports=frozenset(
            int(port["PublishedPort"]) for port in found.get("Publishers") or () if port["PublishedPort"]
        ),
        made_from=made_from,
    )


def _command(words: Sequence[str]) -> list[str]:
    return ["docker", "compose", "--ansi", "never", *words]


def _answer(command: Sequence[str], seconds: float) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            cwd=CHECKOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{' '.join(command)} did not answer within {seconds:.0f} s.") from error
    if done.returncode != 0:
        raise SetupError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout
