"""`larder run activity`, as people call it."""

import json
from typing import Any

import pytest

from cli.main import main
from tests.flows.activity.observed import FILES, STAGES, Observed

pytestmark = pytest.mark.usefixtures("quick")


def called(capsys: pytest.CaptureFixture[str], observed: Observed, *words: str) -> tuple[int, Any]:
    """The exit code and the document of a command."""
    places = [f"--set=sources.{name}.url={observed.url}/{name}" for name in ("users", "posts")]
    settled = [*places, "--set=limits.retry_delay_seconds=0", "--json"]
    capsys.readouterr()
    code = main(["run", "activity", *settled, *words])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_runs_the_pipeline_and_then_has_nothing_to_do(
    observed: Observed, capsys: pytest.CaptureFixture[str]
) -> None:
    code, first = called(capsys, observed)
    assert (code, first["state"], first["published"][0]["publish"]) == (0, "completed", "published")
    assert {file["name"] for file in first["published"][0]["files"]} == set(FILES)
    observed.api.posts[0]["title"] = "another"
    code, entries = called(capsys, observed, "--explain", "--refresh", "users")
    assert {entry["stage"] for entry in entries if entry["will"] == "reuse"} == set(STAGES)
    code, second = called(capsys, observed, "--refresh", "users")
    assert (code, second["flow_run_id"], second["published"][0]["publish"]) == (0, None, "unchanged")
    assert {stage["outcome"] for stage in second["stages"]} == {"reused"}


@pytest.mark.parametrize(
    ("words", "code", "state", "message"),
    [
        (["--refresh", "user"], 2, "refused", "expected some of posts, users"),
        (["--set", "limits.retries=-1"], 2, "refused", "limits.retries"),
        (["--set", "sources.users.url=http://127.0.0.1:1/users"], 1, "failed", "it cannot be connected to"),
    ],
)
def test_what_cannot_be_run_is_said_before_a_run_begins(
    observed: Observed,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    state: str,
    message: str,
) -> None:
    answered, document = called(capsys, observed, *words)
    assert (answered, document["state"], document["flow_run_id"]) == (code, state, None)
    assert message in document["error"]["message"]
    assert not observed.bucket.names()
