"""A hundred thousand events, a tenth broken, fifty kills: minutes, only where LARDER_TEST_LONG is set."""

import os
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from flows.stream_writer.generator import made_up, send
from flows.stream_writer.streams import connected
from tests.flows.stream_writer.runs import Written, running

EVENTS, KILLS, BROKEN = 100_000, 50, 0.1
NEVER = ("never", "never")

pytestmark = pytest.mark.skipif("LARDER_TEST_LONG" not in os.environ, reason="LARDER_TEST_LONG is not set")


@pytest.mark.timeout(3600)
def test_every_event_is_seen_once_after_fifty_kills(written: Written, tmp_path: Path) -> None:
    limits = written.configuration.limits.model_copy(update={"batch_messages": 700})
    busy = Written(written.url, written.configuration.model_copy(update={"limits": limits}))
    random, told = Random(7), Random(8)
    events = made_up(EVENTS, busy.configuration.streams, BROKEN)
    redis = connected(busy.url)
    killed = rounds = 0
    while killed < KILLS:
        send(redis, islice(events, EVENTS // KILLS))
        rounds += 1
        compact = rounds % 6 == 5
        with running(busy, NEVER, compact=compact) as one:
            said = [one.told.recv()]
            for _ in range(random.randrange(0, 6 if compact else 40)):
                if not isinstance(said[-1], tuple):
                    break
                said.append(one.told.recv())
            killed += isinstance(said[-1], tuple)
            one.process.kill()
            one.process.join()
        if told.random() < 0.2:
            seen = busy.seen(tmp_path)
            assert len(seen) == len(set(seen))
    send(redis, events)
    put_in = busy.ids()
    assert len(put_in) == EVENTS
    assert busy.run().error is None
    assert busy.pending() == 0
    assert busy.seen(tmp_path) == put_in
    assert busy.run(compact=True).error is None
    assert busy.seen(tmp_path) == put_in
