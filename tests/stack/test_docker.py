"""The stack in containers, for real. Takes minutes, so it runs where it is asked for: `-m docker`."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from tests.deployed import Deployed, in_docker, outcomes, until

pytestmark = in_docker


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


@pytest.mark.parametrize("example", ["dbt/recipe.yml", "map.yml", "report/recipe.yml"])
def test_an_example_builds_on_the_worker(example: str, deployed: Deployed) -> None:
    answer = deployed.build(deployed.checkout / "examples" / example)
    assert answer["state"] == "completed", answer
    assert answer["package"]["publish"] == "published"


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


def test_three_workers_execute_each_stage_once_and_stay_three(deployed: Deployed) -> None:
    def workers() -> int:
        return len(deployed.compose("ps", "--quiet", "worker").split())

    three = replace(deployed, environment={**deployed.environment, "LARDER_WORKERS": "3"})
    assert three.setup().returncode == 0
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
    assert deployed.setup().returncode == 0
    assert workers() == 3
    deployed.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "worker=2")
    assert deployed.setup().returncode == 0
    assert workers() == 2
    one = replace(deployed, environment={**deployed.environment, "LARDER_WORKERS": "1"})
    assert one.setup().returncode == 0
    assert workers() == 1


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
        if any(word in line for word in ("PASSWORD", "SECRET", "LOGIN", "TOKEN"))
    )
    assert len(secrets) >= 6
    knowing = {
        "LARDER_API_LOGIN": {
            *("prefect-server", "prefect-services", "migrate", "register", "worker"),
            *("prefect-exporter", "prometheus", "watcher"),
        },
        "LARDER_POSTGRES_PASSWORD": {"postgres", "prefect-server", "prefect-services", "migrate"},
        "LARDER_REDIS_PASSWORD": {"redis", "prefect-server", "prefect-services", "migrate"},
        "LARDER_LEASES_PASSWORD": {"redis", "worker"},
        "LARDER_STREAMS_PASSWORD": {"redis", "worker"},
        "LARDER_MINIO_ROOT_PASSWORD": {"minio", "store"},
        "LARDER_MONITOR_PASSWORD": {
            "redis",
            "store",
            "redis-exporter",
            "postgres-monitor",
            "postgres-exporter",
        },
        "LARDER_MONITOR_STORE_TOKEN": {"prometheus"},
        "LARDER_GRAFANA_PASSWORD": {"grafana"},
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
        ["docker", "history", "--no-trunc", f"{deployed.project}-worker"],
        check=True,
        capture_output=True,
        text=True,
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
    content, left = file.read_bytes(), b"LARDER_WORKER_MEMORY=3g\n"
    file.write_bytes(left)
    try:
        done = deployed.setup()
        assert file.read_bytes() == left
        file.unlink()
        assert deployed.setup().returncode == 1
        assert not file.exists()
    finally:
        file.write_bytes(content)
    assert done.returncode == 1
    assert "--volumes" in done.stderr
    assert f"volume {deployed.project}_postgres: " in done.stderr


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


def test_with_another_s3_no_minio_is_started(deployed: Deployed) -> None:
    files = ("--file", "docker-compose.yml", "--file", "docker-compose.s3.yml")
    configured = json.loads(deployed.compose(*files, "--profile", "monitoring", "config", "--format", "json"))
    assert not {"minio", "minio-volume", "store"} & set(configured["services"])
    assert set(configured["services"]["register"]["depends_on"]) == {"prefect-server"}
    assert not configured["services"]["prometheus"]["environment"]["STORE_TOKEN"]
    done = deployed.run("docker", "compose", *files, "config", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_compose_file_is_clean(deployed: Deployed) -> None:
    done = deployed.run("docker", "compose", "--profile", "*", "config", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
