"""Two checkouts are two stacks, what is removed is said and asked, what hangs is mended; in containers."""

import json
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from stack.user_interface import BASE
from tests.deployed import Deployed, in_docker, until

pytestmark = in_docker
RUNS_FOR_EVER = "while true do end"


@pytest.fixture
def other(deployed: Deployed, tmp_path: Path) -> Deployed:
    """Another checkout, told to bear the name of the first one's stack."""
    checkout = tmp_path / "other"
    shutil.copytree(deployed.checkout, checkout, ignore=shutil.ignore_patterns(".env"))
    environment = {
        **deployed.environment,
        "PYTHONPATH": str(checkout),
        "LARDER_HOME": str(tmp_path / "home"),
    }
    return replace(deployed, checkout=checkout, home=tmp_path / "home", environment=environment)


@pytest.mark.parametrize("words", [("--docker",), ("--docker", "down", "--volumes", "--yes")])
def test_nothing_of_another_checkout_is_touched_or_advised(
    words: tuple[str, ...], deployed: Deployed, other: Deployed
) -> None:
    before = deployed.volumes()
    done = other.setup(*words)
    assert done.returncode == 2, done.stdout
    assert str(deployed.checkout) in done.stderr
    assert "LARDER_PROJECT" in done.stderr
    assert "--volumes" not in done.stderr
    assert deployed.volumes() == before
    assert not (other.checkout / ".env").exists()


def test_volumes_of_another_checkout_are_left_alone_without_its_containers(
    deployed: Deployed, other: Deployed
) -> None:
    assert deployed.setup("down").returncode == 0
    before = deployed.volumes()
    try:
        for words in (("--docker",), ("--docker", "down", "--volumes", "--yes")):
            done = other.setup(*words)
            assert done.returncode == 2, done.stdout
            assert f"were made by {deployed.checkout}" in done.stderr
            assert "--volumes" not in done.stderr
        assert deployed.volumes() == before
    finally:
        assert deployed.setup("--docker").returncode == 0


def test_a_copied_secret_file_is_not_taken_for_ones_own(deployed: Deployed, other: Deployed) -> None:
    shutil.copy(deployed.checkout / ".env", other.checkout)
    done = other.setup("--docker")
    assert done.returncode == 2
    assert f"is a copy of {deployed.checkout / '.env'}" in done.stderr


def test_a_checkout_has_a_name_of_its_own(other: Deployed) -> None:
    named = {name: value for name, value in other.environment.items() if name != "LARDER_PROJECT"}
    code = "from stack.secret_file import complete; print(complete()['LARDER_PROJECT'])"
    first = replace(other, environment=named).run(sys.executable, "-c", code)
    (other.checkout / ".env").unlink(missing_ok=True)
    again = replace(other, environment=named).run(sys.executable, "-c", code)
    assert first.stdout == again.stdout
    assert first.stdout.startswith("larder-")


def test_data_is_removed_only_after_a_yes_and_is_shown_before(deployed: Deployed) -> None:
    before = deployed.volumes()
    done = deployed.setup("down", "--volumes")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert f"volume {deployed.project}_minio: " in done.stdout
    assert "old" in done.stdout
    assert deployed.volumes() == before
    assert deployed.compose("ps", "--quiet", "worker").strip()


def test_down_keeps_the_data_and_leaves_nothing_else(deployed: Deployed) -> None:
    containers = deployed.compose("ps", "--all", "--quiet").split()
    mounts = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
    used = set(deployed.run("docker", "inspect", "--format", mounts, *containers).stdout.split())
    assert used <= deployed.volumes(), "a volume without a name would stay behind"
    done = deployed.setup("down")
    kept = deployed.volumes()
    assert deployed.setup("--docker").returncode == 0
    assert done.returncode == 0, done.stderr
    names = {name.removeprefix(f"{deployed.project}_") for name in kept}
    assert names == {"postgres", "redis", "minio", "worker", "metrics"}


def test_a_redis_that_hangs_is_named_and_mended(deployed: Deployed) -> None:
    login = "export REDISCLI_AUTH=$PREFECT_PASSWORD"
    wedge = f"{login}; timeout 2 redis-cli --user prefect eval '{RUNS_FOR_EVER}' 0"
    deployed.run("docker", "compose", "exec", "-T", "redis", "sh", "-c", wedge)
    seen = deployed.setup("doctor")
    assert seen.returncode == 1
    assert "FAILED  redis" in seen.stdout
    mended = deployed.setup()
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "redis was started again" in mended.stdout
    until("a well stack", lambda: deployed.setup("doctor").returncode == 0)


def test_what_is_paused_goes_on_after_setup(deployed: Deployed) -> None:
    deployed.compose("pause", "prefect-services")
    done = deployed.setup()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "prefect-services was paused and goes on" in done.stdout


def page(deployed: Deployed, path: str) -> tuple[str, str]:
    """Where a browser that has not logged in gets to, and what it gets."""
    url = deployed.values["PREFECT_API_URL"].removesuffix("/api") + path
    request = urllib.request.Request(url, headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.url, response.read().decode()


def test_there_is_one_user_interface_and_it_calls_nobody(deployed: Deployed) -> None:
    shown = deployed.setup().stdout
    printed = next(line.split()[2] for line in shown.splitlines() if line.startswith("Prefect UI"))
    assert deployed.values["PREFECT_API_URL"] == f"{printed}/api"
    url, content = page(deployed, "/")
    assert url.endswith(f"{BASE}/")
    assert "connect-src 'self'" in content
    _, old = page(deployed, "/runs/flow-run/some")
    assert f'location.replace("{BASE}" + location.pathname' in old
    _, new = page(deployed, f"{BASE}/runs/flow-run/some")
    assert new == content


def test_what_to_type_is_printed_on_demand_alone(deployed: Deployed) -> None:
    secrets = dict(
        line.split("=", 1) for line in (deployed.checkout / ".env").read_text().splitlines() if "=" in line
    )
    done = deployed.setup("login")
    assert f"Prefect UI   {secrets['LARDER_API_LOGIN']}" in done.stdout.splitlines()
    assert secrets["LARDER_S3_SECRET_ACCESS_KEY"] in done.stdout
    assert secrets["LARDER_API_LOGIN"] not in deployed.setup().stdout


def test_monitoring_stands_where_no_worker_is(deployed: Deployed) -> None:
    services = json.loads(deployed.compose("--profile", "*", "config", "--format", "json"))["services"]
    reached = set(services["worker"]["networks"]) | set(services["watcher"]["networks"])
    watching = {"prometheus", "alertmanager", "grafana", *(name for name in services if "exporter" in name)}
    assert len(watching) == 6
    for name in watching:
        assert not reached & set(services[name]["networks"]), name
    code = "import socket; socket.create_connection(('prometheus', 9090), timeout=5)"
    done = deployed.run("docker", "compose", "exec", "-T", "worker", "python", "-c", code)
    assert "gaierror" in done.stderr


def test_every_service_has_limits(deployed: Deployed) -> None:
    names = deployed.compose("ps", "--format", "{{.ID}}").split()
    shown = "{{.Name}} {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{json .HostConfig.Tmpfs}}"
    done = subprocess.run(
        ["docker", "inspect", "--format", shown, *names], check=True, capture_output=True, text=True
    )
    for line in done.stdout.splitlines():
        name, processes, memory, folders = line.split(maxsplit=3)
        assert int(processes) > 0, name
        assert int(memory) > 0, name
        assert folders == "null" or "size=" in folders, name
