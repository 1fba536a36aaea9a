"""Prometheus, Alertmanager and the exporters in containers. Only Grafana itself need not be there."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from stack.container_checks import MONITORED
from tests.deployed import DASHBOARD, Deployed, in_docker, until

pytestmark = in_docker
SERVICES = ("prometheus", "alertmanager", "prefect-exporter", "redis-exporter", "postgres-exporter")
RANGE = "1h"


@pytest.fixture(scope="module")
def monitored(deployed: Deployed) -> Iterator[Deployed]:
    """The stack with all that measures it, but for the one image that only shows it."""
    deployed.compose("--profile", "monitoring", "up", "--detach", "--wait", "worker", *SERVICES)
    yield deployed
    deployed.compose("rm", "--stop", "--force", *SERVICES, "postgres-monitor")


def asked(deployed: Deployed, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers."""
    said = deployed.compose(
        *("exec", "-T", "prometheus", "promtool", "query", "instant", "-o", "json"),
        *("http://127.0.0.1:9090", query),
    )
    found: list[dict[str, Any]] = json.loads(said)
    return found


def value(deployed: Deployed, query: str) -> float:
    """The sum that Prometheus answers, 0 for nothing."""
    return sum(float(one["value"][1]) for one in asked(deployed, query))


def test_the_rules_do_what_they_say(monitored: Deployed) -> None:
    folder = monitored.checkout / "monitoring"
    tool = ("docker", "compose", "run", "--rm", "--no-deps", "--volume", f"{folder}:/monitoring:ro")
    for words in (("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")):
        command = (*tool, "--workdir", "/monitoring", "--entrypoint", "promtool", "prometheus", *words)
        done = monitored.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"alert: (\w+)", (folder / "rules.yml").read_text()))
    tested = set(re.findall(r"alertname: (\w+)", (folder / "rules_test.yml").read_text()))
    assert alerts == tested


def test_prometheus_and_alertmanager_accept_their_configurations(monitored: Deployed) -> None:
    checked = ("promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert "SUCCESS" in monitored.compose("exec", "-T", "prometheus", *checked)
    file = "/tmp/alertmanager.yml"
    said = monitored.compose("exec", "-T", "alertmanager", "amtool", "check-config", file)
    assert "SUCCESS" in said
    route = monitored.compose(
        "exec",
        "-T",
        "alertmanager",
        "amtool",
        "config",
        "routes",
        "test",
        "--config.file",
        file,
        "alertname=A",
    )
    assert route.strip() == "nobody"


def test_everything_is_scraped_and_the_doctor_says_so(monitored: Deployed) -> None:
    until("all targets", lambda: {one["metric"]["job"] for one in asked(monitored, "up == 1")} >= MONITORED)
    done = monitored.setup("doctor")
    assert done.returncode == 0, done.stdout
    assert "monitoring   Prometheus scrapes" in done.stdout
    monitored.compose("stop", "redis-exporter")
    try:
        until("a target that is down", lambda: asked(monitored, 'up{job="redis"} == 0'))
        done = monitored.setup("doctor")
    finally:
        monitored.compose("start", "redis-exporter")
    assert done.returncode == 1
    assert "no metrics come from redis at redis-exporter:9121" in done.stdout


def test_what_builds_come_to_can_be_asked(monitored: Deployed) -> None:
    def counted(outcome: str) -> float:
        labels = f'product="{recipe.stem}", outcome="{outcome}"'
        return value(monitored, f"sum(increase(larder_stages_total{{{labels}}}[{RANGE}]))")

    recipe = monitored.recipe()
    before = value(monitored, 'sum(prefect_flow_run_seconds_count{pipeline="build", state="FAILED"})')
    assert monitored.build(recipe, "--fail-at", "package")["state"] == "failed"
    assert monitored.build(recipe)["state"] == "completed"
    assert monitored.build(recipe)["state"] == "completed"
    until("the failed stage", lambda: counted("failed"))
    until("the reused stages", lambda: counted("reused") >= 5)
    until(
        "the failed run",
        lambda: (
            value(monitored, 'sum(prefect_flow_run_seconds_count{pipeline="build", state="FAILED"})') > before
        ),
    )
    until("the alert", lambda: asked(monitored, 'ALERTS{alertname="FlowRunFailed", alertstate="firing"}'))
    assert value(monitored, f'sum(larder_saved_seconds_total{{product="{recipe.stem}"}})') >= 1
    assert value(monitored, f'sum(larder_stored_bytes_total{{product="{recipe.stem}"}})') > 0


def test_the_dashboards_queries_are_answered(monitored: Deployed) -> None:
    queries = [
        (panel["title"], target["expr"])
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    assert len(queries) > 20
    for title, query in queries:
        filled = query.replace("$__rate_interval", RANGE).replace("$__range", RANGE)
        assert "$" not in filled
        until(f"{title}: {query}", lambda asked_for=filled: asked(monitored, asked_for))


def test_an_alert_reaches_the_webhook(monitored: Deployed) -> None:
    heard: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Nothing to say."""

    gateway = json.loads(
        monitored.run(
            "docker", "network", "inspect", f"{monitored.environment['LARDER_PROJECT']}_published"
        ).stdout
    )[0]["IPAM"]["Config"][0]["Gateway"]
    with HTTPServer((gateway, 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monitored.environment["LARDER_ALERT_WEBHOOK"] = f"http://{gateway}:{server.server_port}/a?b=1&c=2|3"
        try:
            monitored.compose("--profile", "monitoring", "up", "--detach", "--wait", "alertmanager")
            monitored.compose(
                *("exec", "-T", "alertmanager", "amtool", "--alertmanager.url=http://127.0.0.1:9093"),
                *("alert", "add", "alertname=Tried", "severity=critical"),
            )
            until("the webhook", lambda: heard)
        finally:
            del monitored.environment["LARDER_ALERT_WEBHOOK"]
            server.shutdown()
    assert heard[0]["alerts"][0]["labels"]["alertname"] in {"Tried", "FlowRunFailed"}


def test_the_monitors_users_can_only_look(monitored: Deployed) -> None:
    written = "create table monitored (a int)"
    read = "select count(*) from flow_run"
    for statement in (written, read):
        done = monitored.run(
            *("docker", "compose", "exec", "-T", "-e", f"PGPASSWORD={secret(monitored)}", "postgres"),
            *("psql", "-h", "127.0.0.1", "-U", "monitor", "-d", "prefect", "-c", statement),
        )
        assert "permission denied" in done.stderr, statement
    for words in (
        ("keys", "*"),
        ("get", "larder:a"),
        ("set", "a", "b"),
        ("config", "get", "*"),
        ("acl", "list"),
    ):
        said = monitored.compose(
            *("exec", "-T", "-e", f"REDISCLI_AUTH={secret(monitored)}", "redis"),
            *("redis-cli", "--user", "monitor", *words),
        )
        assert "NOPERM" in said, words


def secret(deployed: Deployed) -> str:
    """The password of the users called `monitor`."""
    lines = (deployed.checkout / ".env").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("LARDER_MONITOR_PASSWORD="))
