"""Locks that die with their process: flock in local mode, Redis with a time to live elsewhere.

`Leases` has the verbs of Prefect's `LockManager` protocol; the settings say where leases are kept.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from larder.settings import Settings, settings

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)
_choosing = threading.Lock()

POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 0.5
SILENCE_SECONDS = 5.0
REDIS_PATIENCE_SECONDS = 20.0
RELEASE_SCRIPT = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1])"
RENEW_SCRIPT = """
local holder = redis.call('get', KEYS[1])
if holder == ARGV[1] or not holder then return redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return false
"""


_kept: ContextVar[Settings | None] = ContextVar("larder_kept", default=None)


class LeaseUnavailable(Exception):  # noqa: N818
    """Leases cannot be had at all, so nothing may run that needs one."""


class Keeper(Protocol):
    """Where leases of one place are kept."""

    def take(self, key: str, holder: str) -> bool:
        """Try once; whether the lease is now this holder's."""

    def give(self, key: str, holder: str) -> None:
        """Let go; letting go of what is not held is no error."""

    def holds(self, key: str, holder: str) -> bool:
        """Whether this holder has it."""

    def confirms(self, key: str, holder: str) -> bool:
        """Whether this holder has it now, asked where it is kept."""

    def taken(self, key: str) -> bool:
        """Whether anybody has it."""


@dataclass
class FileKeeper:
    """Leases as `flock` on files of one folder: they exclude the processes of one home.

    The kernel lets go of a lock when its process dies, however it dies.
    """

    folder: Path
    held: dict[str, tuple[str, int]] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, holder: str) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same_file = os.fstat(descriptor).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            same_file = False
        if not same_file:
            os.close(descriptor)
            return False
        with self.guard:
            self.held[key] = (holder, descriptor)
        return True

    def give(self, key: str, holder: str) -> None:
        with self.guard:
            if not self.holds(key, holder):
                return
            _, descriptor = self.held.pop(key)
        self._path(key).unlink(missing_ok=True)
        os.close(descriptor)

    def holds(self, key: str, holder: str) -> bool:
        return self.held.get(key, ("", 0))[0] == holder

    def confirms(self, key: str, holder: str) -> bool:
        return self.holds(key, holder)

    def taken(self, key: str) -> bool:
        try:
            descriptor = os.open(self._path(key), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _path(self, key: str) -> Path:
        return self.folder / hashlib.sha256(key.encode()).hexdigest()


@dataclass
class RedisKeeper:
    """Leases as keys of Redis that expire: they exclude everybody who uses the same Redis.

    One thread renews all leases of the process, so they outlive it by `seconds` at most.
    """

    redis: "Redis"
    prefix: str
    seconds: float
    held: dict[str, str] = field(default_factory=dict)
    interrupted: set[tuple[str, str]] = field(default_factory=set)
    """Leases that were gone for a while, and which somebody else may have had."""
    guard: threading.Lock = field(default_factory=threading.Lock)
    renewing: threading.Thread | None = None

    def take(self, key: str, holder: str) -> bool:
        if not self.redis.set(self.prefix + key, holder, nx=True, px=self._milliseconds):
            return False
        with self.guard:
            self.held[key] = holder
            if self.renewing is None or not self.renewing.is_alive():
                self.renewing = threading.Thread(target=self._renew, daemon=True, name="lease renewal")
                self.renewing.start()
        return True

    def give(self, key: str, holder: str) -> None:
        with self.guard:
            if self.held.get(key) != holder:
                return
            del self.held[key]
            self.interrupted.discard((key, holder))
        with suppress(OSError, *_redis_errors()):
            self.redis.eval(RELEASE_SCRIPT, 1, self.prefix + key, holder)

    def holds(self, key: str, holder: str) -> bool:
        return self.held.get(key) == holder

    def confirms(self, key: str, holder: str) -> bool:
        kept = self.redis.get(self.prefix + key)
        return kept == holder.encode() and self.holds(key, holder) and (key, holder) not in self.interrupted

    def taken(self, key: str) -> bool:
        return bool(self.redis.exists(self.prefix + key))

    @property
    def _milliseconds(self) -> int:
        return int(self.seconds * 1000)

    def _renew(self) -> None:
        while True:
            time.sleep(self.seconds / 3)
            with self.guard:
                held = dict(self.held)
                if not held:
                    self.renewing = None
                    return
            for key, holder in held.items():
                with suppress(OSError, *_redis_errors()):
                    self._renew_one(key, holder)
                    if self.held.get(key) != holder:
                        self.redis.eval(RELEASE_SCRIPT, 1, self.prefix + key, holder)

    def _renew_one(self, key: str, holder: str) -> None:
        if self.redis.get(self.prefix + key) != holder.encode():
            self.interrupted.add((key, holder))
        self.redis.eval(RENEW_SCRIPT, 1, self.prefix + key, holder, self._milliseconds)


class Leases:
    """Prefect's lock manager over the leases that the settings ask for."""

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,  # noqa: ARG002
    ) -> bool:
        """Wait for the lease, at most `acquire_timeout` seconds. It is held until released or until death.

        Raises:
            LeaseUnavailable: if Redis does not answer.
        """
        keeper = current_keeper()
        patience = REDIS_PATIENCE_SECONDS
        until = None if acquire_timeout is None else time.monotonic() + acquire_timeout
        pause, asked, said = POLL_SECONDS, time.monotonic(), False
        while True:
            began = time.monotonic()
            try:
                if keeper.take(key, holder):
                    return True
                if not said and began - asked > SILENCE_SECONDS:
                    log.warning("Waiting for another run, which holds the lease on %s.", key)
                    said = True
                patience = REDIS_PATIENCE_SECONDS
            except _redis_errors() as error:
                patience -= time.monotonic() - began + pause
                if patience <= 0:
                    raise LeaseUnavailable(_explain(error)) from error
            if until is not None and time.monotonic() + pause > until:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """As `acquire_lock`."""
        return await asyncio.to_thread(self.acquire_lock, key, holder, acquire_timeout, hold_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        """Let go; releasing what is not held is no error."""
        current_keeper().give(key, holder)

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lease."""
        return current_keeper().taken(key)

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder has the lease."""
        return current_keeper().holds(key, holder)

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lease; whether that came within `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.is_locked(key):
            if until is not None and time.monotonic() > until:
                return False
            time.sleep(POLL_SECONDS)
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """As `wait_for_lock`."""
        return await asyncio.to_thread(self.wait_for_lock, key, timeout)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Leases":
        return self


@contextmanager
def keeping(now: Settings) -> Iterator[None]:
    """Keep the leases of this block where these settings say, without reading them anew for each."""
    token = _kept.set(now)
    try:
        yield
    finally:
        _kept.reset(token)


class LeaseLost(Exception):  # noqa: N818
    """A lease went to somebody else while its holder slept, or its keeper forgot it."""


@dataclass(frozen=True)
class Held:
    """A lease that is held."""

    key: str
    holder: str

    def require(self) -> None:
        """Return if the lease is still held, asked where it is kept. To be called before what others see.

        Raises:
            LeaseLost: it is not.
        """
        if not current_keeper().confirms(self.key, self.holder):
            raise LeaseLost(
                f"The lease on {self.key} was lost: this process was stopped for longer than it lasts, or "
                "its keeper failed over. Whoever has it now goes on. Run again to see what holds."
            )


@contextmanager
def lease(key: str) -> Iterator[Held]:
    """Hold the lease on `key`, waiting for it first."""
    leases, holder = Leases(), uuid4().hex
    leases.acquire_lock(key, holder)
    try:
        yield Held(key, holder)
    finally:
        leases.release_lock(key, holder)


def current_keeper() -> Keeper:
    """Where leases are kept now; the same keeper for all threads."""
    now = _kept.get() or settings()
    with _choosing:
        return _keeper(now)


def _keeper(now: Settings) -> Keeper:
    if now.redis_url is None:
        return _file_keeper(now.home / "leases" / now.bucket_name)
    return _redis_keeper(now.redis_url.get_secret_value(), f"larder:{now.bucket_name}:", now.lease_seconds)


@cache
def _file_keeper(folder: Path) -> FileKeeper:
    return FileKeeper(folder)


@cache
def _redis_keeper(url: str, prefix: str, seconds: float) -> RedisKeeper:
    from redis import Redis

    redis = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, health_check_interval=15)
    return RedisKeeper(redis, prefix, seconds)


@cache
def _redis_errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return (RedisError,)


def _explain(error: Exception) -> str:
    return (
        f"Redis at LARDER_REDIS_URL does not give leases: {error}. Without one, two runs could execute "
        "the same stage. Look whether Redis runs and takes our login, then run again."
    )
