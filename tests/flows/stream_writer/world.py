"""Writers of one bucket and one Redis that can be killed at every step, and what a reader then sees."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from flows.stream_writer import compaction, taking
from flows.stream_writer.commit import Commit
from flows.stream_writer.declared import Compaction, Configuration, Limits
from flows.stream_writer.hours import Hours, ReplacedError, file_name
from flows.stream_writer.ledger import Ledger
from flows.stream_writer.messages import Message
from flows.stream_writer.stages.compact import compact
from flows.stream_writer.stages.read import MovedError, read
from flows.stream_writer.stages.write import write
from flows.stream_writer.streams import Stream, connected
from larder import keys, transfer
from larder.artifacts import Artifact, replace_files
from larder.store import Store
from tests.flows.stream_writer.memory import Memory

NAME = "posts"
DAY = "2026-01-01"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FIRST_MILLISECOND = int(datetime(2026, 1, 1, 10, 30, tzinfo=UTC).timestamp() * 1000)
TYPES = {"post": {"text": "text", "n": "json"}, "like": {"uri": "text"}}
BROKEN = (
    b"{",
    b"[]",
    b'{"type": "post"}',
    b'{"type": "like", "time": "2026-01-01T10:00:00Z", "uri": 1}',
    b"\xff",
)
AT_ONCE = Compaction(settled_minutes=0, keep_hours=0)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Steps:
    """Counts what changes the world; at one step the process dies, at another somebody else goes first."""

    left: int | None = None
    others: dict[int, Callable[[], None]] = field(default_factory=dict)
    taken: int = 0

    def __call__(self) -> None:
        self.taken += 1
        if (other := self.others.pop(self.taken, None)) is not None:
            other()
        if self.left is not None and self.taken >= self.left:
            raise Killed


@dataclass
class Process:
    """One writer while it lives."""

    world: "World"
    consumer: str
    steps: Steps
    limit: int

    def __post_init__(self) -> None:
        self.store = Store(Memory(self.world.objects, self.steps), "bucket")
        redis = connected(self.world.url)
        ask = redis.execute_command

        def stepping(*words: Any, **options: Any) -> Any:
            self.steps()
            answer = ask(*words, **options)
            self.steps()
            return answer

        redis.execute_command = stepping  # type: ignore[method-assign]
        self.stream = Stream(redis, self.world.name, "larder", self.consumer)

    def between(self, stream: str, ids: Any) -> Any:
        return self.stream.between(ids)

    def now(self) -> datetime:
        self.world.instant += timedelta(seconds=1)
        return self.world.instant

    def fetch(self, *words: Any) -> None:
        Hours(self.store).fetch(*words)

    def persisted(self, key: Hashable, make: Callable[[Path], Any]) -> Any:
        """What a stage made, once for a key."""
        if key not in self.world.results:
            made = make(Path(tempfile.mkdtemp(dir=self.world.scratch)))
            stored = replace_files(made, self._put)
            self.steps()
            self.world.results[key] = stored
        return self.world.results[key]

    def batch(self) -> bool:
        """What the pipeline does with one batch; whether there was one."""
        stream, world = self.stream, self.world
        configuration = world.configuration(self.limit)
        taken = taking.pending(stream, self.limit)
        if not taken.ids:
            taken = taking.take(stream, configuration)
        if not taken.ids:
            return False
        ledger = Ledger(self.store, stream.name)
        if taken.pages:
            batch = self.persisted(
                ("read", taken.pages), lambda scratch: read(stream.name, taken.pages, self, scratch)
            )
            local = batch.model_copy(update={"file": self._get(batch.file)})
            event, types = configuration.event, configuration.types
            written = self.persisted(
                ("write", keys.digest(batch.model_dump(mode="json")), str(types)),
                lambda scratch: write(stream.name, local, event, types, scratch),
            )
            commit = Commit(self.store, stream.name, Path(tempfile.mkdtemp(dir=world.scratch)))
            if commit.look(written.parts) is None:
                commit.act(written.parts)
        world.lost.update(ledger.unknown(taken.gone))
        stream.acknowledge(taking.written(taken, ledger))
        if bound := taking.removable(stream, NOW + timedelta(days=1)):
            taking.trim(stream, ledger, bound, 1000)
        return True

    def compact(self) -> None:
        """What the nightly pipeline does."""
        hours = Hours(self.store)
        ledger_hours = Ledger(self.store, self.world.name).hours(DAY)
        commit = Commit(self.store, self.world.name, self.world.scratch)
        for hour in ledger_hours:
            for event_hour, files in commit.unsettled(hour).items():
                hours.add(event_hour, files)
        for one in compaction.crowded(hours, AT_ONCE, NOW):
            made = self.persisted(
                ("compact", keys.digest(one.model_dump(mode="json"))),
                lambda scratch, one=one: compact(one.hour, one.files, hours, scratch),
            )
            compaction.replace(hours, made)
        for name in list(compaction.replaced(hours, AT_ONCE, NOW + timedelta(days=1))):
            self.store.delete(name)

    def _put(self, path: Path | Artifact, rows: int | None) -> Artifact:
        return transfer.put_artifact(self.store, "tests", Path(str(path)), rows)

    def _get(self, artifact: Artifact) -> Path:
        path = self.world.scratch / artifact.sha256
        transfer.fetch(self.store, artifact, path)
        return path


@dataclass
class World:
    """What outlives every process."""

    url: str
    name: str
    scratch: Path
    objects: dict[str, bytes] = field(default_factory=dict)
    results: dict[Hashable, Any] = field(default_factory=dict)
    put_in: dict[str, str] = field(default_factory=dict)
    """Identity of every event that was put in, and whether it is to be seen: `once`, or `maybe`."""
    lost: set[str] = field(default_factory=set)
    instant: datetime = NOW
    version: int = 0
    clock: int = FIRST_MILLISECOND
    claim_after_seconds: float = 0
    types: dict[str, dict[str, str]] = field(default_factory=lambda: dict(TYPES))
    seen: dict[str, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.redis = connected(self.url)
        self.reader = duckdb.connect(":memory:", config={"threads": 1})

    def configuration(self, limit: int) -> Configuration:
        types = self.types if self.version % 2 == 0 else {**self.types, "follow": {"did": "text"}}
        return Configuration(
            streams=(self.name,),
            types=types,
            claim_after_seconds=self.claim_after_seconds,
            limits=Limits(batch_messages=limit),
        )

    def put(self, minutes: int, late_hours: int, kind: str, number: int) -> str:
        """An event that Redis takes in some minutes after the last one; its id."""
        self.clock += minutes * 60_000 + 1
        time = datetime.fromtimestamp(self.clock / 1000, UTC) - timedelta(hours=late_hours)
        event = {
            "type": kind,
            "time": time.isoformat(),
            "uri": "at",
            "did": "me",
            "n": [None, number, {"a": number}][number % 3],
        }
        payload = BROKEN[number % len(BROKEN)] if kind == "broken" else json.dumps(event).encode()
        fields = ((b"event", payload),)
        self.redis.xadd(self.name, {b"event": payload}, id=f"{self.clock}-0")
        self.put_in[Message(f"{self.clock}-0", fields).identity] = "once"
        return f"{self.clock}-0"

    def put_many(self, count: int) -> None:
        """Posts, a second apart and more."""
        for number in range(count):
            self.put(0, 0, "post", number)

    def visible(self) -> Counter[str]:
        """The ids of all rows that a reader of the folder sees."""
        hours, found = Hours(Store(Memory(self.objects), "bucket")), Counter()
        for hour in hours.all():
            for file in hours.document(hour).files:
                found += self._ids(file_name(hour, file))
        return found

    def _ids(self, name: str) -> Counter[str]:
        if name not in self.seen:
            path = self.scratch / f"{len(self.seen)}.parquet"
            path.write_bytes(self.objects[name])
            rows = self.reader.execute("select _message_id from read_parquet(?)", [str(path)]).fetchall()
            self.seen[name] = Counter(id_ for (id_,) in rows)
        assert name in self.objects, name
        return self.seen[name]

    def run(self, consumer: str, limit: int, steps: Steps, batches: int = 99) -> None:
        """A writer, until nothing is left, or until it dies."""
        with suppress(Killed, MovedError):
            process = Process(self, consumer, steps, limit)
            for _ in range(batches):
                if not process.batch():
                    break

    def compact(self, steps: Steps) -> None:
        with suppress(Killed, ReplacedError):
            Process(self, "compaction", steps, 1).compact()
