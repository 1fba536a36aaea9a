"""What Redis may do to a stream, and what the writer makes of it."""

import json
from datetime import timedelta

import pytest

from flows.stream_writer import taking
from flows.stream_writer.ledger import Ledger
from flows.stream_writer.messages import id_of
from flows.stream_writer.streams import Stream
from larder.store import Store
from tests.flows.stream_writer.memory import Memory
from tests.flows.stream_writer.world import NOW, Steps, World

LATER = NOW + timedelta(days=1)


def stream_of(world: World, group: str = "larder", consumer: str = "writer") -> Stream:
    return Stream(world.redis, world.name, group, consumer)


def ledger_of(world: World) -> Ledger:
    return Ledger(Store(Memory(world.objects), "bucket"), world.name)


def expected(world: World) -> list[str]:
    return sorted(map(id_of, world.put_in))


def seen(world: World) -> list[str]:
    return sorted(world.visible().elements())


def test_messages_of_a_dead_consumer_are_claimed(world: World) -> None:
    world.put_many(7)
    other = stream_of(world, consumer="gone")
    other.join()
    other.give(5, 10**6)
    world.run("writer", 50, Steps())
    assert seen(world) == expected(world)
    assert stream_of(world).position().pending == 0


def test_messages_of_a_busy_consumer_are_left_alone(world: World) -> None:
    world.put_many(7)
    other = stream_of(world, consumer="busy")
    other.join()
    other.give(5, 10**6)
    world.claim_after_seconds = 3600
    world.run("writer", 50, Steps())
    assert seen(world) == expected(world)[5:]
    assert stream_of(world).position().pending == 5


def test_only_what_every_group_has_acknowledged_is_trimmed(world: World) -> None:
    world.put_many(6)
    others = stream_of(world, "others", "reader")
    others.join()
    others.give(4, 10**6)
    others.acknowledge(expected(world)[:2])
    world.run("writer", 50, Steps())
    assert stream_of(world).first() == expected(world)[2]
    others.acknowledge(expected(world)[2:4])
    world.run("writer", 50, Steps())
    assert stream_of(world).first() == expected(world)[2]
    bound = taking.removable(stream_of(world), LATER)
    assert bound is not None
    taking.trim(stream_of(world), ledger_of(world), bound, 100)
    assert stream_of(world).first() == expected(world)[4]


def test_what_a_person_skipped_is_not_trimmed(world: World) -> None:
    world.put_many(3)
    stream = stream_of(world)
    stream.join()
    world.redis.xgroup_setid(world.name, "larder", expected(world)[1])
    world.run("writer", 50, Steps())
    assert seen(world) == expected(world)[2:]
    assert stream.position().length == 3


def test_what_was_written_and_comes_again_is_not_written_again(world: World) -> None:
    world.put_many(5)
    stream_of(world).join()
    before = world.redis.dump(world.name)
    world.run("writer", 3, Steps())
    world.redis.restore(world.name, 0, before, replace=True)
    world.put_many(2)
    world.run("writer-2", 4, Steps())
    assert seen(world) == expected(world)
    assert stream_of(world).position().pending == 0


def test_a_group_that_was_lost_is_made_again(world: World) -> None:
    world.put_many(4)
    world.run("writer", 2, Steps(), batches=1)
    world.redis.xgroup_destroy(world.name, "larder")
    world.run("writer", 50, Steps())
    assert seen(world) == expected(world)


def test_another_event_under_the_id_of_one_that_redis_lost_is_written_too(world: World) -> None:
    stream_of(world).join()
    before = world.redis.dump(world.name)
    world.put(1, 0, "post", 1)
    world.run("writer", 50, Steps())
    world.redis.restore(world.name, 0, before, replace=True)
    world.clock -= 60_001
    world.put(1, 0, "post", 2)
    world.run("writer", 50, Steps())
    assert len(world.put_in) == 2
    assert seen(world) == expected(world)


def test_a_message_that_was_deleted_before_it_was_read_is_told_and_acknowledged(world: World) -> None:
    world.put_many(3)
    stream = stream_of(world)
    stream.join()
    stream.give(3, 10**6)
    gone = expected(world)[1]
    world.redis.xdel(world.name, gone)
    world.run("writer", 50, Steps())
    assert world.lost == {gone}
    assert seen(world) == [id_ for id_ in expected(world) if id_ != gone]
    assert stream.position().pending == 0


def test_a_message_that_was_written_and_then_deleted_is_not_told_as_lost(world: World) -> None:
    world.put_many(2)
    stream_of(world).join()
    before = world.redis.dump(world.name)
    world.run("writer", 50, Steps())
    world.redis.restore(world.name, 0, before, replace=True)
    stream_of(world).give(2, 10**6)
    world.redis.xdel(world.name, expected(world)[0])
    world.run("writer", 50, Steps())
    assert world.lost == set()
    assert seen(world) == expected(world)


@pytest.mark.parametrize("size", [10, 200_000])
def test_how_much_is_taken_is_bounded_in_messages_and_bytes(world: World, size: int) -> None:
    event = json.dumps({"type": "post", "text": "x" * size})
    for number in range(60):
        world.redis.xadd(world.name, {"event": event}, id=f"{number + 1}-0")
    stream = stream_of(world)
    stream.join()
    given = stream.give(50, 2 * 10**6)
    assert given == (50 if size == 10 else 16)
    taken = taking.pending(stream, 20)
    assert len(taken.identities) == min(20, given)


def test_messages_between_those_of_others_are_read_exactly(world: World) -> None:
    world.put_many(90)
    wanted = expected(world)[::7]
    assert [message.id for message in stream_of(world).between(wanted)] == wanted
    world.redis.xdel(world.name, wanted[3])
    assert [one.id for one in stream_of(world).between(wanted)] == [*wanted[:3], *wanted[4:]]
