"""A copy of this checkout whose stack runs in containers, for tests that are asked for with `-m docker`."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.build.recipe.file import read_recipe
from larder import s3
from larder.settings import CHECKOUT
from stack import compose
from stack.ports import free_ports

in_docker = [
    pytest.mark.docker,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not compose.engine_answers(), reason="no Docker engine answers"),
]

DASHBOARD = CHECKOUT / "monitoring" / "grafana" / "dashboards" / "larder.json"
END_SECONDS = 300
SMALL_SCRATCH = """
volumes:
  scratch:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=512m,uid=1000,gid=1000"}
"""
"""What a test can fill without filling the disk of the machine."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
RECIPE = """
name: {product}
product: {product}
version: v1
inputs:
  datasets:
    - {{id: "{product}_in", version: v1, file_type: csv}}
exports:
  datasets:
    - {{name: "{product}_out", format: csv}}
simulate:
  seconds: {{load: 1, build: {seconds}, package: 1}}
"""


@dataclass(frozen=True)
class Deployed:
    """A checkout of its own whose stack runs in containers."""

    checkout: Path
    home: Path
    environment: dict[str, str]

    @property
    def project(self) -> str:
        """Its name in Docker Compose."""
        return self.environment["LARDER_PROJECT"]

    def volumes(self) -> set[str]:
        """Its volumes that there are."""
        label = f"label=com.docker.compose.project={self.project}"
        return set(self.run("docker", "volume", "ls", "--quiet", "--filter", label).stdout.split())

    def setup(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What `setup.sh` becomes."""
        return self.run(sys.executable, "-P", "-m", "stack", *words)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A command in the checkout."""
        return subprocess.run(
            list(map(str, command)),
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.checkout,
        )

    def compose(self, *words: str) -> str:
        """`docker compose` in the checkout."""
        done = self.run("docker", "compose", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def recipe(self, seconds: float = 0) -> Path:
        """A recipe of a product that was never built."""
        product = f"p{uuid4().hex[:8]}"
        file = self.checkout / f"{product}.yml"
        file.write_text(RECIPE.format(product=product, seconds=seconds))
        return file

    def command(self, recipe: Path, *words: str) -> list[str]:
        """`larder build`, which runs on a worker in this mode."""
        return [str(Path(sys.executable).with_name("larder")), "build", str(recipe), "--json", *words]

    def build(self, recipe: Path, *words: str) -> dict[str, Any]:
        """What a build came to."""
        done = self.run(*self.command(recipe, *words))
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def start_run(self, recipe: Path) -> str:
        """A run of a recipe through the deployment, which nobody follows; its id."""
        deployment = self.ask("deployments/name/build/build")
        parameters = {"recipe": read_recipe(recipe).model_dump(mode="json")}
        run = self.ask(
            f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters, "name": recipe.stem}
        )
        return str(run["id"])

    @property
    def values(self) -> dict[str, str]:
        """What setup wrote for those who use the stack."""
        lines = (self.home / "env").read_text().splitlines()
        return dict(line.removeprefix("export ").replace("'", "").split("=", 1) for line in lines)

    def ask(self, path: str, body: object = None, login: str | None = None) -> Any:
        """What Prefect's API answers."""
        login = self.values["PREFECT_API_AUTH_STRING"] if login is None else login
        headers = {
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            "Content-Type": "application/json",
        }
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.values['PREFECT_API_URL']}/{path}", content, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def bucket(self) -> tuple[Any, str]:
        """A client with the worker's own user, and its bucket."""
        found = self.values
        client = s3.s3_client(
            found["LARDER_S3_ENDPOINT_URL"],
            found["LARDER_S3_ACCESS_KEY_ID"],
            found["LARDER_S3_SECRET_ACCESS_KEY"],
        )
        return client, found["LARDER_BUCKET"]

    def results(self, recipe: Path) -> set[str]:
        """The results of a recipe's product that are in the bucket."""
        client, bucket = self.bucket()
        found: set[str] = set()
        for prefix in (f"results/{recipe.stem}/", f"results/_inputs/{recipe.stem}_in/"):
            listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix)
            found |= {f"s3://{bucket}/{item['Key']}" for item in listed.get("Contents", ())}
        return found

    def run_of(self, recipe: Path) -> dict[str, Any]:
        """The newest flow run of a recipe's product."""
        asked = {"flow_runs": {"name": {"any_": [recipe.stem]}}, "sort": "EXPECTED_START_TIME_DESC"}
        runs = self.ask("flow_runs/filter", asked)
        return dict(runs[0]) if runs else {}

    def ended_run_of(self, recipe: Path) -> dict[str, Any]:
        """The same, if it has ended."""
        run = self.run_of(recipe)
        return run if run.get("state_type") in ENDED else {}


def until(said: str, happens: Callable[[], Any], seconds: float = END_SECONDS, pause: float = 1) -> Any:
    """Wait until something happens, looking again after each pause; what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := happens():
                return found
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{said}: not within {seconds} s"
        time.sleep(pause)


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["outcome"] for stage in answer["stages"]}


@contextmanager
def started_in(folder: Path) -> Iterator[Deployed]:
    """The stack of a copy of this checkout, which is gone afterwards."""
    checkout = folder / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv", ".larder", ".env", "*_cache", "__pycache__")
    shutil.copytree(CHECKOUT, checkout, ignore=left_out)
    (checkout / "docker-compose.test.yml").write_text(SMALL_SCRATCH)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LARDER_", "PREFECT_"))}
    ports = dict(
        zip(("LARDER_PREFECT_PORT", "LARDER_S3_PORT", "LARDER_CONSOLE_PORT"), free_ports(3), strict=True)
    )
    one = Deployed(
        checkout,
        folder / "home",
        {
            **kept,
            **{name: str(port) for name, port in ports.items()},
            "PYTHONPATH": str(checkout),
            "LARDER_HOME": str(folder / "home"),
            "LARDER_PROJECT": f"larder-test-{uuid4().hex[:6]}",
            "LARDER_KEEP_FREE_BYTES": str(64 * 2**20),
            "COMPOSE_FILE": "docker-compose.yml:docker-compose.test.yml",
        },
    )
    started = one.setup("--docker")
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield one
    finally:
        ended = one.setup("down", "--volumes", "--yes")
        assert ended.returncode == 0, ended.stderr
        label = f"label=com.docker.compose.project={one.project}"
        assert not one.run("docker", "ps", "--all", "--quiet", "--filter", label).stdout
        assert not one.volumes()
        assert not one.run("docker", "image", "ls", "--quiet", f"{one.project}-worker").stdout
        assert not one.home.exists()
        assert not (one.checkout / ".env").exists() or "PASSWORD" not in (one.checkout / ".env").read_text()
