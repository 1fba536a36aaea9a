"""One message → one row of a table, or the reason why it cannot be one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from flows.stream_writer.declared import Columns, Event, Kind
from flows.stream_writer.messages import EPOCH, Message, text_of, time_of
from flows.stream_writer.stages.digits import Parsed, compact

MOST_FOUND = 200
"""Characters of what was found that are shown."""
INTEGERS = range(-(2**63), 2**63)


class Reason(StrEnum):
    """Why a message is in quarantine."""

    NO_PAYLOAD = "no payload"
    NO_TEXT = "no UTF-8"
    NO_JSON = "no JSON object"
    NO_TYPE = "no type"
    UNKNOWN_TYPE = "unknown type"
    NO_TIME = "no time"
    IMPLAUSIBLE_TIME = "implausible time"
    WRONG_VALUE = "wrong value"


class BrokenError(Exception):
    """A message that no table takes.

    Attributes:
        reason: of which kind it is
        found: what was found, for people
        time: when the event was, if it can be told
    """

    def __init__(self, reason: Reason, found: str, time: datetime | None = None) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason = reason
        self.found = found if len(found) <= MOST_FOUND else f"{found[:MOST_FOUND]}…"
        self.time = time


@dataclass(frozen=True, slots=True)
class Row:
    """An event as its type's table holds it."""

    type: str
    time: datetime
    values: dict[str, Any]
    """Declared columns, and what else there is as JSON in `_other`."""


def parse(message: Message, event: Event, types: Mapping[str, Columns], instant: datetime) -> Row:
    """The row that a message makes.

    Args:
        instant: at which the batch was read; an event much later than it is not believed.

    Raises:
        BrokenError: it makes none.
    """
    parsed = _object(_payload(message, event.payload))
    found: dict[str, Any] = parsed.value
    time = _event_time(found, event, instant)
    type_ = found.get(event.type)
    if not isinstance(type_, str):
        raise BrokenError(Reason.NO_TYPE, f"{event.type} is {_shown(type_)}", time)
    columns = types.get(type_)
    if columns is None:
        raise BrokenError(Reason.UNKNOWN_TYPE, f"{event.type} is {_shown(type_)}", time)
    values: dict[str, Any] = {}
    for name, kind in columns.items():
        value = found.get(name)
        if value is None:
            continue
        try:
            values[name] = CONVERSIONS[kind](value)
        except (TypeError, ValueError, OverflowError) as error:
            expected = f"{name} is {_shown(value)}, declared is {kind}"
            raise BrokenError(Reason.WRONG_VALUE, expected, time) from error
    return Row(type_, time, _completed(values, parsed, columns, event))


def _payload(message: Message, name: str) -> str:
    field = name.encode()
    found = [value for key, value in message.fields if key == field]
    if len(found) != 1:
        keys = ", ".join(repr(key.decode(errors="replace")) for key, _ in message.fields)
        raise BrokenError(
            Reason.NO_PAYLOAD, f"the field {name!r} {len(found)} times among {keys or 'no fields'}"
        )
    try:
        return found[0].decode()
    except UnicodeDecodeError as error:
        raise BrokenError(Reason.NO_TEXT, f"byte {error.start} of {len(found[0])}") from error


def _object(text: str) -> Parsed:
    try:
        parsed = Parsed(text)
    except (ValueError, RecursionError) as error:
        raise BrokenError(Reason.NO_JSON, f"{error}: {text}") from error
    if not isinstance(parsed.value, dict):
        raise BrokenError(Reason.NO_JSON, text)
    return parsed


def _event_time(found: Mapping[str, Any], event: Event, instant: datetime) -> datetime:
    value = found.get(event.time)
    try:
        time = _moment(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenError(Reason.NO_TIME, f"{event.time} is {_shown(value)}") from error
    if not event.earliest <= time <= instant + timedelta(hours=event.ahead_hours):
        raise BrokenError(Reason.IMPLAUSIBLE_TIME, f"{event.time} is {_shown(value)}")
    return time


def _completed(values: dict[str, Any], parsed: Parsed, columns: Columns, event: Event) -> dict[str, Any]:
    text_of, found = parsed.texts(), parsed.value
    for name, kind in columns.items():
        if kind is Kind.JSON and name in values:
            values[name] = text_of(name)
    own = {event.type, event.time, *columns}
    others = [f"{compact(name)}:{text_of(name)}" for name in found if name not in own]
    if others:
        values["_other"] = "{" + ",".join(others) + "}"
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or value not in INTEGERS:
        raise ValueError("no integer of 64 bits")
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float} or float(value) != value:
        raise ValueError("no number, or one of more digits than a double holds")
    if not -1.7976931348623157e308 <= value <= 1.7976931348623157e308:
        raise ValueError("larger than a double")
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _timestamp(value: Any) -> str:
    return _moment(value).isoformat()


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    if type(value) not in {int, float}:
        raise ValueError("no time")
    return EPOCH + timedelta(milliseconds=value)


def _unconverted(value: Any) -> Any:
    return value


CONVERSIONS: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.JSON: _unconverted,
}


def quarantined(message: Message, broken: BrokenError) -> tuple[datetime, dict[str, str]]:
    """Time and row of a message that no table takes; its own time where the event has none."""
    row = {"reason": str(broken.reason), "found": broken.found, "message": text_of(message)}
    return broken.time or time_of(message.id), row


def _shown(value: Any) -> str:
    return "not there" if value is None else compact(value)
