"""Which Redis holds the streams, and one client of it for this process."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from flows.stream_writer.declared import Configuration
from flows.stream_writer.messages import Message
from flows.stream_writer.streams import Stream, connected
from larder.refusal import Problem, RefusedError
from larder.settings import Settings, stack_environment

if TYPE_CHECKING:
    from redis import Redis

VARIABLE = "LARDER_STREAMS_URL"


def streams_url(now: Settings) -> str:
    """`LARDER_STREAMS_URL` from the environment or the stack's own file, else the Redis of the leases.

    Raises:
        RefusedError: there is none.
    """
    given = os.environ.get(VARIABLE) or stack_environment().get(VARIABLE)
    if given:
        return given
    if now.redis_url is not None:
        return now.redis_url.get_secret_value()
    expected = (
        "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] of the Redis that holds the streams; "
        "`larder streams serve` starts a small one"
    )
    raise RefusedError("environment", Problem(VARIABLE, "nothing", expected))


def stream_of(now: Settings, configuration: Configuration, name: str) -> Stream:
    """A stream, and the consumer that a configuration names."""
    return Stream(_client(streams_url(now)), name, configuration.group, configuration.consumer)


@dataclass(frozen=True)
class Streams:
    """The streams as a stage reads them."""

    redis: "Redis"

    def between(self, stream: str, ids: Sequence[str]) -> Iterator[Message]:
        """The messages of these ids, in their order, that are still there."""
        return Stream(self.redis, stream, "", "").between(ids)

    def now(self) -> datetime:
        """The instant."""
        return instant()


def readable_streams(now: Settings) -> Streams:
    """The streams that the settings name."""
    return Streams(_client(streams_url(now)))


def instant() -> datetime:
    """The time now, in milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@cache
def _client(url: str) -> "Redis":
    return connected(url)
