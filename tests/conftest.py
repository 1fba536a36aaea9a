"""Fixtures that give tests real servers. Nothing is started before a test asks for it."""

import os
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from larder.settings import Settings, settings
from stack.ports import HOST, free_ports
from stack.servers import prefect_server as new_prefect_server
from tests import services
from tests.deployed import Deployed, started_in
from tests.services import Store, Valkey

if TYPE_CHECKING:
    from tests.recipes import Product

HOME = "LARDER_TEST_HOME"
SERVER_PORT = "LARDER_TEST_SERVER_PORT"
_reapers: list[subprocess.Popen[bytes]] = []


def pytest_configure(config: pytest.Config) -> None:
    """Settles where everything will be before any test module imports Prefect; workers inherit it."""
    config.addinivalue_line("markers", "storage: exercises the store itself; run against each kind of store")
    config.addinivalue_line("markers", "docker: brings the stack up in containers; takes minutes")
    if hasattr(config, "workerinput"):
        return
    for name in [name for name in os.environ if name.startswith(("LARDER_", "PREFECT_"))]:
        if not name.startswith("LARDER_TEST_"):
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="larder-tests-"))
    (home / "mode").write_text("local\n")
    port = free_ports(1)[0]
    os.environ |= {
        HOME: str(home),
        SERVER_PORT: str(port),
        "LARDER_HOME": str(home),
        "PREFECT_HOME": str(home / "client"),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_CLIENT_MAX_RETRIES": "15",
        "DO_NOT_TRACK": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    _reapers.append(services.start_reaper(home))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what `tests/pending.txt` names: not seen to pass since the engine was rewritten."""
    if os.environ.get("LARDER_TEST_PENDING"):
        return
    pending = set((Path(__file__).parent / "pending.txt").read_text().splitlines())
    named = [item for item in items if {item.nodeid, item.nodeid.partition("::")[0]} & pending]
    if named:
        config.hook.pytest_deselected(items=named)
        items[:] = [item for item in items if item not in set(named)]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends what was started."""
    for reaper in _reapers:
        reaper.communicate()


@pytest.fixture(scope="session")
def services_home() -> Path:
    """The folder of all servers of this pytest."""
    return Path(os.environ[HOME])


@pytest.fixture(scope="session")
def s3(services_home: Path) -> Store:
    """A running S3 server."""
    store = services.store_in(services_home / "s3")
    services.shared(store.daemon)
    return store


@pytest.fixture(scope="session")
def valkey(services_home: Path) -> Valkey:
    """A running Redis server."""
    server = services.valkey_in(services_home / "valkey")
    services.shared(server.daemon)
    return server


@pytest.fixture(scope="session")
def prefect_server(services_home: Path) -> str:
    """The API URL of a running Prefect server; `PREFECT_API_URL` names it already."""
    services.shared(new_prefect_server(services_home, int(os.environ[SERVER_PORT])))
    return os.environ["PREFECT_API_URL"]


@pytest.fixture
def bucket(s3: Store) -> Iterator[str]:
    """A new, empty bucket. It is removed: SeaweedFS has room for some dozens of them."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.client.create_bucket(Bucket=name)
    yield name
    services.remove_bucket(s3.client, name)


@pytest.fixture
def larder(s3: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings, also in the environment, of a new bucket and a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "mode").write_text("local\n")
    for name, value in {**s3.environment(bucket), "LARDER_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    return settings()


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Store]:
    """A running S3 server of this test alone, which may be stopped."""
    store = services.store_in(tmp_path / "own-store")
    store.daemon.start()
    store.daemon.wait(services.START_SECONDS)
    yield store
    store.daemon.stop()


@pytest.fixture(scope="session")
def blocks(prefect_server: str, s3: Store) -> None:
    """The saved blocks. Each test's own bucket wins over theirs through the environment."""
    from blocks.storage import register_blocks

    register_blocks(s3.keys)


@pytest.fixture
def stack(blocks: None, larder: Settings) -> Settings:
    """All that a build needs: server, store, saved blocks, and a new bucket and home."""
    return larder


@pytest.fixture
def quick() -> Iterator[None]:
    """Flow runs that do not wait for Prefect's heartbeat thread at their end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@pytest.fixture
def product(
    stack: Settings, s3: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Product":
    """A product that was never built."""
    from tests.recipes import Bucket, new_product

    return new_product(tmp_path, Bucket(s3.client, bucket), monkeypatch)


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stack in containers, started once."""
    with started_in(tmp_path_factory.mktemp("docker")) as one:
        yield one


@pytest.fixture
def executed(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Which stages of `tests.tiny` were executed since it was last asked."""
    log = tmp_path / "executed"
    log.touch()
    monkeypatch.setenv("TINY_LOG", str(log))

    def since() -> list[str]:
        names = log.read_text().split()
        log.write_text("")
        return names

    return since
