"""What a run of the stream writer came to, for programs and for people."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flows.stream_writer.batch import Written
from flows.stream_writer.declared import QUARANTINE
from flows.stream_writer.told import StreamTold, Told
from larder.report import Ended, Link, Report, table

MOST_LOST = 10
"""Ids that are shown of messages that nobody could read."""


class StreamReport(Report):
    """The document, lines and page of a run."""

    def __init__(self) -> None:
        super().__init__(sections)

    def document(self, ended: Ended) -> dict[str, Any]:
        """The document that `--json` prints, with what became of each stream."""
        told = ended.value if isinstance(ended.value, Told) else Told()
        return {**super().document(ended), **told.model_dump(mode="json")}

    def end(self, document: Mapping[str, Any]) -> Iterator[str]:
        """What became of each stream and what it has left, or of the hours."""
        for name, one in document["streams"].items():
            left = one["left"] or {"lag": 0, "pending": 0}
            lag = "some" if left["lag"] is None else f"{left['lag']:,}"
            yield (
                f"{name}: {one['written']:,} of {one['messages']:,} messages written now, "
                f"{one['quarantined']:,} in quarantine, {one['files']:,} files; "
                f"left: {lag} unread, {left['pending']:,} pending"
            )
            if one["lost"]:
                yield f"{name}: {_lost(one['lost'])}"
        if not document["streams"]:
            yield (
                f"{document['hours_compacted']:,} hours compacted into {document['files_replaced']:,} files; "
                f"{document['files_swept']:,} replaced files removed"
            )


def sections(ended: Ended, link: Link) -> Iterable[str]:  # noqa: ARG001
    """The streams, the hours that got files, and what was lost."""
    told = ended.value if isinstance(ended.value, Told) else Told()
    if told.streams:
        header = ("stream", "batches", "messages", "written now", "quarantine", "files", "unread", "pending")
        yield "## Streams\n\n" + table(header, [_row(name, one) for name, one in told.streams.items()])
    for name, one in told.streams.items():
        if one.lost:
            yield f"## {name} lost messages\n\n{_lost(one.lost)}"
    hours: dict[tuple[str, str], int] = {}
    for value in ended.values.values():
        if isinstance(value, Written):
            for file in (file for part in value.parts for file in part.files):
                type_ = "quarantine" if file.type == QUARANTINE else file.type
                hours[file.hour, type_] = hours.get((file.hour, type_), 0) + file.rows
    if hours:
        rows = [(hour, type_, f"{count:,}") for (hour, type_), count in sorted(hours.items())]
        yield "## Hours\n\n" + table(("hour (UTC)", "type", "events in this run's batches"), rows[-200:])


def _row(name: str, one: StreamTold) -> tuple[str, ...]:
    counts = (one.batches, one.messages, one.written, one.quarantined, one.files)
    left = ("", "") if one.left is None else ("some" if one.left.lag is None else f"{one.left.lag:,}",)
    pending = () if one.left is None else (f"{one.left.pending:,}",)
    return (name, *(f"{count:,}" for count in counts), *left, *pending)


def _lost(ids: Iterable[str]) -> str:
    lost = list(ids)
    shown = ", ".join(lost[:MOST_LOST]) + (", …" if len(lost) > MOST_LOST else "")
    return f"{len(lost):,} messages left the stream before anybody read them: {shown}"
