"""The stack in containers, for real. Takes minutes, so it runs where it is asked for: `-m docker`."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from blocks import s3
from blocks.settings import CHECKOUT
from stack import compose as docker_compose
from stack.ports import free_ports

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not docker_compose.engine_answers(), reason="no Docker engine answers"),
]
SERVICES = ("worker", "prefect-server", "prefect-services", "redis", "postgres", "minio")
END_SECONDS = 180
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


def until(said: str, happens: Callable[[], Any], seconds: float = END_SECONDS) -> Any:
    """Wait until something happens; what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := happens():
                return found
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{said}: not within {seconds} s"
        time.sleep(1)


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["outcome"] for stage in answer["stages"]}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stack of a copy of this checkout, started once."""
    folder = tmp_path_factory.mktemp("docker")
    checkout = folder / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv", ".larder", ".env", "*_cache", "__pycache__")
    shutil.copytree(CHECKOUT, checkout, ignore=left_out)
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
            "LARDER_WORKER_IMAGE": "larder-worker-test",
        },
    )
    started = one.setup("--docker")
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield one
    finally:
        ended = one.setup("down", "--volumes")
        assert ended.returncode == 0, ended.stderr
        assert not one.run("docker", "compose", "ps", "--all", "--quiet").stdout


def test_starting_again_finds_all_of_it_there(deployed: Deployed) -> None:
    secrets = (deployed.checkout / ".env").read_bytes()
    assert (deployed.checkout / ".env").stat().st_mode & 0o777 == 0o600
    before = deployed.compose("ps", "--quiet", "worker", "prefect-server", "minio", "postgres", "redis")
    done = deployed.setup()
    assert done.returncode == 0, done.stderr
    after = deployed.compose("ps", "--quiet", "worker", "prefect-server", "minio", "postgres", "redis")
    assert (deployed.checkout / ".env").read_bytes() == secrets
    assert after == before
    shown = done.stdout + done.stderr + (deployed.home / "log" / "compose.log").read_text()
    passwords = [line.partition("=")[2] for line in secrets.decode().splitlines() if "PASSWORD" in line]
    assert passwords
    assert not any(password in shown for password in passwords)


def test_a_build_runs_on_the_worker_and_again_reuses_everything(deployed: Deployed) -> None:
    recipe = deployed.recipe()
    first = deployed.build(recipe)
    assert first["state"] == "completed", first
    assert set(outcomes(first).values()) == {"executed"}
    second = deployed.build(recipe)
    assert set(outcomes(second).values()) == {"reused"}
    assert second["package"]["publish"] == "unchanged"


def test_a_failed_run_goes_on_where_it_failed(deployed: Deployed) -> None:
    recipe = deployed.recipe()
    failed = deployed.build(recipe, "--fail-at", "build")
    assert failed["state"] == "failed"
    run_id = failed["flow_run_id"]
    state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    deployed.ask(f"flow_runs/{run_id}/set_state", {"state": state, "force": True})
    run = until(
        "the retried run",
        lambda: (found := deployed.ask(f"flow_runs/{run_id}"))["state_type"] == "COMPLETED" and found,
    )
    assert run["run_count"] == 2
    again = deployed.build(recipe)
    assert set(outcomes(again).values()) == {"reused"}


def test_three_workers_execute_each_stage_once(deployed: Deployed) -> None:
    deployed.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "worker=3")
    try:
        recipe = deployed.recipe(seconds=3)
        asked = [
            subprocess.Popen(
                deployed.command(recipe),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=deployed.environment,
            )
            for _ in range(3)
        ]
        answers = [json.loads(one.communicate()[0]) for one in asked]
        assert [answer["state"] for answer in answers] == ["completed"] * 3
        for stage in ("plan", "load", "build", "package"):
            found = sorted(outcomes(answer)[stage] for answer in answers)
            assert found == ["executed", "reused", "reused"], stage
    finally:
        deployed.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "worker=1")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_killed_during_a_build(service: str, deployed: Deployed) -> None:
    recipe = deployed.recipe(seconds=12)
    asked = subprocess.Popen(
        deployed.command(recipe),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=deployed.environment,
    )
    until("plan and load", lambda: len(deployed.results(recipe)) >= 2)
    time.sleep(1)
    deployed.compose("kill", service)
    time.sleep(5)
    deployed.compose("start", service)
    began = time.monotonic()
    run = until("the end of the run", lambda: deployed.ended_run_of(recipe))
    print(f"{service}: {run['state_name']} after {time.monotonic() - began:.0f} s")
    asked.wait(60)
    deployed.compose("up", "--detach", "--wait")
    finished = deployed.results(recipe)
    again = deployed.build(recipe)
    assert again["state"] == "completed", again
    redone = {stage["result"] for stage in again["stages"] if stage["outcome"] != "reused"}
    assert not redone & finished
    assert len(finished) >= 2


def test_results_outlive_the_database(deployed: Deployed) -> None:
    recipe = deployed.recipe()
    assert deployed.build(recipe)["state"] == "completed"
    assert deployed.setup("down").returncode == 0
    project = deployed.environment["LARDER_PROJECT"]
    subprocess.run(["docker", "volume", "rm", f"{project}_postgres"], check=True, capture_output=True)
    started = deployed.setup("--docker")
    assert started.returncode == 0, started.stderr
    assert not deployed.run_of(recipe)
    answer = deployed.build(recipe)
    assert set(outcomes(answer).values()) == {"reused"}, answer


def test_the_doctor_finds_everything_well_and_what_is_not(deployed: Deployed) -> None:
    deployed.compose("up", "--detach", "--wait")
    done = deployed.setup("doctor")
    assert done.returncode == 0, done.stdout
    deployed.compose("stop", "prefect-services")
    done = deployed.setup("doctor")
    deployed.compose("start", "prefect-services")
    assert done.returncode == 1
    assert "prefect-services ended" in done.stdout
    deployed.compose("pause", "worker")
    try:
        done = deployed.run(Path(sys.executable).with_name("larder"), "doctor", "--json")
    finally:
        deployed.compose("unpause", "worker")
    failed = {check["check"] for check in json.loads(done.stdout)["checks"] if not check["holds"]}
    assert done.returncode == 1
    assert {"containers", "queue", "bucket", "leases"} <= failed
    until("the doctor's content", lambda: deployed.setup("doctor").returncode == 0)


def test_the_services_health_check_sees_that_they_hang(deployed: Deployed) -> None:
    def health() -> str:
        name = deployed.compose("ps", "--quiet", "prefect-services").strip()
        shown = ["docker", "inspect", "--format", "{{.State.Health.Status}}", name]
        return subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()

    until("healthy services", lambda: health() == "healthy")
    python = ("exec", "-T", "prefect-services", "python", "-c")
    signalled = (
        "import os, pathlib, signal\n"
        "for file in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    words = file.read_bytes().split(bytes(1))\n"
        "    if b'services' in words and words[0].endswith(b'python'):\n"
        "        os.kill(int(file.parent.name), signal.{})\n"
    )
    deployed.compose(*python, signalled.format("SIGSTOP"))
    try:
        until("unhealthy services", lambda: health() == "unhealthy")
    finally:
        deployed.compose(*python, signalled.format("SIGCONT"))
    until("healthy services", lambda: health() == "healthy")


def test_nobody_gets_in_without_a_login(deployed: Deployed) -> None:
    for login in ("", "larder:wrong"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            deployed.ask("flow_runs/count", {}, login=login)
        assert caught.value.code == 401
    found = json.loads(deployed.compose("config", "--format", "json"))["services"]
    published = {name: service["ports"] for name, service in found.items() if service.get("ports")}
    assert set(published) == {"prefect-server", "minio"}
    assert {port["host_ip"] for ports in published.values() for port in ports} == {"127.0.0.1"}


def test_the_workers_user_is_confined_to_its_bucket(deployed: Deployed) -> None:
    client, bucket = deployed.bucket()
    assert [one["Name"] for one in client.list_buckets()["Buckets"]] == [bucket]
    refused = {
        "another bucket's list": lambda: client.list_objects_v2(Bucket="elsewhere"),
        "another bucket's object": lambda: client.get_object(Bucket="elsewhere", Key="a"),
        "a new bucket": lambda: client.create_bucket(Bucket="elsewhere"),
        "the bucket's end": lambda: client.delete_bucket(Bucket=bucket),
        "the bucket's policy": lambda: client.put_bucket_policy(Bucket=bucket, Policy="{}"),
        "its lifecycle": lambda: client.delete_bucket_lifecycle(Bucket=bucket),
    }
    for said, call in refused.items():
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, said
    found = deployed.values
    host = found["LARDER_S3_ENDPOINT_URL"].partition("://")[2]
    keys = StaticProvider(found["LARDER_S3_ACCESS_KEY_ID"], found["LARDER_S3_SECRET_ACCESS_KEY"])
    with pytest.raises(MinioAdminException, match="AccessDenied"):
        MinioAdmin(endpoint=host, credentials=keys, secure=False).user_list()


def test_a_worker_reaches_neither_the_database_nor_prefects_redis(deployed: Deployed) -> None:
    reach = "import socket; socket.create_connection(('postgres', 5432), timeout=5)"
    done = deployed.run("docker", "compose", "exec", "-T", "worker", "python", "-c", reach)
    assert done.returncode == 1
    assert "gaierror" in done.stderr
    foreign = (
        "import os, redis\n"
        "found = redis.Redis.from_url(os.environ['LARDER_REDIS_URL'])\n"
        "print(found.ping())\n"
        "for words in ('KEYS *', 'XLEN events', 'GET events', 'FLUSHALL', 'CONFIG GET *'):\n"
        "    try:\n"
        "        print('allowed', words, found.execute_command(*words.split()))\n"
        "    except redis.exceptions.NoPermissionError:\n"
        "        pass\n"
    )
    assert deployed.compose("exec", "-T", "worker", "python", "-c", foreign).split() == ["True"]


def test_containers_hold_no_secret_that_they_need_not_know(deployed: Deployed) -> None:
    secrets = dict(
        line.split("=", 1)
        for line in (deployed.checkout / ".env").read_text().splitlines()
        if any(word in line for word in ("PASSWORD", "SECRET", "LOGIN"))
    )
    assert len(secrets) >= 6
    knowing = {
        "LARDER_API_LOGIN": {"prefect-server", "prefect-services", "migrate", "register", "worker"},
        "LARDER_POSTGRES_PASSWORD": {"postgres", "prefect-server", "prefect-services", "migrate"},
        "LARDER_REDIS_PASSWORD": {"redis", "prefect-server", "prefect-services", "migrate"},
        "LARDER_LEASES_PASSWORD": {"redis", "worker"},
        "LARDER_MINIO_ROOT_PASSWORD": {"minio", "store"},
        "LARDER_S3_SECRET_ACCESS_KEY": {"store", "register"},
    }
    ids = deployed.compose("ps", "--all", "--format", "{{.Service}} {{.ID}}").split()
    for service, container in zip(ids[::2], ids[1::2], strict=True):
        shown = subprocess.run(
            ["docker", "inspect", container], check=True, capture_output=True, text=True
        ).stdout
        for name, secret in secrets.items():
            assert (secret in shown) == (service in knowing[name]), (service, name)
    logs = deployed.compose("logs", "--no-color")
    history = subprocess.run(
        ["docker", "history", "--no-trunc", "larder-worker-test"], check=True, capture_output=True, text=True
    ).stdout
    for name, secret in secrets.items():
        assert secret not in logs, name
        assert secret not in history, name


def test_containers_run_as_nobody_in_particular(deployed: Deployed) -> None:
    for line in deployed.compose("ps", "--format", "{{.Service}} {{.ID}}").splitlines():
        service, container = line.split()
        shown = subprocess.run(["docker", "inspect", container], check=True, capture_output=True, text=True)
        host = json.loads(shown.stdout)[0]["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        assert host["Memory"] > 0, service
        uid = deployed.compose("exec", "-T", service, "id", "-u").strip()
        assert uid != "0", service


def test_a_taken_port_is_named_with_the_setting_that_moves_it(deployed: Deployed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        environment = {**deployed.environment, "LARDER_PREFECT_PORT": str(number)}
        done = replace(deployed, environment=environment).setup()
    assert done.returncode == 1
    assert f"Port {number}" in done.stderr
    assert "LARDER_PREFECT_PORT" in done.stderr
    assert deployed.setup().returncode == 0


def test_lost_passwords_are_not_replaced_over_data_that_has_the_old_ones(deployed: Deployed) -> None:
    file = deployed.checkout / ".env"
    content = file.read_bytes()
    file.unlink()
    try:
        done = deployed.setup()
        assert not file.exists()
    finally:
        file.write_bytes(content)
    assert done.returncode == 1
    assert "--volumes" in done.stderr


def test_the_deployment_has_its_paused_schedules_and_typed_parameters(deployed: Deployed) -> None:
    found = deployed.ask("deployments/name/build/build")
    schedules = {one["slug"]: (one["schedule"]["cron"], one["active"]) for one in found["schedules"]}
    assert schedules == {
        "daily": ("0 2 * * *", False),
        "six-hourly": ("0 */6 * * *", False),
        "hourly": ("0 * * * *", False),
        "business-hours": ("0 9-17 * * 1-5", False),
    }
    shape = found["parameter_openapi_schema"]["properties"]
    assert {"recipe", "force", "fail_at"} <= set(shape)
    assert found["parameters"]["recipe"]["product"] == "bpl_libraries"
