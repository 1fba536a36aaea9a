"""One stream of Redis through one consumer group: read, pending, claimed, acknowledged, trimmed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.stream_writer.messages import Message, after, order
from larder.artifacts import Frozen

if TYPE_CHECKING:
    from redis import Redis

FIRST_PAGE = 16
LARGEST_PAGE = 2000
PAGE_BYTES = 4 * 2**20
"""About how much of a stream is in memory at once."""
ANSWER_SECONDS = 30
TRIES = 8
"""Of a command, over about 20 seconds."""
RAW = ("XREADGROUP", "XRANGE", "XPENDING", "XAUTOCLAIM", "XINFO GROUPS", "XINFO STREAM")


class StreamsUnreachableError(ConnectionError):
    """Redis does not answer."""

    def __init__(self, stream: str, cause: Exception) -> None:
        super().__init__(
            f"{stream}: the Redis at LARDER_STREAMS_URL does not answer: {cause}. Nothing is lost: what was "
            "not acknowledged comes again. Look whether it runs and lets us in, then run again."
        )


class Position(Frozen):
    """How far a group is on a stream."""

    length: int
    lag: int | None
    """Messages that nobody of the group has been given; None where Redis cannot tell."""
    pending: int
    """Given and not acknowledged."""


def connected(url: str) -> "Redis":
    """A client whose replies are as Redis gives them."""
    from redis import Redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    redis = Redis.from_url(
        url,
        protocol=2,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=5,
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=5, base=0.2), TRIES),
    )
    for command in RAW:
        redis.response_callbacks.pop(command, None)
    return redis


@dataclass(frozen=True)
class Stream:
    """One stream, and one consumer of one group."""

    redis: "Redis"
    name: str
    group: str
    consumer: str

    def is_joined(self) -> bool:
        """Whether the group is there."""
        return any(group["name"] == self.group for group in self._groups())

    def join(self) -> None:
        """Make the group, from the stream's beginning, and the stream where it is not there."""
        from redis.exceptions import ResponseError

        try:
            self._ask("XGROUP", "CREATE", self.name, self.group, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def own(self, most_messages: int) -> Iterator[Message]:
        """The consumer's own pending messages by id; without fields what left the stream."""
        if not self.is_joined():
            return
        last, left = "0-0", most_messages
        page = FIRST_PAGE
        while left > 0:
            found = self._read(last, min(page, left))
            yield from found
            if len(found) < min(page, left):
                return
            left -= len(found)
            last, page = found[-1].id, _next_page(found, page)

    def waits(self, idle_seconds: float) -> int | None:
        """How many messages nobody of the group was given, or are to be claimed; None for some."""
        position = self.position()
        if not self.is_joined() or position.lag:
            return position.lag
        idle = int(idle_seconds * 1000)
        abandoned = self._ask("XPENDING", self.name, self.group, "IDLE", idle, "-", "+", LARGEST_PAGE)
        if others := [entry for entry in abandoned if entry[1].decode() != self.consumer]:
            return len(others)
        return 0 if position.lag is not None or not self._is_anything_new() else None

    def claim(self, idle_seconds: float, most_messages: int) -> tuple[str, ...]:
        """Make messages pending for this consumer that another left for so long.

        The ids of those that left the stream are returned; Redis forgets them with this call.
        """
        claimed, start = 0, "0-0"
        gone: list[str] = []
        while claimed < most_messages:
            milliseconds = int(idle_seconds * 1000)
            count = min(most_messages - claimed, LARGEST_PAGE)
            reply = self._ask(
                *("XAUTOCLAIM", self.name, self.group, self.consumer, milliseconds, start),
                *("COUNT", count, "JUSTID"),
            )
            claimed += len(reply[1])
            gone += [id_.decode() for id_ in reply[2]]
            start = reply[0].decode()
            if start == "0-0":
                break
        return tuple(gone)

    def give(self, most_messages: int, most_bytes: int) -> int:
        """Make new messages pending for this consumer; how many."""
        given = held = 0
        page = FIRST_PAGE
        while given < most_messages and held < most_bytes:
            asked = min(page, most_messages - given)
            found = self._read(">", asked)
            given += len(found)
            held += sum(map(_size, found))
            if len(found) < asked:
                break
            page = _next_page(found, page)
        return given

    def between(self, ids: Sequence[str]) -> Iterator[Message]:
        """The messages of these ids, ordered, that are still in the stream."""
        at, page = 0, FIRST_PAGE
        while at < len(ids):
            wanted = ids[at : at + page]
            found = self._range(wanted[0], wanted[-1], len(wanted))
            named = set(wanted)
            ours = [message for message in found if message.id in named]
            if len(found) == len(wanted) and len(ours) < len(wanted):
                ours = self._singly(wanted)
            yield from ours
            at, page = at + len(wanted), _next_page(found, page)

    def acknowledge(self, ids: Sequence[str]) -> int:
        """Acknowledge messages; how many were pending."""
        return sum(
            int(self._ask("XACK", self.name, self.group, *ids[at : at + 1000]))
            for at in range(0, len(ids), 1000)
        )

    def any_pending(self, ids: Iterable[str]) -> bool:
        """Whether one of these messages, ordered, waits to be acknowledged."""
        wanted = list(ids)
        start = wanted[0] if wanted and self.is_joined() else ""
        while start:
            reply = self._ask("XPENDING", self.name, self.group, start, wanted[-1], LARGEST_PAGE)
            found = [entry[0].decode() for entry in reply]
            if not set(wanted).isdisjoint(found):
                return True
            start = after(found[-1]) if len(found) == LARGEST_PAGE else ""
        return False

    def position(self) -> Position:
        """How far the group is."""
        length = int(self._ask("XLEN", self.name))
        for group in self._groups():
            if group["name"] == self.group:
                return Position(length=length, lag=group.get("lag"), pending=group["pending"])
        return Position(length=length, lag=length, pending=0)

    def acknowledged_before(self) -> str | None:
        """The id before which every group has been given and has acknowledged all; None without groups."""
        bounds = []
        for group in self._groups():
            summary = self._ask("XPENDING", self.name, group["name"])
            first = summary[1].decode() if summary[0] else after(group["last-delivered-id"])
            bounds.append(first)
        return min(bounds, key=order, default=None)

    def before(self, id_: str) -> Iterator[list[Message]]:
        """The messages before an id, oldest first, page by page."""
        start, page = "-", FIRST_PAGE
        while found := self._range(start, f"({id_}", page):
            yield found
            start, page = f"({found[-1].id}", _next_page(found, page)

    def trim(self, id_: str) -> int:
        """Remove every message before an id; how many."""
        return int(self._ask("XTRIM", self.name, "MINID", "=", id_))

    def first(self) -> str | None:
        """The id of the oldest message in the stream."""
        found = self._range("-", "+", 1)
        return found[0].id if found else None

    def _is_anything_new(self) -> bool:
        (ours,) = (group for group in self._groups() if group["name"] == self.group)
        return bool(self._range(f"({ours['last-delivered-id']}", "+", 1))

    def _groups(self) -> list[dict[str, Any]]:
        from redis.exceptions import ResponseError

        try:
            replies = self._ask("XINFO", "GROUPS", self.name)
        except ResponseError as error:
            if "no such key" in str(error):
                return []
            raise
        return [_pairs(reply) for reply in replies]

    def _read(self, after_: str, count: int) -> list[Message]:
        reply = self._ask(
            "XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", count, "STREAMS", self.name, after_
        )
        return _messages(reply[0][1]) if reply else []

    def _range(self, first: str, last: str, count: int) -> list[Message]:
        return _messages(self._ask("XRANGE", self.name, first, last, "COUNT", count))

    def _singly(self, ids: Sequence[str]) -> list[Message]:
        with self.redis.pipeline(transaction=False) as pipeline:
            for id_ in ids:
                pipeline.execute_command("XRANGE", self.name, id_, id_)  # type: ignore[no-untyped-call]
            return [message for reply in pipeline.execute() for message in _messages(reply)]

    def _ask(self, *words: str | int) -> Any:
        from redis.exceptions import ConnectionError as NoConnectionError
        from redis.exceptions import TimeoutError as NoAnswerError

        try:
            return self.redis.execute_command(*words)  # type: ignore[no-untyped-call]
        except (NoConnectionError, NoAnswerError) as error:
            raise StreamsUnreachableError(self.name, error) from error


def _messages(entries: Iterable[Any]) -> list[Message]:
    return [
        Message(id_.decode(), tuple(zip(fields[::2], fields[1::2], strict=True)) if fields else ())
        for id_, fields in entries
    ]


def _pairs(reply: Sequence[Any]) -> dict[str, Any]:
    def text(value: Any) -> Any:
        return value.decode() if isinstance(value, bytes) else value

    return {text(name): text(value) for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _size(message: Message) -> int:
    return sum(len(name) + len(value) for name, value in message.fields)


def _next_page(found: Sequence[Message], page: int) -> int:
    """How many messages to ask for next, so that they are about as many bytes as may be held."""
    mean = max(1, sum(map(_size, found)) // max(1, len(found)))
    return max(1, min(LARGEST_PAGE, PAGE_BYTES // mean, 8 * page))
