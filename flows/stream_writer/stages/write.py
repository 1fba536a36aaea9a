"""A batch of messages → Parquet files by the hour and type of their events."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from flows.stream_writer.batch import Batch, Part, PartFile, Written
from flows.stream_writer.declared import QUARANTINE, Columns, Event
from flows.stream_writer.messages import Message, hour_of, read_messages, time_of, write_identities
from flows.stream_writer.stages.parse import BrokenError, parse, quarantined
from flows.stream_writer.stages.tables import Lines, columns_of, to_parquet
from flows.tables.table import database

MOST_HELD_LETTERS = 16 * 2**20
"""Of rows that wait in memory before they are written to scratch."""
SHORTEST_BUFFER_BYTES = 2**20


class Place(NamedTuple):
    """Where a row belongs."""

    taken_in: str
    """The hour in which Redis took the message in."""
    hour: str
    """The hour of the event."""
    type: str


@dataclass
class Rows:
    """The rows of one file while they are gathered."""

    file: Path
    ids: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    longest_bytes: int = SHORTEST_BUFFER_BYTES

    def add(self, id_: str, line: str) -> None:
        """One row more."""
        self.ids.append(id_)
        self.held.append(line)
        if len(line) * 4 > self.longest_bytes:
            self.longest_bytes = max(self.longest_bytes, len(line.encode()) + 1)

    def spill(self) -> None:
        """Move what is held into the file."""
        with self.file.open("a", encoding="utf-8") as lines:
            lines.writelines(self.held)
        self.held.clear()


def write(stream: str, batch: Batch, event: Event, types: Mapping[str, Columns], scratch: Path) -> Written:
    """Write each event once: into its type's table, or into quarantine with the reason.

    What Redis took in within one hour is one part, written and registered as a whole.

    Args:
        stream: where the messages come from
        batch: in the order of their ids
        event: how an event is found in a message
        types: the declared columns of each type
    """
    gathered, identities = _gathered(batch, event, types, scratch)
    own = {"_stream": stream, "_processed_at": batch.processed_at.isoformat()}
    files: dict[str, list[PartFile]] = {}
    with database(scratch) as connection:
        for place, rows in sorted(gathered.items()):
            name = f"{stream}_{rows.ids[0]}_{rows.ids[-1]}.parquet"
            target = scratch / place.taken_in / place.hour / place.type / name
            target.parent.mkdir(parents=True)
            lines = Lines(rows.file, columns_of(types.get(place.type)), rows.longest_bytes)
            to_parquet(connection, lines, own, target)
            rows.file.unlink()
            files.setdefault(place.taken_in, []).append(_file(stream, target, place, rows.ids))
    return Written(parts=tuple(_parts(stream, identities, files, scratch)))


def _gathered(
    batch: Batch, event: Event, types: Mapping[str, Columns], scratch: Path
) -> tuple[dict[Place, Rows], dict[str, list[str]]]:
    gathered: dict[Place, Rows] = {}
    identities: dict[str, list[str]] = {}
    held = 0
    for message in read_messages(Path(str(batch.file))):
        taken_in = hour_of(time_of(message.id))
        time, type_, values = _row(message, event, types, batch.processed_at)
        place = Place(taken_in, hour_of(time), type_)
        if place not in gathered:
            gathered[place] = Rows(scratch / f"{len(gathered)}.jsonl")
        rows = gathered[place]
        line = json.dumps(
            {"_message_id": message.id, "_timestamp": time.isoformat(), **values}, ensure_ascii=False
        )
        rows.add(message.id, f"{line}\n")
        identities.setdefault(taken_in, []).append(message.identity)
        held += len(line)
        if held > MOST_HELD_LETTERS:
            _spill(gathered.values())
            held = 0
    _spill(gathered.values())
    return gathered, identities


def _row(
    message: Message, event: Event, types: Mapping[str, Columns], instant: datetime
) -> tuple[datetime, str, dict[str, Any]]:
    try:
        row = parse(message, event, types, instant)
    except BrokenError as broken:
        time, values = quarantined(message, broken)
        return time, QUARANTINE, values
    return row.time, row.type, row.values


def _spill(gathered: Iterable[Rows]) -> None:
    for rows in gathered:
        if rows.held:
            rows.spill()


def _file(stream: str, target: Path, place: Place, ids: Sequence[str]) -> PartFile:
    first, last = ids[0], ids[-1]
    return PartFile(
        file=target, rows=len(ids), hour=place.hour, type=place.type, stream=stream, first=first, last=last
    )


def _parts(
    stream: str, identities: Mapping[str, list[str]], files: Mapping[str, list[PartFile]], scratch: Path
) -> Iterator[Part]:
    for hour, ours in sorted(identities.items()):
        first, last = (one.partition(" ")[0] for one in (ours[0], ours[-1]))
        listed = scratch / f"{stream}_{first}_{last}.ids.gz"
        write_identities(ours, listed)
        yield Part(
            hour=hour, messages=len(ours), first=first, last=last, ids=listed, files=tuple(files[hour])
        )
