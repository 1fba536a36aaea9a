"""What runs again, and what does not."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from larder.settings import CHECKOUT
from tests.flows.activity.observed import FILES, STAGES, Observed
from tests.shared import ACTIVITY

NOTHING_RUNS = "RR RR R RRR RRRRR unchanged"
Change = Callable[[Observed], object]


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    case: str
    change: Change
    expected: str
    """R reused, X executed, H healed; each stage as `tests.flows.activity.observed.STAGES` lists them."""
    options: dict[str, Any] = field(default_factory=dict)


def nothing(observed: Observed) -> None:
    """Leave all as it is."""


def change_email(observed: Observed) -> None:
    observed.api.users[0]["email"] = "Other@Example.org"


def change_title(observed: Observed) -> None:
    observed.api.posts[30]["title"] = "other"


def add_space(observed: Observed) -> None:
    observed.api.posts[0]["title"] += " "


def change_headers(observed: Observed) -> None:
    observed.api.edition += 1


def name_no_versions(observed: Observed) -> None:
    observed.api.etags, observed.api.last_modified = False, None


def delete_result(stage: str) -> Change:
    def change(observed: Observed) -> None:
        observed.bucket.delete(result_of(observed, stage))

    return change


def flip(stage: str) -> Change:
    """Change one byte of an artifact."""

    def change(observed: Observed) -> None:
        name = observed.bucket.document(result_of(observed, stage))["artifacts"][0]
        content = observed.bucket.read(name)
        observed.bucket.put(name, content[:-1] + bytes([content[-1] ^ 1]))

    return change


def delete_published(name: str) -> Change:
    return lambda observed: observed.bucket.delete(f"activity/{name}")


def edit_run_and_edit_back(observed: Observed) -> None:
    change_title(observed)
    assert observed.run().error is None
    observed.reset()


def change_both(observed: Observed) -> None:
    change_email(observed)
    change_title(observed)


def result_of(observed: Observed, stage: str) -> str:
    (name,) = observed.bucket.names(f"results/activity/{stage}-")
    return name


ROWS = (
    Row("nothing", nothing, NOTHING_RUNS),
    Row("content of users", change_email, "XR XR X XXX XXXXR published"),
    Row("content of posts", change_title, "RX RX X XRX RXRRX published"),
    Row("content of posts that is cleaned away", add_space, "RX RX R RRR RRRRR unchanged"),
    Row("headers only", change_headers, "XX RR R RRR RRRRR unchanged"),
    Row("an API that names no versions", name_no_versions, "XX RR R RRR RRRRR unchanged"),
    Row("both, users refreshed", change_both, "XR XR X XXX XXXXR published", {"refresh": ["users"]}),
    Row("both, nothing refreshed", change_both, NOTHING_RUNS, {"refresh": []}),
    Row("result of users deleted", delete_result("users"), "XR RR R RRR RRRRR unchanged"),
    Row("result of enrich_posts deleted", delete_result("enrich_posts"), "RR RR X RRR RRRRR unchanged"),
    Row("result of an export deleted", delete_result("export_users"), "RR RR R RRR XRRRR unchanged"),
    Row("artifact of posts flipped", flip("posts"), "RH RR R RRR RRRRR unchanged"),
    Row("artifact of summary flipped", flip("summary"), "RR RR R RRH RRRRR unchanged"),
    Row("artifact of an export flipped", flip("export_summary"), "RR RR R RRR RRRRH unchanged"),
    Row("a published file deleted", delete_published("users.csv"), "RR RR R RRR RRRRR repaired"),
    Row("what is published forgotten", delete_published("published.json"), "RR RR R RRR RRRRR published"),
    Row("edited and back", edit_run_and_edit_back, "RX RR R RRR RRRRR published"),
    Row("--force top_authors", nothing, "RR RR R RXR RRRRR unchanged", {"force": ["top_authors"]}),
    Row("--force users", nothing, "XR RR R RRR RRRRR unchanged", {"force": ["users"]}),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_what_runs_again(finished: Observed, row: Row) -> None:
    row.change(finished)
    again = finished.run(**row.options)
    assert again.row == row.expected, again.error
    assert again.published
    assert set(finished.published) == {*FILES, "published.json"}


def test_a_run_with_nothing_to_do_asks_for_headers_alone(finished: Observed) -> None:
    assert finished.foresee().nothing_to_do
    assert [status for _, status in finished.api.requests] == [304] * 4


@pytest.mark.skipif(not ACTIVITY.is_dir(), reason="The shared samples are not there.")
def test_the_shared_sample_is_published_as_the_pipeline_did_that_was(
    observed: Observed,
) -> None:
    observed.api.users, observed.api.posts = (
        json.loads((ACTIVITY / f"{name}.json").read_text()) for name in ("users", "posts")
    )
    assert observed.run().row == "XX XX X XXX XXXXX published"
    expected = {file.name: file.read_bytes() for file in (ACTIVITY / "expected").iterdir()}
    assert {name: observed.published[name] for name in FILES} == expected


def test_a_failed_stage_is_resumed(finished: Observed) -> None:
    change_title(finished)
    failed = finished.run(fail_at="enrich_posts")
    assert failed.row == "RX RX F XR- R-RR- -"
    assert "asked to fail at enrich_posts" in str(failed.error)
    assert finished.run().row == "RR RR X RRX RXRRX published"


EDITS = {
    "a column of one analysis": (
        ("analytics", "select * from activity order by", "select *, 1 as one from activity order by"),
        {"top_authors": "run", "export_top_authors": "unknown"},
    ),
    "one transform": (
        ("transforms", '"full_name": user.name', '"full_name": user.name.upper()'),
        {
            "clean_users": "run",
            "export_users": "unknown",
            "enrich_posts": "unknown",
            "export_posts_enriched": "unknown",
            "user_activity": "unknown",
            "top_authors": "unknown",
            "summary": "unknown",
            "export_user_stats": "unknown",
            "export_top_authors": "unknown",
            "export_summary": "unknown",
        },
    ),
    "one export": (
        ("exports", 'return _csv("user_stats", activity', 'return _csv("stats", activity'),
        {"export_user_stats": "run"},
    ),
    "a docstring": (("exports", "What each user wrote, in numbers.", "Numbers of each user."), {}),
}
FORESEE = """
import json, sys
from flows.activity.flow import CONFIGURATIONS, activity
from larder.connection import open_store
from larder.forecast import forecast
from larder.settings import settings

now = settings()
configuration = CONFIGURATIONS.check(json.loads(sys.argv[1]), "test")
foreseen = forecast(activity, {"configuration": configuration}, now, open_store(now))
print(json.dumps({entry.title: [entry.will, entry.reason] for entry in foreseen.entries}))
assert "prefect" not in sys.modules
"""


def foreseen_by(code: Path, observed: Observed) -> dict[str, list[str]]:
    """What a run by the code of this folder would do, and why."""
    configuration = observed.configuration.model_dump_json()
    command = [sys.executable, "-c", FORESEE, configuration]
    done = subprocess.run(command, check=False, cwd=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    entries: dict[str, list[str]] = json.loads(done.stdout)
    return entries


@pytest.mark.parametrize("edit", EDITS)
def test_code_of_one_function_runs_that_stage_and_what_reads_it(
    finished: Observed, tmp_path: Path, edit: str
) -> None:
    (module, before, after), expected = EDITS[edit]
    for package in ("flows", "larder"):
        shutil.copytree(CHECKOUT / package, tmp_path / package)
    file = tmp_path / "flows" / "activity" / "stages" / f"{module}.py"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    found = foreseen_by(tmp_path, finished)
    assert {stage: found[stage][0] for stage in STAGES if found[stage][0] != "reuse"} == expected
    for stage, will in expected.items():
        if will == "run":
            assert f"code of flows.activity.stages.{module} changed" in found[stage][1]
