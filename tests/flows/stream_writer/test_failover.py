"""A real Redis fails over to a replica that lacks the last messages and acknowledgements."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.stream_writer.messages import id_of
from flows.stream_writer.streams import Stream, connected
from tests import services
from tests.flows.stream_writer.world import Steps, World
from tests.services import Valkey


@contextmanager
def server(home: Path) -> Iterator[Valkey]:
    """A server of this test alone, which may be killed."""
    one = services.valkey_in(home)
    one.daemon.start()
    try:
        one.daemon.wait(services.START_SECONDS)
        yield one
    finally:
        one.daemon.stop()


def test_nothing_is_lost_or_written_twice_when_a_replica_takes_over(tmp_path: Path) -> None:
    with server(tmp_path / "first") as first, server(tmp_path / "second") as second:
        world = World(first.url, "posts", tmp_path)
        host, port = first.url.removeprefix("redis://").removesuffix("/0").split(":")
        replica = connected(second.url)
        replica.execute_command("REPLICAOF", host, port)
        world.put_many(4)
        world.run("writer", 2, Steps(), batches=1)
        assert world.redis.wait(1, 60_000) == 1
        replica.execute_command("REPLICAOF", "NO", "ONE")
        world.put_many(3)
        world.run("writer", 50, Steps())
        assert Stream(world.redis, "posts", "larder", "writer").position().pending == 0
        first.daemon.stop()
        world.url, world.redis = second.url, replica
        held = {id_.decode() for id_, _ in replica.execute_command("XRANGE", "posts", "-", "+")}
        assert held.isdisjoint(sorted(map(id_of, world.put_in))[-3:])
        assert Stream(replica, "posts", "larder", "writer").position().lag == 2
        world.put_many(2)
        world.run("writer", 50, Steps())
        assert world.visible() == Counter(map(id_of, world.put_in))
        assert Stream(replica, "posts", "larder", "writer").position().pending == 0
