"""Waiting for a lease, and saying what is waited for."""

import logging
import time
from dataclasses import dataclass, field

log = logging.getLogger(__name__)
SILENCE_SECONDS = 5.0
SAY_EVERY_SECONDS = 60.0


class LeaseUnavailable(Exception):  # noqa: N818
    """Leases cannot be had at all, so nothing may run that needs one."""


@dataclass
class Waiting:
    """Says what a lease is waited for, and for how long Redis may go on failing."""

    key: str
    patience_seconds: float
    began: float = field(default_factory=time.monotonic)
    said_at: float | None = None
    failing_since: float | None = None

    def for_another_run(self) -> None:
        """Somebody else has it."""
        self.failing_since = None
        if time.monotonic() - self.began > SILENCE_SECONDS:
            self._say("Waiting for another run, which holds the lease on %s.", self.key)

    def for_redis(self, error: Exception) -> None:
        """Redis does not answer.

        Raises:
            LeaseUnavailable: it has not for too long.
        """
        now = time.monotonic()
        self.failing_since = self.failing_since or now
        left = self.patience_seconds - (now - self.failing_since)
        if left <= 0:
            raise LeaseUnavailable(_explain(error, self.patience_seconds)) from error
        self._say("Waiting for Redis, which keeps the leases: %s. It is given %.0f s more.", error, left)

    def _say(self, line: str, *words: object) -> None:
        now = time.monotonic()
        if self.said_at is None or now - self.said_at > SAY_EVERY_SECONDS:
            self.said_at = now
            log.warning(line, *words)


def _explain(error: Exception, seconds: float) -> str:
    return (
        f"Redis at LARDER_REDIS_URL has given no lease for {seconds:.0f} s: {error}. Without one, two "
        "runs could execute the same stage. Look whether Redis runs and takes our login, then run again."
    )
