"""Docker Compose, asked about and told what to do with our one file."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
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
    done = subprocess.run(
        _command(words),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=seconds,
        cwd=CHECKOUT,
    )
    if done.returncode != 0:
        raise SetupError(f"docker compose {' '.join(words)} failed:\n{done.stderr.strip()}")
    return done.stdout


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
    return [_container(json.loads(line)) for line in lines if line.strip()]


def services() -> frozenset[str]:
    """The services that are to be there, with the profiles that are on."""
    return frozenset(ask("config", "--services").split())


def last_words(service: str, lines: int = 15) -> str:
    """The end of a service's log."""
    return ask(*EVERYTHING, "logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service).rstrip()


def owner() -> Path | None:
    """The folder that the project's containers were made from; None where there are none."""
    ids = ask(*EVERYTHING, "ps", "--all", "--quiet").split()
    if not ids:
        return None
    label = '{{index .Config.Labels "com.docker.compose.project.working_dir"}}'
    done = subprocess.run(
        ["docker", "inspect", "--format", label, ids[0]], check=False, capture_output=True, text=True
    )
    return Path(done.stdout.strip()) if done.stdout.strip() else None


def volumes() -> list[str]:
    """The project's volumes that are there."""
    found = json.loads(ask(*EVERYTHING, "config", "--format", "json"))["volumes"]
    names = [volume["name"] for volume in found.values()]
    done = subprocess.run(["docker", "volume", "ls", "--quiet"], check=False, capture_output=True, text=True)
    return sorted(set(names) & set(done.stdout.split()))


def _container(found: Mapping[str, Any]) -> Container:
    return Container(
        name=found["Name"],
        service=found["Service"],
        state=found["State"],
        health=found.get("Health", ""),
        exit_code=int(found.get("ExitCode", 0)),
        ports=frozenset(
            int(port["PublishedPort"]) for port in found.get("Publishers") or () if port["PublishedPort"]
        ),
    )


def _command(words: Sequence[str]) -> list[str]:
    return ["docker", "compose", "--ansi", "never", *words]
