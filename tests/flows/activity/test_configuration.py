"""The configuration: as it is shipped, and refused where it is not as it should be."""

import pytest

from flows.activity.flow import CONFIGURATIONS
from flows.activity.sample_server import HOST, PORT
from larder.configuration import MOST_CHARACTERS
from larder.refusal import RefusedError

GOOD = "sources: {users: {url: 'http://api/users'}, posts: {url: 'http://api/posts'}}\n"


def test_the_shipped_configuration_reads_the_sample_api_and_fits_into_a_variable() -> None:
    shipped = CONFIGURATIONS.read("default")
    assert {source.url for source in shipped.sources.values()} == {
        f"http://{HOST}:{PORT}/{name}" for name in ("users", "posts")
    }
    assert (shipped.limits.retries, shipped.limits.retry_delay_seconds) == (3, 5)
    assert len(shipped.model_dump_json()) < MOST_CHARACTERS


@pytest.mark.parametrize(
    ("text", "place", "found", "line"),
    [
        ("sources: {users: {url: nowhere}}", "sources.users.url", "'nowhere'", 1),
        ("sources: {users: {}}", "sources.users.url", "nothing", 1),
        ("sources: {a/b: {url: 'http://api/'}}", "sources.a/b", "'a/b'", 1),
        (GOOD + "limits: {retries: -1}", "limits.retries", "-1", 2),
        (GOOD + "limits: {retrys: 1}", "limits.retrys", "'retrys', which is no option here", 2),
        (GOOD + "limits: {source_bytes: much}", "limits.source_bytes", "'much'", 2),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, place: str, found: str, line: int) -> None:
    with pytest.raises(RefusedError) as raised:
        CONFIGURATIONS.parse(text, "activity.yml")
    (problem,) = raised.value.problems
    assert raised.value.file == "activity.yml"
    assert (problem.place, problem.found, problem.line) == (place, found, line)
    assert problem.expected


def test_a_source_that_the_pipeline_reads_has_to_be_configured() -> None:
    configuration = CONFIGURATIONS.parse("sources: {users: {url: 'http://api/users'}}", "activity.yml")
    with pytest.raises(RefusedError, match="sources: found users; expected posts among them, with its url"):
        configuration.source("posts")
