"""What a run does again, and that a forecast says so before."""

import uuid
from pathlib import Path
from typing import Any

from flows.stream_writer import metrics
from flows.stream_writer.declared import Kind, Limits
from flows.stream_writer.ledger import Ledger
from flows.stream_writer.messages import hour_of, time_of
from flows.stream_writer.streams import Stream, connected
from larder.connection import open_store
from larder.forecast import Will
from larder.outcomes import Outcome
from larder.settings import settings
from tests.flows.stream_writer.runs import Ran, Written

LETTERS = {Outcome.EXECUTED: "X", Outcome.REUSED: "R", Outcome.HEALED: "H", Outcome.FAILED: "F"}


def changed(written: Written, **changes: Any) -> Written:
    return Written(written.url, written.configuration.model_copy(update=changes))


def row(ran: Ran) -> str:
    """What became of read and write, and how many messages were written for the first time."""
    letters = "".join(
        LETTERS[step.outcome] for step in sorted(ran.steps, key=lambda step: step.stage) if step.outcome
    )
    if ran.told is None:
        return letters
    return f"{letters} {sum(one.written for one in ran.told.streams.values())}"


def come_again(written: Written) -> None:
    """Redis forgets what was acknowledged."""
    for name in written.configuration.streams:
        connected(written.url).xgroup_setid(name, written.configuration.group, "0")


def test_what_was_finished_is_reused_and_nothing_is_written_twice(written: Written, tmp_path: Path) -> None:
    written.put(40, broken=0.2)
    assert row(written.run(fail_at="write")) == "XF"
    foreseen = {entry.stage: entry.will for entry in written.foresee().entries}
    assert foreseen["read"] is Will.REUSE
    assert foreseen["write"] is Will.RUN
    assert foreseen["commit"] is Will.UNKNOWN
    assert row(written.run()) == "RX 40"
    assert written.foresee().nothing_to_do

    come_again(written)
    assert row(written.run()) == "RR 0"

    come_again(written)
    types = {**written.configuration.types, "post": {"text": Kind.TEXT}, "poke": {"did": Kind.TEXT}}
    assert row(changed(written, types=types).run()) == "RX 0"

    come_again(written)
    small = written.configuration.limits.model_copy(update={"batch_messages": 25})
    assert row(changed(written, limits=small).run()) == "XXXX 0"

    assert written.foresee().nothing_to_do
    assert written.seen(tmp_path) == written.ids()


def test_a_damaged_batch_is_read_again_and_a_dead_consumers_batch_goes_on(
    written: Written, tmp_path: Path
) -> None:
    written.put(20)
    dead = changed(written, consumer="dead")
    assert row(dead.run(fail_at="write")) == "XF"
    assert row(changed(written, claim_after_seconds=0).run()) == "RX 20"

    written.put(20, seed=2)
    written.run(fail_at="write")
    store = open_store(settings())
    for stored in store.below("artifacts/"):
        if stored.name.endswith(".jsonl.gz"):
            store.delete(stored.name)
    assert row(written.run()) == "HX 20"
    assert written.seen(tmp_path) == written.ids()


def test_a_run_ends_at_its_limits_and_says_what_is_left(written: Written) -> None:
    written.put(60)
    limits = Limits(messages=30, batch_messages=20)
    told = changed(written, limits=limits).run().told
    assert told is not None
    (one,) = told.streams.values()
    assert (one.batches, one.messages, one.left and one.left.lag) == (2, 40, 20)
    told = changed(written, limits=Limits(seconds=1e-6)).run().told
    assert told is not None
    (one,) = told.streams.values()
    assert (one.batches, one.left and one.left.lag) == (0, 20)


def test_a_stream_that_fails_does_not_stop_the_others(written: Written) -> None:
    folder = settings().home / "metrics"
    folder.mkdir(parents=True)
    names = tuple(f"s{uuid.uuid4().hex[:8]}_{kind}" for kind in ("posts", "likes"))
    both = changed(written, streams=names)
    both.put(30)
    first, second = (Stream(connected(written.url), name, "larder", "writer") for name in names)
    id_ = connected(written.url).execute_command("XRANGE", names[0], "-", "+", "COUNT", 1)[0][0].decode()
    store = open_store(settings())
    document = Ledger(store, names[0]).name(hour_of(time_of(id_)))
    store.write(document, b"{}", "application/json")
    ran = both.run()
    assert "is damaged: it is no LedgerDocument of ours" in str(ran.error)
    assert first.position().pending > 0
    assert second.position().pending == 0
    assert second.position().lag == 0
    store.delete(document)
    assert both.run().error is None
    assert first.position().pending == 0
    left = [
        one
        for file in folder.glob(f"*{metrics.SUFFIX}")
        for one in metrics.ROWS.validate_json(file.read_bytes())
    ]
    assert sorted((one.stream, one.written) for one in left) == sorted(
        [
            (names[0], 0),
            (names[0], first.position().length),
            (names[1], second.position().length),
            (names[1], 0),
        ]
    )
