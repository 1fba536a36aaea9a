"""The local stack, for real: started, looked at, broken, started again, ended."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from larder import s3 as store_client
from larder.settings import CHECKOUT, Settings
from stack.daemon import end_marked, mark, recorded_pid, start_time
from tests.services import Store

NAMES = ("store", "server", "worker")


def stack(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `setup.sh` becomes, for one home, as a user with nothing else in the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LARDER_", "PREFECT_"))}
    mode = () if "--docker" in words else ("--local",)
    test_mark = {name: value for name, value in os.environ.items() if name.startswith("LARDER_TEST_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "stack", *words, *mode],
        check=False,
        capture_output=True,
        text=True,
        env={**kept, **test_mark, "LARDER_HOME": str(home), **variables},
        cwd="/",
    )


def environment_of(home: Path) -> dict[str, str]:
    """The stack's file as a shell reads it."""
    script = 'set -a; . "$1"; exec env -0'
    sourced = subprocess.run(["bash", "-c", script, "bash", home / "env"], check=True, capture_output=True)
    return dict(entry.split("=", 1) for entry in sourced.stdout.decode().split("\0") if "=" in entry)


def client_of(home: Path) -> object:
    """A client of the stack's store."""
    found = environment_of(home)
    return store_client.s3_client(
        found["LARDER_S3_ENDPOINT_URL"],
        found["LARDER_S3_ACCESS_KEY_ID"],
        found["LARDER_S3_SECRET_ACCESS_KEY"],
    )


def pids(home: Path) -> dict[str, int | None]:
    return {name: recorded_pid(home, name) for name in NAMES}


def assert_well(home: Path) -> None:
    """The doctor finds nothing wrong."""
    done = stack(home, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


def end(home: Path) -> None:
    for name in reversed(NAMES):
        end_marked(mark(home, name), seconds=5)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a stack that is running when each test begins, or that the test starts again."""
    folder = tmp_path_factory.mktemp("setup") / "a home"
    done = stack(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    end(folder)


def test_everything_works_after_the_start(home: Path) -> None:
    assert_well(home)


def test_starting_again_changes_nothing_and_takes_seconds(home: Path) -> None:
    before, began = (pids(home), (home / "env").read_bytes()), time.monotonic()
    done = stack(home)
    assert done.returncode == 0, done.stderr
    assert (pids(home), (home / "env").read_bytes()) == before
    assert time.monotonic() - began < 10


def test_secrets_are_for_the_owner_alone(home: Path) -> None:
    assert (home / "env").stat().st_mode & 0o777 == 0o600
    secret = environment_of(home)["LARDER_S3_SECRET_ACCESS_KEY"]
    shown = stack(home).stdout
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids(home).values()]
    assert secret not in shown
    assert not any(secret.encode() in command for command in commands)


def test_nothing_listens_beyond_this_machine(home: Path) -> None:
    ports = json.loads((home / "ports.json").read_text())
    with socket.create_connection(("127.0.0.1", ports["server"]), timeout=5):
        pass
    for port in ports.values():
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_the_other_mode_is_refused(home: Path) -> None:
    done = stack(home, "--docker")
    assert done.returncode == 2
    assert "Docker" in done.stderr


def test_an_unknown_recipe_is_refused_at_once(home: Path) -> None:
    done = stack(home, "run", "nowhere.yml")
    assert done.returncode == 2
    assert "nowhere.yml" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_is_seen_and_started_again(name: str, home: Path) -> None:
    stack(home)
    before = pids(home)
    pid = before[name]
    assert pid
    os.kill(pid, signal.SIGKILL)
    seen = stack(home, "doctor")
    assert seen.returncode == 1
    assert f"{name} is not running" in seen.stdout
    assert stack(home).returncode == 0
    after = pids(home)
    assert after[name] != before[name]
    assert {other for other in NAMES if after[other] != before[other]} == {name}
    assert_well(home)


def test_deleting_what_was_registered_is_seen_and_mended(home: Path) -> None:
    stack(home)
    script = "from prefect.blocks.core import Block; Block.delete('s3-bucket/larder-results')"
    environment = {**os.environ, **environment_of(home)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    seen = stack(home, "doctor")
    assert seen.returncode == 1
    assert "s3-bucket/larder-results" in seen.stdout
    assert stack(home).returncode == 0
    assert_well(home)


def test_down_ends_everything_and_keeps_the_data(home: Path) -> None:
    stack(home)
    keys = environment_of(home)["LARDER_S3_SECRET_ACCESS_KEY"]
    client_of(home).put_object(Bucket="larder", Key="kept", Body=b"content")  # type: ignore[attr-defined]
    running = [pid for pid in pids(home).values() if pid]
    done = stack(home, "down")
    assert done.returncode == 0, done.stderr
    assert len(running) == 3
    assert not any(start_time(pid) for pid in running)
    assert stack(home, "down").returncode == 0
    assert stack(home, "doctor").returncode == 1

    shutil.rmtree(home / "prefect")
    ports = json.loads((home / "ports.json").read_text())
    with socket.create_server(("127.0.0.1", ports["s3"])):
        done = stack(home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert environment_of(home)["LARDER_S3_SECRET_ACCESS_KEY"] == keys
    assert json.loads((home / "ports.json").read_text())["s3"] != ports["s3"]
    kept = client_of(home).get_object(Bucket="larder", Key="kept")["Body"].read()  # type: ignore[attr-defined]
    assert kept == b"content"
    assert_well(home)


def test_a_second_home_on_a_store_that_is_there_is_independent(home: Path, s3: Store, tmp_path: Path) -> None:
    stack(home)
    first = pids(home)
    other = tmp_path / "other home"
    lacking = stack(other, LARDER_S3_ENDPOINT_URL=str(s3.keys.s3_endpoint_url))
    assert lacking.returncode == 2
    assert "LARDER_S3_ACCESS_KEY_ID" in lacking.stderr
    try:
        started = stack(other, **s3.environment("second-home"))
        assert started.returncode == 0, started.stdout + started.stderr
        assert pids(other)["store"] is None
        assert environment_of(other)["LARDER_S3_ENDPOINT_URL"] == s3.keys.s3_endpoint_url
        assert s3.client.list_objects_v2(Bucket="second-home")["KeyCount"] == 0
        assert_well(other)
        (other / "mine.txt").write_text("not the stack's")
        assert stack(other, "down", "--volumes", "--yes").returncode == 0
        assert [file.name for file in other.iterdir()] == ["mine.txt"]
    finally:
        end(other)
    assert pids(home) == first
    assert_well(home)


@pytest.mark.storage
def test_a_bucket_is_made_once_and_never_by_writing_to_it(s3: Store) -> None:
    with pytest.raises(s3.client.exceptions.NoSuchBucket):
        s3.client.put_object(Bucket="never-made", Key="a", Body=b"")
    assert store_client.ensure_bucket(s3.client, "made-by-us")
    assert not store_client.ensure_bucket(s3.client, "made-by-us")


@pytest.mark.storage
def test_the_store_refuses_other_keys(s3: Store) -> None:
    stranger = store_client.s3_client(s3.keys.s3_endpoint_url, "stranger", "wrong-secret")
    with pytest.raises(stranger.exceptions.ClientError) as caught:
        stranger.list_buckets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_environments_endpoint_wins_over_the_block(
    prefect_server: str, larder: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from blocks.storage import connection, load_bucket, register_blocks
    from larder.settings import settings

    def loaded() -> Any:
        with get_client(sync_client=True) as client:
            return load_bucket(settings(), client)

    register_blocks(larder)
    saved = loaded()
    register_blocks(larder)
    monkeypatch.setenv("LARDER_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LARDER_BUCKET", "another")
    moved = loaded()
    assert connection(moved).meta.endpoint_url == "http://127.0.0.1:9"
    assert moved.bucket_name == "another"
    assert moved._block_document_id == saved._block_document_id
    for name in list(os.environ):
        if name.startswith("LARDER_S3_") or name == "LARDER_BUCKET":
            monkeypatch.delenv(name)
    block = loaded()
    connection(block).head_bucket(Bucket=block.bucket_name)
    assert block.bucket_name == larder.bucket


def test_a_checkout_is_where_the_stack_comes_from() -> None:
    assert (CHECKOUT / "setup.sh").stat().st_mode & 0o111
    assert (CHECKOUT / ".ci" / "run").stat().st_mode & 0o111
