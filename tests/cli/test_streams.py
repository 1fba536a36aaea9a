"""`larder streams` fills the streams that the pipeline reads."""

import pytest

from cli.main import main
from flows.stream_writer.flow import CONFIGURATIONS
from flows.stream_writer.generator import made_up
from flows.stream_writer.streams import connected
from tests.services import Valkey


def test_generated_events_are_in_the_streams_of_the_configuration(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = valkey.url.removesuffix("/0") + "/9"
    monkeypatch.setenv("LARDER_STREAMS_URL", url)
    assert main(["streams", "generate", "--events", "40", "--broken", "0.5", "--seed", "3"]) == 0
    assert "40 events sent to bluesky_posts" in capsys.readouterr().out
    redis, names = connected(url), CONFIGURATIONS.read("default").streams
    assert sum(redis.xlen(name) for name in names) == 40
    redis.flushdb()


def test_without_a_redis_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LARDER_STREAMS_URL", "LARDER_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["streams", "generate"]) == 2
    assert "LARDER_STREAMS_URL" in capsys.readouterr().err


def test_equal_seeds_make_equal_events() -> None:
    at = CONFIGURATIONS.read("default").event.earliest
    first, again, other = (list(made_up(50, ["a_posts", "a_likes"], 0.2, seed, at)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
