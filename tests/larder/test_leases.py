"""Leases, in files and in Redis: exclusive, renewed while held, and gone when their holder is."""

import copy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.locking.protocol import LockManager
from redis import Redis
from redis.exceptions import NoPermissionError

from larder.keepers import Keeper
from larder.leases import LeaseLost, Leases, current_keeper, lease
from larder.settings import CHECKOUT
from larder.waiting import LeaseUnavailable
from stack.ports import HOST, free_ports
from tests import services
from tests.services import Valkey

KEY = "results/green/build-0123456789abcdef.json"
LEASE_SECONDS = 2
SLACK_SECONDS = 1.5
HOLDER = """
import sys
from larder.leases import Leases
Leases().acquire_lock(sys.argv[1], "another process")
print("held", flush=True)
sys.stdin.read()
Leases().release_lock(sys.argv[1], "another process")
"""


@pytest.fixture(params=["files", "redis"])
def leases(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leases:
    """Leases of a home and a bucket of their own, kept in files or in Redis."""
    monkeypatch.setenv("LARDER_HOME", str(tmp_path))
    monkeypatch.setenv("LARDER_BUCKET", f"leases-{tmp_path.name}".replace("_", "-").lower().rstrip("-")[:60])
    monkeypatch.setenv("LARDER_LEASE_SECONDS", str(LEASE_SECONDS))
    if request.param == "redis":
        monkeypatch.setenv("LARDER_REDIS_URL", request.getfixturevalue("valkey").url)
    return Leases()


@pytest.fixture
def own_valkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """A Redis of this test alone, which may be stopped; leases of one second are kept there."""
    server = services.valkey_in(tmp_path / "valkey")
    monkeypatch.setenv("LARDER_REDIS_URL", server.url)
    monkeypatch.setenv("LARDER_LEASE_SECONDS", "1")
    start(server)
    yield server
    server.daemon.stop()


def start(server: Valkey) -> None:
    server.daemon.start()
    server.daemon.wait(services.START_SECONDS)


@contextmanager
def held_by_another_process(key: str = KEY) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease until its input ends."""
    command = [sys.executable, "-c", HOLDER, key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def eventually(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes so in time."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_prefect_takes_them_for_a_lock_manager(leases: Leases) -> None:
    assert isinstance(leases, LockManager)


def test_one_holder_at_a_time(leases: Leases) -> None:
    assert leases.acquire_lock(KEY, "one")
    assert leases.is_locked(KEY)
    assert leases.is_lock_holder(KEY, "one")
    assert not leases.is_lock_holder(KEY, "two")
    assert not leases.acquire_lock(KEY, "two", acquire_timeout=0.2)
    assert leases.acquire_lock("results/other.json", "two")
    leases.release_lock(KEY, "one")
    assert not leases.is_locked(KEY)
    assert not leases.is_lock_holder(KEY, "one")
    assert leases.acquire_lock(KEY, "two", acquire_timeout=0.2)


def test_threads_that_begin_together_share_what_they_hold(leases: Leases) -> None:
    together, before = threading.Barrier(16), sys.getswitchinterval()

    def keeper(_: int) -> Keeper:
        together.wait()
        return current_keeper()

    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(16) as threads:
        keepers = list(threads.map(keeper, range(16)))
    sys.setswitchinterval(before)
    assert len({id(one) for one in keepers}) == 1


def test_threads_exclude_each_other(leases: Leases) -> None:
    inside, most, guard = 0, 0, threading.Lock()

    def enter(number: int) -> None:
        nonlocal inside, most
        leases.acquire_lock(KEY, f"thread {number}")
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.005)
        with guard:
            inside -= 1
        leases.release_lock(KEY, f"thread {number}")

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(enter, range(20)))
    assert most == 1
    assert not leases.is_locked(KEY)


def test_processes_exclude_each_other(leases: Leases) -> None:
    with held_by_another_process() as process:
        assert leases.is_locked(KEY)
        assert not leases.is_lock_holder(KEY, "another process")
        assert not leases.acquire_lock(KEY, "mine", acquire_timeout=0.2)
        assert process.stdin
        process.stdin.close()
        assert leases.acquire_lock(KEY, "mine", acquire_timeout=5)


def test_a_killed_process_holds_nothing_for_longer_than_a_lease(
    leases: Leases, request: pytest.FixtureRequest
) -> None:
    patience = SLACK_SECONDS + (LEASE_SECONDS if "redis" in request.node.callspec.id else 0)
    with held_by_another_process() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = time.monotonic()
        assert leases.acquire_lock(KEY, "mine", acquire_timeout=10)
    assert time.monotonic() - began < patience


def test_a_lease_is_kept_for_longer_than_its_time_while_its_holder_lives(leases: Leases) -> None:
    with held_by_another_process():
        assert not leases.acquire_lock(KEY, "mine", acquire_timeout=1.5 * LEASE_SECONDS)


def test_only_the_holder_lets_go(leases: Leases) -> None:
    leases.release_lock(KEY, "nobody has it")
    leases.acquire_lock(KEY, "one")
    leases.release_lock(KEY, "two")
    assert leases.is_lock_holder(KEY, "one")
    assert not leases.acquire_lock(KEY, "two", acquire_timeout=0)
    leases.release_lock(KEY, "one")
    leases.release_lock(KEY, "one")
    assert not leases.is_locked(KEY)


def test_waiting_ends_when_the_holder_lets_go(leases: Leases) -> None:
    leases.acquire_lock(KEY, "one")
    assert not leases.wait_for_lock(KEY, timeout=0.1)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(leases.wait_for_lock, KEY, 10)
        leases.release_lock(KEY, "one")
        assert waiting.result(timeout=5)


def test_a_copy_is_the_same_leases(leases: Leases) -> None:
    leases.acquire_lock(KEY, "one")
    copied = copy.deepcopy(leases)
    assert not copied.acquire_lock(KEY, "two", acquire_timeout=0)
    copied.release_lock(KEY, "one")
    assert not leases.is_locked(KEY)


def test_two_buckets_do_not_share_leases(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    leases.acquire_lock(KEY, "one")
    monkeypatch.setenv("LARDER_BUCKET", "another-bucket")
    assert leases.acquire_lock(KEY, "two", acquire_timeout=0)
    leases.release_lock(KEY, "two")


def test_redis_gone_is_said_with_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_REDIS_URL", f"redis://:hush@{HOST}:{free_ports(1)[0]}/0")
    monkeypatch.setenv("LARDER_STORE_SECONDS", "0.5")
    began = time.monotonic()
    with pytest.raises(LeaseUnavailable, match=r"LARDER_REDIS_URL.*Look whether Redis runs") as caught:
        Leases().acquire_lock(KEY, "one")
    assert time.monotonic() - began < 5
    assert "hush" not in str(caught.value)


def test_a_lease_is_kept_through_a_restart_of_redis(own_valkey: Valkey) -> None:
    leases = Leases()
    leases.acquire_lock(KEY, "one")
    own_valkey.daemon.stop()
    start(own_valkey)
    assert eventually(lambda: leases.is_locked(KEY), seconds=3)
    assert not leases.acquire_lock(KEY, "two", acquire_timeout=1.5)
    leases.release_lock(KEY, "one")
    assert leases.acquire_lock(KEY, "two", acquire_timeout=1)
    leases.release_lock(KEY, "two")


def test_who_waits_for_a_lease_outlasts_a_restart_of_redis(own_valkey: Valkey) -> None:
    leases = Leases()
    own_valkey.daemon.stop()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(leases.acquire_lock, KEY, "one")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.5)
        start(own_valkey)
        assert waiting.result(timeout=10)
    leases.release_lock(KEY, "one")


def test_letting_go_while_redis_is_away_is_no_error(own_valkey: Valkey) -> None:
    leases = Leases()
    leases.acquire_lock(KEY, "one")
    own_valkey.daemon.stop()
    leases.release_lock(KEY, "one")
    assert not leases.is_lock_holder(KEY, "one")


def test_what_a_lease_is_waited_for_is_said(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_valkey.daemon.stop()
    monkeypatch.setenv("LARDER_STORE_SECONDS", "1")
    with pytest.raises(LeaseUnavailable, match="no lease for 1 s"):
        Leases().acquire_lock(KEY, "one")
    assert "Waiting for Redis" in caplog.text
    assert "s more" in caplog.text


def test_a_lease_is_confirmed_once_redis_is_back(own_valkey: Valkey) -> None:
    with lease(KEY) as held:
        own_valkey.daemon.stop()
        with ThreadPoolExecutor(1) as thread:
            confirming = thread.submit(held.require)
            with pytest.raises(TimeoutError):
                confirming.result(timeout=0.5)
            start(own_valkey)
            with pytest.raises(LeaseLost):
                confirming.result(timeout=20)


def test_the_workers_user_needs_no_script(own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Redis.from_url(own_valkey.url)
    admin.execute_command("ACL", "SETUSER", "larder", "on", ">secret", *worker_rules())
    monkeypatch.setenv("LARDER_REDIS_URL", own_valkey.url.replace("://", "://larder:secret@"))
    limited = Redis.from_url(own_valkey.url.replace("://", "://larder:secret@"))
    with pytest.raises(NoPermissionError):
        limited.eval("return 1", 0)
    leases = Leases()
    assert leases.acquire_lock(KEY, "one")
    assert not leases.acquire_lock(KEY, "two", acquire_timeout=2)
    assert leases.is_lock_holder(KEY, "one")
    leases.release_lock(KEY, "one")
    assert not leases.is_locked(KEY)


def worker_rules() -> list[str]:
    """What the compose file lets the worker's user do in Redis."""
    lines = (CHECKOUT / "docker-compose.yml").read_text().splitlines()
    words = next(line.split() for line in lines if line.strip().startswith("user larder on"))
    return words[4:]
