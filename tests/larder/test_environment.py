"""Of an environment that another project set up, what matters to our own server is ours."""

import os
import subprocess
import sys

from larder.environment import reach_directly, settle
from larder.settings import CHECKOUT

THEIRS = {
    "PREFECT_API_URL": "https://prefect.example.org/api",
    "PREFECT_API_KEY": "pnu_theirs",
    "PREFECT_PROFILE": "theirs",
    "PREFECT_CLIENT_CUSTOM_HEADERS": "no json",
    "LARDER_BUCKET": "given",
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "https_proxy": "SOCKS5H://127.0.0.1:1",
    "HTTP_PROXY": "http://proxy.example.org:3128",
    "NO_PROXY": "intranet.example.org",
    "AWS_PROFILE": "theirs",
}
OWN = {"PREFECT_API_URL": "http://10.0.0.7:4200/api", "LARDER_BUCKET": "home", "LARDER_PARALLEL": "2"}


def test_a_home_with_a_server_has_its_own_settings_of_prefect() -> None:
    environ = dict(THEIRS)
    settle(environ, OWN, "/home/prefect-client")
    direct = "intranet.example.org,127.0.0.1,localhost,::1,10.0.0.7"
    assert environ == {
        "PREFECT_API_URL": "http://10.0.0.7:4200/api",
        "PREFECT_HOME": "/home/prefect-client",
        "LARDER_BUCKET": "given",
        "LARDER_PARALLEL": "2",
        "HTTP_PROXY": "http://proxy.example.org:3128",
        "NO_PROXY": direct,
        "no_proxy": direct,
        "AWS_PROFILE": "theirs",
    }


def test_without_a_server_of_its_own_the_one_that_is_named_counts() -> None:
    environ = {"PREFECT_API_URL": "http://prefect.example.org/api", "PREFECT_API_AUTH_STRING": "a:b"}
    settle(environ, {}, "/home/prefect-client")
    assert environ["PREFECT_API_URL"] == "http://prefect.example.org/api"
    assert environ["PREFECT_API_AUTH_STRING"] == "a:b"
    assert "prefect.example.org" in environ["NO_PROXY"].split(",")


def test_settling_twice_changes_nothing() -> None:
    environ = dict(THEIRS)
    settle(environ, OWN, "/home/prefect-client")
    once = dict(environ)
    settle(environ, OWN, "/home/prefect-client")
    assert environ == once


def test_prefect_reaches_a_server_although_another_project_has_a_proxy(prefect_server: str) -> None:
    environ = {**os.environ, **THEIRS, "HTTP_PROXY": "http://127.0.0.1:1"}
    settle(environ, {"PREFECT_API_URL": prefect_server}, environ["PREFECT_HOME"])
    code = "from prefect import get_client; get_client(sync_client=True).api_healthcheck()"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} and sys.exit(1)"], check=False, env=environ, cwd=CHECKOUT, timeout=120
    )
    assert done.returncode == 0


def test_proxies_that_serve_catalogs_stay() -> None:
    environ = {"https_proxy": "http://proxy.example.org:3128", "no_proxy": "*"}
    reach_directly(environ)
    assert environ["https_proxy"] == "http://proxy.example.org:3128"
    assert environ["no_proxy"].startswith("*,")
