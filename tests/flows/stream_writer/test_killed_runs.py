"""Runs that are killed: the next one goes on with the same batch, and nothing is written twice."""

from pathlib import Path

from larder.outcomes import Outcome
from tests.flows.stream_writer.runs import RUNNING, Written, running

MOMENTS = (
    ("read", RUNNING),
    ("read", Outcome.EXECUTED),
    ("write", RUNNING),
    ("write", Outcome.EXECUTED),
    ("ledger", "before"),
    ("ledger", "after"),
    ("hour", "before"),
    ("hour", "after"),
    ("acknowledge", "before"),
)
"""Where a run is killed: in each stage, between stages and actions, around each change that others see."""


def test_a_run_that_is_killed_anywhere_goes_on_with_the_same_bytes(written: Written, tmp_path: Path) -> None:
    written.put(300, broken=0.1)
    put_in = written.ids()
    counting: dict[str, str] = {}
    for title, outcome in MOMENTS:
        with running(written, (title, str(outcome))) as one:
            one.until(title, str(outcome))
            one.process.kill()
            one.process.join()
        assert written.pending() == len(put_in)
        assert counting.items() <= written.counting().items()
        counting = written.counting()
    last = written.run()
    assert last.error is None
    assert last.stages(Outcome.REUSED) == ["read", "write"]
    assert written.pending() == 0
    assert written.seen(tmp_path) == put_in
    assert written.folder() == undisturbed(written)


def undisturbed(written: Written) -> dict[str, bytes]:
    """What a run makes that nothing disturbs, of messages that were read at the same instant."""
    written.forget(but="read-")
    ran = written.run()
    assert (ran.error, ran.stages(Outcome.REUSED)) == (None, ["read"])
    return written.folder()


def test_a_killed_compaction_shows_every_event_once(written: Written, tmp_path: Path) -> None:
    for seed in (1, 2):
        written.put(50, seed=seed)
        assert written.run().error is None
    put_in = written.ids()
    for title, outcome in (
        ("compact", RUNNING),
        ("compact", "executed"),
        ("hour", "before"),
        ("hour", "after"),
    ):
        with running(written, (title, outcome), compact=True) as one:
            one.until(title, outcome)
            one.process.kill()
            one.process.join()
        assert written.seen(tmp_path) == put_in
    assert written.run(compact=True).error is None
    assert written.seen(tmp_path) == put_in
    assert written.foresee(compact=True).nothing_to_do
