"""An API that gives what nobody can use: a clear failure, and nothing lost."""

import pytest

from flows.activity.sample_server import Fault
from larder.refusal import RefusedError
from larder.stage import StageFailed
from tests.flows.activity.observed import FILES, Observed
from tests.wholeness import state


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.UNAVAILABLE, "(asked 2 times, 0 s apart): it answers 503 Service Unavailable"),
        (Fault.TRUNCATED, "found no JSON, or not all of it"),
        (Fault.HTML, "found a page of HTML or XML"),
        (Fault.ENDLESS_PAGES, "found page 6, and it is not the last"),
        (Fault.ENDLESS_CONTENT, "found more than 1,000,000 bytes"),
    ],
)
def test_a_source_that_cannot_be_read_fails_its_stage_and_leaves_all_as_it_was(
    finished: Observed, fault: Fault, words: str
) -> None:
    finished.limits = finished.limits.model_copy(update={"source_pages": 5, "source_bytes": 1_000_000})
    before = state(finished.bucket)
    finished.api.users[0]["email"] = "another@example.org"
    finished.api.fail(fault, times=None, path="/users")
    ran = finished.run_unforeseen()
    assert isinstance(ran.error, StageFailed)
    assert ran.error.stage == "users"
    assert words in str(ran.error)
    assert ran.row[1:] == "R -R - --- ----- -"
    assert state(finished.bucket) == before
    finished.api.fail(fault, times=0)
    assert finished.run().row == "XR XR X XXX XXXXR published"


def test_a_record_that_is_no_post_fails_its_transform_and_is_not_read_again(finished: Observed) -> None:
    finished.api.posts[40]["userId"] = "nobody"
    ran = finished.run()
    assert ran.row == "RX RF - --- R---- -"
    assert "Posts, page 2, record 16: found userId" in str(ran.error)
    assert finished.run().row == "RR RF - --- R---- -"


def test_an_api_without_users_gives_five_files(observed: Observed) -> None:
    observed.api.users, observed.api.posts = [], []
    assert observed.run().row == "XX XX X XXX XXXXX published"
    lines = {name: observed.published[name].decode().splitlines() for name in FILES}
    assert lines["summary.csv"][1:] == ["0,0,0,0.0,0.0,0.0"]
    assert all(len(lines[name]) == 1 for name in FILES if name != "summary.csv")


def test_what_is_to_be_refreshed_has_to_be_a_source(finished: Observed) -> None:
    before = state(finished.bucket)
    with pytest.raises(RefusedError) as raised:
        finished.foresee(refresh=["user", "posts"])
    assert str(raised.value) == "activity: refresh: found 'user'; expected some of posts, users."
    assert isinstance(finished.run_unforeseen(refresh=["user"]).error, RefusedError)
    assert state(finished.bucket) == before
