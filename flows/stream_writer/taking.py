"""The world's side of a batch: which messages it has, which may be acknowledged, what is trimmed."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice

from flows.stream_writer.batch import Id
from flows.stream_writer.declared import Configuration
from flows.stream_writer.ledger import Ledger
from flows.stream_writer.messages import EPOCH, after, id_of, order
from flows.stream_writer.streams import Stream
from larder.artifacts import Frozen

PAGE_LINES = 500


class Taken(Frozen):
    """The messages that are pending for a consumer: its batch until they are acknowledged."""

    stream: str
    pages: tuple[str, ...] = ()
    """The identities of those that are in the stream, ordered, some hundred lines each."""
    gone: tuple[Id, ...] = ()
    """The ids of those that left the stream before they were read."""

    @property
    def identities(self) -> list[str]:
        """Of the messages that are in the stream."""
        return identities(self.pages)

    @property
    def ids(self) -> list[Id]:
        """Of all messages, ordered."""
        return sorted([*map(id_of, self.identities), *self.gone], key=order)


def identities(pages: Iterable[str]) -> list[str]:
    """The lines of pages."""
    return [line for page in pages for line in page.split("\n")]


def pending(stream: Stream, most_messages: int) -> Taken:
    """The batch that is pending for the consumer; without messages where nothing is."""
    present, gone = [], []
    for message in stream.own(most_messages):
        if message.fields:
            present.append(message.identity)
        else:
            gone.append(message.id)
    lines = iter(present)
    pages = iter(lambda: "\n".join(islice(lines, PAGE_LINES)), "")
    return Taken(stream=stream.name, pages=tuple(pages), gone=tuple(gone))


def take(stream: Stream, configuration: Configuration) -> Taken:
    """Make the next batch pending for the consumer: what another left behind, else what is new."""
    limits = configuration.limits
    stream.join()
    gone = stream.claim(configuration.claim_after_seconds, limits.batch_messages)
    taken = pending(stream, limits.batch_messages)
    if not taken.pages and not taken.gone:
        stream.give(limits.batch_messages, limits.batch_bytes)
        taken = pending(stream, limits.batch_messages)
    return taken.model_copy(update={"gone": tuple(sorted({*taken.gone, *gone}, key=order))})


def written(taken: Taken, ledger: Ledger) -> Sequence[Id]:
    """The ids that may be acknowledged: of messages that are registered, and of those that are gone."""
    missing = ledger.unwritten(taken.identities)
    present = [id_of(one) for one in taken.identities if one not in missing]
    return sorted([*present, *taken.gone], key=order)


def removable(stream: Stream, until: datetime) -> Id | None:
    """The id before which messages may be removed; None where there are none before it.

    Args:
        until: messages that Redis took in later stay
    """
    bound, first = stream.acknowledged_before(), stream.first()
    if bound is None or first is None:
        return None
    youngest = f"{max(0, int((until - EPOCH) / timedelta(milliseconds=1)))}-0"
    bound = min(bound, youngest, key=order)
    return bound if order(first) < order(bound) else None


def trim(stream: Stream, ledger: Ledger, bound: Id, most_messages: int) -> int:
    """Remove messages that are written, before an id; how many.

    Args:
        bound: as `removable` gives it
        most_messages: that are looked at
    """
    seen: list[str] = []
    for page in stream.before(bound):
        seen += [message.identity for message in page]
        if len(seen) >= most_messages:
            break
    missing = ledger.unwritten(seen)
    kept = next((one for one in seen if one in missing), None)
    if not seen or kept == seen[0]:
        return 0
    return stream.trim(id_of(kept) if kept else after(id_of(seen[-1])))
