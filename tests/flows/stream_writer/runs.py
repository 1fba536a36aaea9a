"""Runs of the pipeline in this process and in others, and what a reader of the bucket then sees."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from flows.stream_writer.declared import Configuration
from flows.stream_writer.flow import stream_writer
from flows.stream_writer.generator import made_up, send
from flows.stream_writer.hours import Hours, file_name
from flows.stream_writer.streams import Stream, connected
from flows.stream_writer.told import Told
from larder.connection import open_store
from larder.forecast import Forecast, forecast
from larder.outcomes import Outcome, Step, listening
from larder.settings import settings
from tests.processes import CONTEXT, Builder

RUNNING = "running"


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    steps: tuple[Step, ...]
    told: Told | None
    error: Exception | None

    def stages(self, outcome: Outcome) -> list[str]:
        """The stages of which this became."""
        return [step.stage for step in self.steps if step.outcome is outcome]


@dataclass(frozen=True)
class Written:
    """Streams of their own in a Redis, and a bucket that they are written into."""

    url: str
    configuration: Configuration

    def put(self, events: int, broken: float = 0.0, seed: int = 1) -> None:
        """Made-up events."""
        send(connected(self.url), made_up(events, self.configuration.streams, broken, seed))

    def ids(self) -> list[str]:
        """The ids of all messages that are in the streams."""
        redis = connected(self.url)
        found = [redis.execute_command("XRANGE", name, "-", "+") for name in self.configuration.streams]
        return sorted(id_.decode() for messages in found for id_, _ in messages)

    def pending(self) -> int:
        """Messages that were given to somebody and are not acknowledged."""
        redis, group = connected(self.url), self.configuration.group
        streams = [Stream(redis, name, group, "test") for name in self.configuration.streams]
        return sum(stream.position().pending for stream in streams)

    def foresee(self, **options: Any) -> Forecast:
        """What a run that began now would do."""
        now = settings()
        return forecast(stream_writer, {"configuration": self.configuration, **options}, now, open_store(now))

    def run(self, **options: Any) -> Ran:
        """Run it, whatever comes of it."""
        from larder.orchestration.flow import flow_of

        told, error = None, None
        with listening(lambda step: None) as audience:
            try:
                told = flow_of(stream_writer)(configuration=self.configuration, **options)
            except Exception as raised:  # noqa: BLE001
                error = raised
        return Ran(tuple(audience.runs[-1].outcomes.in_order), told, error)

    def seen(self, scratch: Path) -> list[str]:
        """The ids of all rows that a reader of the folder sees."""
        store = open_store(settings())
        hours, found = Hours(store), []
        for hour in hours.all():
            for file in hours.document(hour).files:
                path = scratch / file.name
                store.get_file(file_name(hour, file), path, file.sha256, file.bytes, file.etag)
                found += duckdb.sql(f"select _message_id from read_parquet('{path}')").fetchall()
        return sorted(id_ for (id_,) in found)

    def folder(self) -> dict[str, bytes]:
        """All objects below `streams/`."""
        store = open_store(settings())
        return {one.name: store.read(one.name, one.size)[0] for one in store.below("streams/")}

    def forget(self, but: str) -> None:
        """Remove everything from the bucket but some results and what they name, and the group from Redis."""
        store = open_store(settings())
        results = [one for one in store.below("results/") if but in one.name]
        named = b"".join(store.read(one.name, one.size)[0] for one in results).decode()
        kept = {one.name for one in results}
        for stored in store.below(""):
            if stored.name not in kept and stored.name not in named:
                store.delete(stored.name)
        for name in self.configuration.streams:
            connected(self.url).xgroup_destroy(name, self.configuration.group)

    def counting(self) -> dict[str, str]:
        """The sha256 of every file that counts, by its object's name."""
        hours = Hours(open_store(settings()))
        return {
            file_name(hour, file): file.sha256 for hour in hours.all() for file in hours.document(hour).files
        }


@contextmanager
def running(written: Written, hold_at: tuple[str, str], **options: Any) -> Iterator[Builder]:
    """A process that runs it. It stands still where it says `hold_at`: a step's title and outcome."""
    ours, theirs = CONTEXT.Pipe()
    environment = {name: value for name, value in os.environ.items() if name.startswith("LARDER_")}
    given = (environment, written.configuration.model_dump_json(), hold_at, options, theirs)
    process = CONTEXT.Process(target=_run_there, args=given)
    process.start()
    theirs.close()
    try:
        yield Builder(process, ours)
    finally:
        process.kill()
        process.join()


def _run_there(
    environment: dict[str, str],
    configuration: str,
    hold_at: tuple[str, str],
    options: dict[str, Any],
    told: Connection,
) -> None:
    """Tell each step as it begins and ends, and each call that lets others see something."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.stream_writer import documents
    from larder.orchestration.flow import flow_of

    for name in [name for name in os.environ if name.startswith("LARDER_") and name not in environment]:
        del os.environ[name]
    os.environ.update(environment)
    guard, swap, ack = threading.Lock(), documents.swap, Stream.acknowledge

    def say(title: str, outcome: str) -> None:
        with guard:
            told.send((title, outcome))
        if (title, outcome) == hold_at:
            told.recv()

    def swapping(store: Any, name: str, content: bytes, etag: str | None) -> bool:
        what = "ledger" if "_ledger" in name else "hour"
        say(what, "before")
        swapped = swap(store, name, content, etag)
        say(what, "after")
        return swapped

    def acknowledging(stream: Stream, ids: Any) -> int:
        say("acknowledge", "before")
        return ack(stream, ids)

    documents.swap = swapping
    Stream.acknowledge = acknowledging  # type: ignore[method-assign]
    error = None
    hear = lambda step: say(step.stage, str(step.outcome or RUNNING))  # noqa: E731
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), listening(hear):
        try:
            flow_of(stream_writer)(configuration=Configuration.model_validate_json(configuration), **options)
        except Exception as raised:  # noqa: BLE001
            error = raised
    told.send({"error": str(error) if error else None})
