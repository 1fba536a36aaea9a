"""The actions of the stream writer: each looks first, does only what is missing, and may be repeated."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.stream_writer import metrics, taking
from flows.stream_writer.batch import Id, Written
from flows.stream_writer.commit import Commit, Committed
from flows.stream_writer.connection import instant, stream_of
from flows.stream_writer.declared import Configuration
from flows.stream_writer.ledger import Ledger
from flows.stream_writer.messages import order
from flows.stream_writer.taking import Taken
from flows.stream_writer.told import StreamTold, Told
from larder.action import Action, Ahead
from larder.artifacts import Frozen
from larder.definition import Context


class Begun(Frozen):
    """That all groups are there, and when the run began to read."""

    at: datetime


class Acknowledged(Frozen):
    """What became of a batch in Redis."""

    messages: int
    lost: tuple[Id, ...]
    """Messages that left the stream before anybody read them."""


class Trimmed(Frozen):
    """How many messages left a stream."""

    messages: int


def look_join(context: Context, configuration: Configuration) -> Ahead[Begun]:
    """Which groups are missing."""
    missing = [
        name
        for name in configuration.streams
        if not stream_of(context.settings, configuration, name).is_joined()
    ]
    if missing:
        return Ahead(None, f"make the group {configuration.group} on {', '.join(missing)}")
    return Ahead(Begun(at=instant()), f"the group {configuration.group} is on all streams")


def join(context: Context, configuration: Configuration) -> Begun:
    """Make the groups that are missing."""
    for name in configuration.streams:
        stream = stream_of(context.settings, configuration, name)
        if not stream.is_joined():
            stream.join()
    return Begun(at=instant())


def look_take(context: Context, configuration: Configuration, name: str, begun: Begun) -> Ahead[Taken]:
    """What is pending for our consumer, or how much there would be to take."""
    del begun
    stream = stream_of(context.settings, configuration, name)
    taken = taking.pending(stream, configuration.limits.batch_messages)
    if taken.ids:
        return Ahead(taken, f"go on with {len(taken.ids):,} messages of {name} that are pending")
    waits = stream.waits(configuration.claim_after_seconds)
    if waits == 0:
        return Ahead(taken, f"nothing waits on {name}")
    some = "some" if waits is None else f"{waits:,}"
    return Ahead(None, f"take of the {some} messages that wait on {name}")


def take(context: Context, configuration: Configuration, name: str, begun: Begun) -> Taken:
    """The batch that is pending for our consumer, else a new one; empty once the run's time is over."""
    if instant() - begun.at >= timedelta(seconds=configuration.limits.seconds):
        return Taken(stream=name)
    stream = stream_of(context.settings, configuration, name)
    taken = taking.pending(stream, configuration.limits.batch_messages)
    return taken if taken.ids else taking.take(stream, configuration)


def look_commit(context: Context, name: str, written: Written) -> Ahead[Committed]:
    """Whether every message of a batch counts."""
    with _scratch() as scratch:
        committed = Commit(context.store, name, scratch).look(written.parts)
    messages = sum(part.messages for part in written.parts)
    says = f"{messages:,} messages of {name} {'count' if committed else 'are to count'}"
    return Ahead(committed, says)


def commit(context: Context, name: str, written: Written) -> Committed:
    """Let every message of a batch count once, and read back what says so."""
    with _scratch() as scratch:
        work = Commit(context.store, name, scratch)
        return work.look(written.parts) or work.act(written.parts)


def look_acknowledge(context: Context, configuration: Configuration, taken: Taken) -> Ahead[Acknowledged]:
    """Whether any message of a batch is still pending."""
    stream = stream_of(context.settings, configuration, taken.stream)
    if stream.any_pending(taken.ids):
        return Ahead(None, f"acknowledge {len(taken.ids):,} messages of {taken.stream}")
    return Ahead(Acknowledged(messages=0, lost=()), f"all of {taken.stream} is acknowledged")


def acknowledge(context: Context, configuration: Configuration, taken: Taken) -> Acknowledged:
    """Acknowledge what is written, and what left the stream before anybody read it."""
    stream = stream_of(context.settings, configuration, taken.stream)
    ledger = Ledger(context.store, taken.stream)
    lost = tuple(sorted(ledger.unknown(taken.gone), key=order))
    messages = stream.acknowledge(taking.written(taken, ledger))
    return Acknowledged(messages=messages, lost=lost)


def look_trim(context: Context, configuration: Configuration, name: str) -> Ahead[Trimmed]:
    """Whether there is anything that every group has acknowledged."""
    if _removable(context, configuration, name) is None:
        return Ahead(Trimmed(messages=0), f"nothing of {name} is to be removed")
    return Ahead(None, f"remove messages of {name} that are written and acknowledged by every group")


def trim(context: Context, configuration: Configuration, name: str) -> Trimmed:
    """Remove from a stream what is written and acknowledged by every group."""
    bound = _removable(context, configuration, name)
    if bound is None:
        return Trimmed(messages=0)
    stream, ledger = stream_of(context.settings, configuration, name), Ledger(context.store, name)
    most = 2 * configuration.limits.batch_messages
    return Trimmed(messages=taking.trim(stream, ledger, bound, most))


def look_tell(context: Context, configuration: Configuration, told: Mapping[str, StreamTold]) -> Ahead[Told]:
    """What waits now."""
    value = _told(context, configuration, told)
    waits = sum((one.left.lag or 0) + one.left.pending for one in value.streams.values() if one.left)
    return Ahead(value, f"{waits:,} messages wait")


def tell(context: Context, configuration: Configuration, told: Mapping[str, StreamTold]) -> Told:
    """What became of each stream and what waits there, also for those who watch the metrics."""
    value = _told(context, configuration, told)
    metrics.leave(context.settings, configuration.group, value)
    return value


def _told(context: Context, configuration: Configuration, told: Mapping[str, StreamTold]) -> Told:
    streams = {}
    for name, one in told.items():
        position = stream_of(context.settings, configuration, name).position()
        streams[name] = one.model_copy(update={"left": position})
    return Told(streams=streams)


def _removable(context: Context, configuration: Configuration, name: str) -> Id | None:
    if not configuration.trim:
        return None
    until = instant() - timedelta(seconds=configuration.keep_seconds)
    return taking.removable(stream_of(context.settings, configuration, name), until)


@contextmanager
def _scratch() -> Iterator[Path]:
    with TemporaryDirectory(prefix="larder-commit-") as folder:
        yield Path(folder)


JOIN = Action("join", look_join, join)
TAKE = Action("take", look_take, take)
COMMIT = Action("commit", look_commit, commit)
ACKNOWLEDGE = Action("acknowledge", look_acknowledge, acknowledge)
TRIM = Action("trim", look_trim, trim)
TELL = Action("tell", look_tell, tell)
