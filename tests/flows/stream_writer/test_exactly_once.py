"""Every event is seen once: random events, kills at every step, two writers, claims, trims, failovers."""

import tempfile
import uuid
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from flows.stream_writer.messages import id_of
from flows.stream_writer.streams import Stream
from tests.flows.stream_writer.world import Steps, World
from tests.services import Valkey

CONSUMERS = st.sampled_from(["writer", "writer-2"])
LIMITS = st.sampled_from([2, 5, 50])
STEP = st.integers(1, 30) | st.integers(1, 120)
COMPACTION_STEP = st.integers(1, 15)
EVENT = st.tuples(
    st.sampled_from([0, 0, 0, 5, 40]),
    st.sampled_from([0, 0, 1]),
    st.sampled_from(["post", "post", "like", "follow", "broken"]),
    st.integers(0, 9),
)


class Writers(RuleBasedStateMachine):
    """Anything that may happen to a stream, its writers and their bucket."""

    url = ""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(self.url, f"s{uuid.uuid4().hex}", Path(self.folder.name))
        self.copy: bytes | None = None
        self.owed: set[str] = set()
        """What another group has not acknowledged, and is to find."""

    @rule(events=st.lists(EVENT, min_size=1, max_size=8))
    def put(self, events: list[tuple[int, int, str, int]]) -> None:
        for event in events:
            self.owed.add(self.world.put(*event))

    @rule(consumer=CONSUMERS, limit=LIMITS)
    def write(self, consumer: str, limit: int) -> None:
        self.world.run(consumer, limit, Steps())

    @rule(consumer=CONSUMERS, limit=LIMITS, step=STEP)
    def write_and_die(self, consumer: str, limit: int, step: int) -> None:
        self.world.run(consumer, limit, Steps(left=step))

    @rule(
        first=CONSUMERS,
        second=CONSUMERS,
        limit=LIMITS,
        step=STEP,
        dies=STEP | st.none(),
        other_dies=STEP | st.none(),
    )
    def two_write(
        self, first: str, second: str, limit: int, step: int, dies: int | None, other_dies: int | None
    ) -> None:
        def other() -> None:
            self.world.run(second, limit, Steps(left=other_dies))

        self.world.run(first, limit, Steps(left=dies and dies + step, others={step: other}))

    @rule(step=COMPACTION_STEP | st.none())
    def compact(self, step: int | None) -> None:
        self.world.compact(Steps(left=step))

    @rule(step=STEP, dies=COMPACTION_STEP | st.none(), consumer=CONSUMERS)
    def compact_beside_a_writer(self, step: int, dies: int | None, consumer: str) -> None:
        self.world.run(consumer, 5, Steps(others={step: lambda: self.world.compact(Steps(left=dies))}))

    @rule(step=COMPACTION_STEP, consumer=CONSUMERS, dies=STEP | st.none())
    def write_beside_a_compaction(self, step: int, consumer: str, dies: int | None) -> None:
        def other() -> None:
            self.world.run(consumer, 5, Steps(left=dies))

        self.world.compact(Steps(others={step: other}))

    @rule(step=COMPACTION_STEP, dies=COMPACTION_STEP | st.none(), events=st.lists(EVENT, max_size=4))
    def two_compact(self, step: int, dies: int | None, events: list[tuple[int, int, str, int]]) -> None:
        def other() -> None:
            self.put(events)
            self.world.run("writer", 2, Steps())
            self.world.compact(Steps(left=dies))

        self.world.compact(Steps(others={step: other}))

    @rule()
    def declare_another_type(self) -> None:
        self.world.version += 1

    @rule(count=st.integers(0, 5))
    def another_group_reads(self, count: int) -> None:
        other = Stream(self.world.redis, self.world.name, "others", "reader")
        if not other.is_joined():
            other.join()
            self.owed = self.in_stream()
        other.give(count, 10**6)
        read = [message.id for message in other.own(max(0, count - 1))]
        other.acknowledge(read)
        self.owed -= set(read)

    def in_stream(self) -> set[str]:
        """The ids that Redis holds."""
        found = self.world.redis.execute_command("XRANGE", self.world.name, "-", "+")
        return {id_.decode() for id_, _ in found}

    @rule()
    def copy_to_a_replica(self) -> None:
        self.copy = self.world.redis.dump(self.world.name)
        self.at_copy = set(self.world.put_in), set(self.owed)

    @rule()
    def fail_over(self) -> None:
        if self.copy is None:
            return
        self.world.redis.restore(self.world.name, 0, self.copy, replace=True)
        for identity in self.world.put_in.keys() - self.at_copy[0]:
            self.world.put_in[identity] = "maybe"
        self.owed = set(self.at_copy[1]) & self.in_stream()

    @rule(which=st.integers(0, 5))
    def delete(self, which: int) -> None:
        found = self.world.redis.execute_command("XRANGE", self.world.name, "-", "+", "COUNT", which + 1)
        if found:
            gone = found[-1][0].decode()
            self.owed.discard(gone)
            self.world.redis.xdel(self.world.name, gone)
            for identity in self.world.put_in:
                if id_of(identity) == gone:
                    self.world.put_in[identity] = "maybe"

    @invariant()
    def nobody_sees_an_event_twice(self) -> None:
        seen = self.world.visible()
        assert not {id_: times for id_, times in seen.items() if times > 1}
        assert seen.keys() <= {id_of(identity) for identity in self.world.put_in}

    @invariant()
    def another_group_finds_what_it_has_not_acknowledged(self) -> None:
        if Stream(self.world.redis, self.world.name, "others", "reader").is_joined():
            assert self.owed <= self.in_stream()

    def teardown(self) -> None:
        self.world.compact(Steps())
        for consumer in ("writer", "writer-2", "writer"):
            self.world.run(consumer, 50, Steps())
        self.world.compact(Steps())
        seen = self.world.visible()
        expected = Counter(
            id_of(identity) for identity, times in self.world.put_in.items() if times == "once"
        )
        surplus = seen - expected
        assert not expected - seen
        assert surplus.keys() <= {id_of(one) for one, times in self.world.put_in.items() if times == "maybe"}
        assert not {id_: times for id_, times in seen.items() if times > 1}
        self.world.redis.delete(self.world.name)
        self.folder.cleanup()


def test_every_event_is_seen_once_whatever_happens(valkey: Valkey) -> None:
    Writers.url = valkey.url
    run_state_machine_as_test(
        Writers,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
