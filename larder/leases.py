"""Locks that die with their process: flock in local mode, Redis with a time to live elsewhere.

`Leases` has the verbs of Prefect's `LockManager` protocol; the settings say where leases are kept.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from larder.keepers import Keeper, file_keeper
from larder.redis_leases import redis_errors, redis_keeper
from larder.settings import Settings, settings
from larder.waiting import Waiting

log = logging.getLogger(__name__)
_choosing = threading.Lock()

POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 0.5


_kept: ContextVar[Settings | None] = ContextVar("larder_kept", default=None)


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
            LeaseUnavailable: Redis did not answer for as long as the settings have patience with a store.
        """
        keeper, waiting = current_keeper(), Waiting(key, _current_settings().store_seconds)
        until = None if acquire_timeout is None else time.monotonic() + acquire_timeout
        pause = POLL_SECONDS
        while True:
            try:
                if keeper.take(key, holder):
                    return True
                waiting.for_another_run()
            except redis_errors() as error:
                waiting.for_redis(error)
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
            LeaseUnavailable: Redis does not answer.
        """
        waiting = Waiting(self.key, _current_settings().store_seconds)
        while True:
            try:
                confirmed = current_keeper().confirms(self.key, self.holder)
                break
            except redis_errors() as error:
                waiting.for_redis(error)
                time.sleep(LONGEST_POLL_SECONDS)
        if not confirmed:
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
    now = _current_settings()
    with _choosing:
        return _keeper(now)


def _current_settings() -> Settings:
    return _kept.get() or settings()


def _keeper(now: Settings) -> Keeper:
    if now.redis_url is None:
        return file_keeper(now.home / "leases" / now.bucket_name)
    return redis_keeper(now.redis_url.get_secret_value(), f"larder:{now.bucket_name}:", now.lease_seconds)
