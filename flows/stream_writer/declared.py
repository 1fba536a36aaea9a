"""What a configuration says: which streams, what their events hold, how much one run does."""

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, field_validator

from larder.artifacts import Frozen
from larder.names import Name, wrong

QUARANTINE = "_quarantine"
"""The type of what cannot be written as what it claims to be."""
RESERVED = frozenset({"year", "month", "day", "hour", "type"})
"""What the names of folders say already."""


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    """Of 64 bits."""
    NUMBER = "number"
    """A double."""
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    """ISO 8601, or milliseconds since 1970; UTC where no offset is given."""
    JSON = "json"
    """Anything, as the text of its JSON."""


def _column(text: str) -> str:
    valid = "a name of at most 100 letters, digits and '_', beginning with a letter"
    if not text.isidentifier() or text.startswith("_") or len(text) > 100:
        raise wrong(repr(text), valid)
    if text.lower() in RESERVED:
        raise wrong(repr(text), f"{valid}; not one of {', '.join(sorted(RESERVED))}, which are folders")
    return text


Columns = dict[Annotated[str, AfterValidator(_column)], Kind]
"""The columns of one type of events, in their order."""


class Event(Frozen):
    """Where a message holds its event, and which times are believed."""

    payload: str = "event"
    """The message's field with the event's JSON."""
    type: str = "type"
    """The event's member that says what it is."""
    time: str = "time"
    """The event's member that says when it was."""
    earliest: AwareDatetime = datetime(2000, 1, 1, tzinfo=UTC)
    """An event before it is broken."""
    ahead_hours: int = Field(24, ge=0, le=8784)
    """How far an event's time may lie behind the instant at which it was read."""


class Limits(Frozen):
    """How much one run does before it leaves the rest to the next."""

    messages: int = Field(500_000, ge=1)
    """Of all streams together; the batch that passes it is the last."""
    seconds: float = Field(240, gt=0, le=86_400, allow_inf_nan=False)
    """After which no further batch is read."""
    batch_messages: int = Field(20_000, ge=1, le=100_000)
    batch_bytes: int = Field(32 * 2**20, ge=1, le=2**30)
    """A batch ends with the message that passes it."""


class Compaction(Frozen):
    """When an hour's files are made one."""

    files: int = Field(2, ge=2)
    """How many small files of one type and stream are worth it."""
    small_bytes: int = Field(256 * 2**20, ge=1)
    """A file of this size or more stays as it is."""
    settled_minutes: int = Field(30, ge=0)
    """How long ago the hour must have ended."""
    keep_hours: float = Field(24, ge=0, allow_inf_nan=False)
    """How long the replaced files stay for those who read them."""


class Configuration(Frozen):
    """One group of streams."""

    group: Name = "larder"
    consumer: Name = "writer"
    """Runs under one name continue each other's batches; under two names they share the work."""
    claim_after_seconds: float = Field(60, ge=0, le=86_400, allow_inf_nan=False)
    """After how much silence another consumer's pending messages are taken over."""
    trim: bool = True
    """Whether messages leave the stream that are written and acknowledged by every group."""
    keep_seconds: float = Field(60, ge=0, allow_inf_nan=False)
    """How long they stay nevertheless, for a run beside this one that reads them too."""
    streams: tuple[Name, ...] = Field(min_length=1)
    """The keys of the streams in Redis."""
    event: Event = Event()
    types: dict[Name, Columns]
    """Declared columns by the type of event; what an event has beside them is in the column `_other`."""
    limits: Limits = Limits()
    compaction: Compaction = Compaction()

    @field_validator("streams")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise wrong(f"{twice[0]!r} twice", "every stream once")
        return names

    @field_validator("types")
    @classmethod
    def _apart(cls, types: dict[str, Columns]) -> dict[str, Columns]:
        for type_, columns in types.items():
            folded = Counter(name.lower() for name in columns)
            if twice := [name for name, times in folded.items() if times > 1]:
                raise wrong(f"{type_}.{twice[0]!r} twice", "names that differ by more than their case")
        return types
