"""Messages of a stream → a file of them, as they are."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from flows.stream_writer.batch import Batch
from flows.stream_writer.messages import Message, id_of, write_messages


class Source(Protocol):
    """Where messages come from."""

    def between(self, stream: str, ids: Sequence[str]) -> Iterator[Message]:
        """The messages of these ids, in their order, that are still there."""

    def now(self) -> datetime:
        """The instant."""


class MovedError(RuntimeError):
    """A message is not there any more, or another has its id."""


def read(stream: str, pages: Sequence[str], source: Source, scratch: Path) -> Batch:
    """Read the messages of a batch.

    Args:
        pages: the identities of all its messages, in the order of their ids, many lines each
        source: gives the messages

    Raises:
        MovedError: one of them is not there any more. Nothing is lost by it: another run wrote it and it was
            removed, or Redis lost its last second; the next run takes what is pending then.
    """
    expected = [line for page in pages for line in page.split("\n")]
    file = scratch / f"{stream}_{id_of(expected[0])}_{id_of(expected[-1])}.jsonl.gz"
    processed_at = source.now()
    rows = write_messages(_verified(stream, expected, source), file)
    return Batch(
        file=file, rows=rows, first=id_of(expected[0]), last=id_of(expected[-1]), processed_at=processed_at
    )


def _verified(stream: str, expected: Sequence[str], source: Source) -> Iterator[Message]:
    found = source.between(stream, [id_of(identity) for identity in expected])
    for identity in expected:
        message = next(found, None)
        if message is None or message.identity != identity:
            raise MovedError(
                f"{stream}: message {id_of(identity)} was pending and cannot be read any more. Another run "
                "wrote it and it was removed, or Redis lost what it had last. Run again."
            )
        yield message
