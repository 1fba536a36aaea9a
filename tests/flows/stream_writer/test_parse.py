"""One message becomes one row, or goes to quarantine with its reason."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from flows.stream_writer.declared import Event, Kind
from flows.stream_writer.messages import Message
from flows.stream_writer.stages.parse import BrokenError, Reason, Row, parse, quarantined

INSTANT = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENT = Event()
TYPES = {
    "post": {
        "text": Kind.TEXT,
        "likes": Kind.INTEGER,
        "score": Kind.NUMBER,
        "pinned": Kind.BOOLEAN,
        "edited": Kind.TIMESTAMP,
        "embed": Kind.JSON,
    }
}


def parsed(payload: bytes | str, field: bytes = b"event") -> Row:
    text = payload if isinstance(payload, bytes) else payload.encode()
    return parse(Message("1767268800000-0", ((field, text),)), EVENT, TYPES, INSTANT)


def event(**members: Any) -> str:
    return json.dumps({"type": "post", "time": "2026-01-01T11:30:00Z", **members}, ensure_ascii=False)


def test_declared_members_become_columns_and_the_rest_is_json() -> None:
    row = parsed(
        event(
            text="blå 🎉", likes=3, score=1.5, pinned=True, edited=1767266000123, embed={"a": [1]}, lang="sv"
        )
    )
    assert row.time == datetime(2026, 1, 1, 11, 30, tzinfo=UTC)
    assert row.values == {
        "text": "blå 🎉",
        "likes": 3,
        "score": 1.5,
        "pinned": True,
        "edited": "2026-01-01T11:13:20.123000+00:00",
        "embed": '{"a":[1]}',
        "_other": '{"lang":"sv"}',
    }


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-01-01T10:00:00+02:00", datetime(2026, 1, 1, 8, tzinfo=UTC)),
        ("2026-01-01T10:00:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        (1767261600000, datetime(2026, 1, 1, 10, tzinfo=UTC)),
    ],
)
def test_times_are_instants_whatever_they_were_written_as(time: object, expected: datetime) -> None:
    assert parsed(event(time=time)).time == expected


@pytest.mark.parametrize(
    "text", ["0.1234567890123456789", "1e2", "12345678901234567890123", '[1.10, {"b": 2.50}]', '"1.10"']
)
def test_numbers_that_are_not_declared_keep_their_digits(text: str) -> None:
    row = parsed(event().removesuffix("}") + f', "embed": {text} , "x":{text}}}')
    assert json.loads(row.values["embed"]) == json.loads(text)
    for digits in ("0.1234567890123456789", "1e2", "12345678901234567890123", "1.10", "2.50"):
        if digits in text:
            assert digits in row.values["embed"]
            assert digits in row.values["_other"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.NO_JSON),
        (b"{", Reason.NO_JSON),
        (b"[1]", Reason.NO_JSON),
        (b'{"a": NaN}', Reason.NO_JSON),
        (b'{"a": "\\ud800"}', Reason.NO_JSON),
        (b"[" * 100_000, Reason.NO_JSON),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, Reason.NO_JSON),
        (b'{"a": "\xff"}', Reason.NO_TEXT),
        (b'{"type": "post"}', Reason.NO_TIME),
        (event(time="yesterday"), Reason.NO_TIME),
        (event(time=True), Reason.NO_TIME),
        (event(time=1e30), Reason.NO_TIME),
        (event(time="2999-01-01T00:00:00Z"), Reason.IMPLAUSIBLE_TIME),
        (event(time="1999-01-01T00:00:00Z"), Reason.IMPLAUSIBLE_TIME),
        (event(type="poke"), Reason.UNKNOWN_TYPE),
        (event(type=None), Reason.NO_TYPE),
        (event(type={"a": 1}), Reason.NO_TYPE),
        (event(text=1), Reason.WRONG_VALUE),
        (event(likes=1.0), Reason.WRONG_VALUE),
        (event(likes=True), Reason.WRONG_VALUE),
        (event(likes=2**63), Reason.WRONG_VALUE),
        (event(score={"a": 1}), Reason.WRONG_VALUE),
        (event(score=2**53 + 1), Reason.WRONG_VALUE),
        (event(pinned="yes"), Reason.WRONG_VALUE),
        (event(edited="never"), Reason.WRONG_VALUE),
        (event().replace("}", ', "score": 1e999}'), Reason.WRONG_VALUE),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_no_table_takes_has_a_reason(payload: bytes | str, reason: Reason) -> None:
    with pytest.raises(BrokenError) as raised:
        parsed(payload)
    assert raised.value.reason is reason
    assert len(raised.value.found) <= 201


def test_a_message_without_its_field_is_broken_and_names_what_it_has() -> None:
    with pytest.raises(BrokenError, match=r"no payload.*'data'"):
        parsed("{}", field=b"data")


def test_a_field_that_stands_twice_is_broken() -> None:
    message = Message("1-0", ((b"event", b"{}"), (b"event", b"{}")))
    with pytest.raises(BrokenError) as raised:
        parse(message, EVENT, TYPES, INSTANT)
    assert raised.value.reason is Reason.NO_PAYLOAD


def test_quarantine_keeps_the_message_and_the_time_that_can_be_told() -> None:
    message = Message("1767268800000-0", ((b"event", b"\xff"),))
    with pytest.raises(BrokenError) as raised:
        parse(message, EVENT, TYPES, INSTANT)
    time, row = quarantined(message, raised.value)
    assert time == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert json.loads(row["message"])["fields"] == [["event", {"base64": "/w=="}]]
    assert row["reason"] == "no UTF-8"
