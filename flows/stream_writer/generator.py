"""Made-up events, the same for the same seed, some of them broken; and their way into the streams."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from redis import Redis

AT_ONCE = 500
"""Events that are sent together."""
WORDS = ("sky", "blå", "morning", "市場", "coffee", "release", "🎉", "quiet", "train", "notes")
LANGUAGES = ("en", "sv", "ja", "pt")
REFERRING = {"likes": "like", "reposts": "repost", "follows": "follow", "blocks": "block"}


class Made(NamedTuple):
    """One event for a stream."""

    stream: str
    payload: bytes


def made_up(
    events: int, streams: Sequence[str], broken: float = 0.0, seed: int = 1, at: datetime | None = None
) -> Iterator[Made]:
    """Events of these streams, in no particular order of streams.

    Args:
        broken: which share of them cannot be written as what they claim to be
        seed: equal seeds and times make equal events
        at: when the last of them was; the others were within the hour before. Now where not given
    """
    random = Random(seed)  # noqa: S311
    last = at or datetime.now(UTC).replace(microsecond=0)
    for number in range(events):
        stream = streams[random.randrange(len(streams))]
        event = _event(stream, number, random)
        event["time"] = (last - timedelta(seconds=3600 * (events - 1 - number) / max(1, events))).isoformat()
        if random.random() < broken:
            yield Made(stream, BROKEN[random.randrange(len(BROKEN))](event))
        else:
            yield Made(stream, _text(event))


def send(redis: "Redis", events: Iterator[Made], field: str = "event") -> int:
    """Add events to their streams; how many."""
    sent = 0
    with redis.pipeline(transaction=False) as pipeline:
        for event in events:
            pipeline.xadd(event.stream, {field: event.payload})
            sent += 1
            if sent % AT_ONCE == 0:
                pipeline.execute()
        pipeline.execute()
    return sent


def _event(stream: str, number: int, random: Random) -> dict[str, Any]:
    did = f"did:plc:{random.randrange(10_000):05}"
    kind = REFERRING.get(stream.rpartition("_")[2])
    if kind:
        subject = f"did:plc:{random.randrange(10_000):05}"
        return {"type": kind, "did": did, "uri": f"at://{did}/{kind}/{number}", "subject": subject}
    return {
        "type": "post",
        "did": did,
        "uri": f"at://{did}/post/{number}",
        "text": " ".join(random.choices(WORDS, k=random.randrange(3, 25))),
        "langs": random.sample(LANGUAGES, random.randrange(1, 3)),
        "embed": _embed(random),
    }


def _embed(random: Random) -> Any:
    """Null, a number or a struct, as such fields come."""
    return (None, random.randrange(100), {"images": random.randrange(1, 5), "alt": random.choice(WORDS)})[
        random.randrange(3)
    ]


def _text(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def _cut(event: dict[str, Any]) -> bytes:
    text = _text(event)
    return text[: len(text) // 2]


BROKEN: tuple[Callable[[dict[str, Any]], bytes], ...] = (
    _cut,
    lambda event: _text({**event, "type": "poke"}),
    lambda event: _text({name: value for name, value in event.items() if name != "time"}),
    lambda event: _text({**event, "time": "yesterday"}),
    lambda event: _text({**event, "time": "2999-01-01T00:00:00Z"}),
    lambda event: _text({**event, "did": 7}),
    lambda event: _text(event)[:-1] + b', "x": "\xff"}',
    lambda event: json.dumps([event]).encode(),
)
"""The ways in which an event is broken."""
