"""Runs that are killed, and runs beside each other: nothing finished is redone, nothing half is published."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from flows.activity.schema import Configuration
from tests.flows.activity.observed import FILES, STAGES, Observed
from tests.processes import CONTEXT, Builder

EXECUTED, RUNNING = "executed", "running"


WAVES = (
    {"users", "posts"},
    {"clean_users", "clean_posts"},
    {"enrich_posts", "user_activity", "export_users"},
    {"top_authors", "summary", "export_posts_enriched", "export_user_stats"},
    {"export_top_authors", "export_summary"},
)
"""The stages that run side by side, behind those that they wait for."""


@contextmanager
def running(observed: Observed, hold_at: set[str] | None = None) -> Iterator[Builder]:
    """A process that runs the pipeline. Held at stages, it stands in them with their leases."""
    ours, theirs = CONTEXT.Pipe()
    environment = {name: value for name, value in os.environ.items() if name.startswith("LARDER_")}
    given = (environment, observed.configuration.model_dump_json(), hold_at or set(), theirs)
    process = CONTEXT.Process(target=run_there, args=given)
    process.start()
    theirs.close()
    try:
        yield Builder(process, ours)
    finally:
        process.kill()
        process.join()


def run_there(environment: dict[str, str], configuration: str, hold_at: set[str], told: Connection) -> None:
    """Run it in a process of its own, telling each step as it begins and ends."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.activity.flow import activity
    from larder.orchestration.flow import flow_of
    from larder.outcomes import Step, listening

    for name in [name for name in os.environ if name.startswith("LARDER_") and name not in environment]:
        del os.environ[name]
    os.environ.update(environment)
    guard = threading.Lock()

    def hear(step: Step) -> None:
        with guard:
            told.send((step.title, str(step.outcome or RUNNING)))
        if step.outcome is None and step.title in hold_at:
            told.recv()

    error = None
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), listening(hear):
        try:
            flow_of(activity)(configuration=Configuration.model_validate_json(configuration))
        except Exception as raised:  # noqa: BLE001
            error = raised
    told.send({"error": str(error) if error else None})


def test_a_run_that_is_killed_in_each_stage_goes_on_behind_what_was_finished(observed: Observed) -> None:
    executed = Counter[str]()
    for wave in WAVES:
        with running(observed, hold_at=wave) as one:
            for stage in wave:
                one.until(stage, RUNNING)
            one.process.kill()
            one.process.join()
        assert not observed.bucket.names("activity/")
        executed.update(title for title, outcome in one.heard if outcome == EXECUTED)
    last = observed.run()
    assert last.error is None
    executed.update(title for title, outcome in last.outcomes.items() if outcome == EXECUTED)
    assert executed == Counter(STAGES)
    published = observed.published
    assert published == undisturbed(observed)


def undisturbed(observed: Observed) -> dict[str, bytes]:
    """What a run publishes that nothing disturbs, into an empty bucket."""
    killed = observed.bucket
    for name in killed.names():
        killed.delete(name)
    assert observed.run().row == "XX XX X XXX XXXXX published"
    return observed.published


def test_two_runs_at_once_execute_each_stage_once(observed: Observed) -> None:
    with running(observed) as one, running(observed) as other:
        answers = [one.end(), other.end()]
    assert answers == [{"error": None}] * 2
    executed = Counter(title for title, outcome in (*one.heard, *other.heard) if outcome == EXECUTED)
    assert executed == Counter(STAGES)
    assert set(observed.published) == {*FILES, "published.json"}
    assert observed.foresee().nothing_to_do
