"""Messages of a Redis stream: what tells one from another, and how they lie in a file."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MILLISECOND = 253_402_300_799_999
"""Of the year 9999. Ids that producers chose themselves may lie behind it."""
HOUR_LETTERS = 13
DIGEST_LETTERS = 8


class Message(NamedTuple):
    """One entry of a stream, its fields as they are."""

    id: str
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def identity(self) -> str:
        """`<id> <digest of the fields>`.

        A Redis that lost its last second may give an id a second time, to another event.
        """
        digest = hashlib.sha256()
        for part in (part for pair in self.fields for part in pair):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return f"{self.id} {digest.hexdigest()[:DIGEST_LETTERS]}"


def order(id_: str) -> tuple[int, int]:
    """By what ids are compared: milliseconds and a number within them."""
    milliseconds, _, number = id_.partition("-")
    return int(milliseconds), int(number)


def id_of(identity: str) -> str:
    """The id in an identity."""
    return identity.partition(" ")[0]


def after(id_: str) -> str:
    """The id that follows on this one."""
    milliseconds, number = order(id_)
    return f"{milliseconds}-{number + 1}" if number < 2**64 - 1 else f"{milliseconds + 1}-0"


def time_of(id_: str) -> datetime:
    """When Redis took the message in, as its id says."""
    return EPOCH + timedelta(milliseconds=min(order(id_)[0], LAST_MILLISECOND))


def hour_of(time: datetime) -> str:
    """The hour in UTC that a time lies in: `2026-01-31T09`."""
    return time.astimezone(UTC).isoformat()[:HOUR_LETTERS]


def write_messages(messages: Iterable[Message], file: Path) -> int:
    """Write messages as lines of JSON, packed; the number of them."""
    count = 0
    with file.open("wb") as packed, gzip.GzipFile("", "wb", 1, packed, mtime=0) as lines:
        for message in messages:
            lines.write(text_of(message).encode() + b"\n")
            count += 1
    return count


def read_messages(file: Path) -> Iterator[Message]:
    """The messages of a file, in its order."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            found = json.loads(line)
            pairs = ((_bytes(name), _bytes(value)) for name, value in found["fields"])
            yield Message(found["id"], tuple(pairs))


def text_of(message: Message) -> str:
    """A message as one line of JSON. Bytes that are no UTF-8 are in base64."""
    fields = [[_text(name), _text(value)] for name, value in message.fields]
    return json.dumps({"id": message.id, "fields": fields}, ensure_ascii=False, separators=(",", ":"))


def write_identities(identities: Iterable[str], file: Path) -> None:
    """Write identities, one a line, packed."""
    file.write_bytes(gzip.compress("".join(f"{one}\n" for one in identities).encode(), 6, mtime=0))


def read_identities(content: bytes) -> list[str]:
    """The identities in a file's bytes."""
    return gzip.decompress(content).decode().split("\n")[:-1]


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()
