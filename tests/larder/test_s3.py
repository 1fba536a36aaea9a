"""Only our own settings say how our own store is reached."""

from pathlib import Path
from urllib.parse import urlparse

import pytest

from flows.build.catalog import Catalog
from larder import s3 as clients
from larder.settings import settings
from larder.store import Patience, Store
from tests.services import Store as Server
from tests.web import Quiet, served

ANOTHER_PROJECTS = {
    "AWS_PROFILE": "city-prod",
    "AWS_DEFAULT_PROFILE": "city-prod",
    "AWS_CONFIG_FILE": "config",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "theirs",
    "AWS_SECRET_ACCESS_KEY": "theirs",
    "AWS_SESSION_TOKEN": "theirs",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "AWS_CA_BUNDLE": "/not/there.pem",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "sometimes",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "HTTPS_PROXY": "socks5://127.0.0.1:1",
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "NO_PROXY": "",
    "no_proxy": "",
}
CONFIG = (
    "[default]\nregion = eu-west-1\ns3 =\n  addressing_style = virtual\nendpoint_url = http://127.0.0.1:1\n"
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shell that is set up for another project."""
    for name, value in ANOTHER_PROJECTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text(CONFIG)
    clients.s3_client.cache_clear()
    return tmp_path


def test_variables_of_another_project_change_nothing(s3: Server, bucket: str, elsewhere: Path) -> None:
    client = clients.client(s3.keys)
    assert client.meta.endpoint_url == s3.keys.s3_endpoint_url
    store = Store(client, bucket, Patience(1))
    store.write("catalog/a/24Q1/a.csv", b"id\n1\n", "text/csv")
    assert store.read("catalog/a/24Q1/a.csv", 100)[0] == b"id\n1\n"
    secret = s3.keys.s3_secret_access_key
    assert secret is not None
    options = clients.fsspec_options(
        s3.keys.s3_endpoint_url, s3.keys.s3_access_key_id, secret.get_secret_value(), "us-east-1"
    )
    assert Catalog(f"s3://{bucket}/catalog", options).versions("a") == ["24Q1"]


def test_the_region_of_a_store_is_ours_to_say(
    elsewhere: Path, larder: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clients.client(settings()).meta.region_name == "us-east-1"
    monkeypatch.setenv("LARDER_S3_REGION", "eu-west-3")
    assert clients.client(settings()).meta.region_name == "eu-west-3"


def test_a_catalog_on_the_web_may_be_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "24Q1").mkdir(parents=True)
    answer = Quiet.do_GET

    def pass_on(self: Quiet) -> None:
        self.path = urlparse(self.path).path
        answer(self)

    monkeypatch.setattr(Quiet, "do_GET", pass_on)
    with served(tmp_path) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        assert Catalog("http://catalog.invalid").datasets() == ["a"]
