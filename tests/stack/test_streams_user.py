"""The Redis user of the stream writer: it does all that the writer does, and touches nothing else."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from redis.exceptions import NoPermissionError

from flows.stream_writer.streams import connected
from larder.settings import CHECKOUT
from tests.flows.stream_writer.world import Steps, World
from tests.services import Valkey

KEYS = "bluesky_*"


@pytest.fixture
def url(valkey: Valkey) -> Iterator[str]:
    """Where the user of the compose file logs in."""
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    (script,) = compose["services"]["redis"]["command"]
    found = re.search(r"^\s*user (streams) (.*)$", script, re.MULTILINE)
    assert found is not None
    rules = found[2].replace("$$STREAMS_PASSWORD", "secret").replace("$$STREAM_KEYS", KEYS).split()
    root = connected(valkey.url)
    assert root.execute_command("ACL", "SETUSER", "streams", "reset", *rules)
    yield valkey.url.replace("redis://", "redis://streams:secret@")
    root.execute_command("ACL", "DELUSER", "streams")


def test_it_may_do_all_that_the_writer_does(url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(url, f"bluesky_{Path(folder).name}", Path(folder))
        world.put_many(5)
        world.run("writer", 2, Steps())
        world.run("writer-2", 2, Steps())
        assert sorted(world.visible().values()) == [1] * 5
        assert world.redis.xlen(world.name) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("GET", "larder:lease"),
        ("SET", "larder:lease", "x"),
        ("DEL", "bluesky_posts"),
        ("XADD", "events", "*", "a", "b"),
        ("XRANGE", "events", "-", "+"),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "events", ">"),
        ("XTRIM", "events", "MAXLEN", "0"),
        ("XGROUP", "DESTROY", "bluesky_posts", "larder"),
        ("XGROUP", "SETID", "bluesky_posts", "larder", "$"),
        ("XDEL", "bluesky_posts", "1-0"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("EVAL", "return 1", "0"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("FLUSHALL",),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("SHUTDOWN",),
        ("PUBLISH", "bluesky_posts", "x"),
    ],
    ids=" ".join,
)
def test_it_may_touch_nothing_else(url: str, words: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        connected(url).execute_command(*words)
