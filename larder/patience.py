"""How long a store that does not answer is waited for."""

import logging
import threading
import time
from dataclasses import dataclass, field

SAID_AFTER_SECONDS = 12.0
SAY_EVERY_SECONDS = 30.0
SLACK_SECONDS = 0.5
log = logging.getLogger(__name__)


@dataclass
class Patience:
    """How long the store may go on failing, in seconds of the clock, over all calls and threads together."""

    seconds: float
    counted_until: float = 0.0
    waiting_until: float = 0.0
    """An attempt that begins before goes on with the same failure, pauses included."""
    said_at: float = 0.0
    waited_seconds: float = 0.0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, failing_since: float, pause_seconds: float, about: str) -> bool:
        """Sleep before the next attempt; False where no time is left for one.

        Args:
            failing_since: when the attempt began that failed, on the monotonic clock
            about: what is waited for, for the log
        """
        with self.guard:
            now = time.monotonic()
            since = self.counted_until if failing_since <= self.waiting_until else failing_since
            self.seconds -= max(0.0, now - max(since, self.counted_until))
            self.counted_until = max(now, self.counted_until)
            if self.seconds <= 0:
                return False
            pause = min(pause_seconds, self.seconds)
            self.waiting_until = max(self.waiting_until, now + pause + SLACK_SECONDS)
            self.waited_seconds += max(0.0, now - since)
            if now - self.said_at > SAY_EVERY_SECONDS and self.waited_seconds > SAID_AFTER_SECONDS:
                self.said_at = now
                log.warning("Waiting for the object store: %s. It is given %.0f s more.", about, self.seconds)
        time.sleep(pause)
        return True
