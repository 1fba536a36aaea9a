"""Leases in Redis: keys that expire, renewed for as long as their process lives."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis


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
        with suppress(OSError, *redis_errors()):
            self._delete(key, holder)

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
                with suppress(OSError, *redis_errors()):
                    self._renew_one(key, holder)
                    if self.held.get(key) != holder:
                        self._delete(key, holder)

    def _renew_one(self, key: str, holder: str) -> None:
        name = self.prefix + key
        if not self._if_held(name, holder, lambda step: step.set(name, holder, px=self._milliseconds)):
            self.interrupted.add((key, holder))
            self.redis.set(name, holder, nx=True, px=self._milliseconds)

    def _delete(self, key: str, holder: str) -> None:
        name = self.prefix + key
        self._if_held(name, holder, lambda step: step.delete(name))

    def _if_held(self, name: str, holder: str, change: Callable[[Any], object]) -> bool:
        """Change a lease in one step with looking whose it is; whether it was this holder's.

        A watched transaction, not a script: who may run scripts could stop Redis for everybody.
        """
        from redis.exceptions import WatchError

        with self.redis.pipeline() as step:
            step.watch(name)  # type: ignore[no-untyped-call]
            if step.get(name) != holder.encode():
                return False
            step.multi()
            change(step)
            try:
                step.execute()
            except WatchError:
                return False
        return True


@cache
def redis_keeper(url: str, prefix: str, seconds: float) -> RedisKeeper:
    """The keeper in a Redis, one for all threads."""
    from redis import Redis

    redis = Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, health_check_interval=15)
    return RedisKeeper(redis, prefix, seconds)


@cache
def redis_errors() -> tuple[type[Exception], ...]:
    """What Redis raises; it is imported where it is used alone."""
    from redis.exceptions import RedisError

    return (RedisError,)
