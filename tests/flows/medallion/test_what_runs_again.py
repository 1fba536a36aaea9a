"""What runs again, and what does not; and that a forecast says so before."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from boto3.s3.transfer import TransferConfig

from flows.medallion import definitions
from larder.fingerprint import given_fingerprint
from larder.forecast import Will
from tests.flows.medallion.workflows import SITES, VISITS, Answer, Team

pytestmark = pytest.mark.usefixtures("quick")
Change = Callable[[Team], object]
FILES = tuple(f"{stage} visits/visits.csv" for stage in ("land", "ingested", "infer", "bronze"))
GOLD = ("metrics visits", "breakdown visits.site_id", "customers visits", "model visits.total", "gold visits")


def nothing(team: Team) -> None:
    """Leave it as it is."""


def other_content(team: Team) -> None:
    team.land("visits", "visits.csv", VISITS.replace("30", "31"))


def same_content_in_parts(team: Team) -> None:
    """The same bytes with another ETag."""
    parts = TransferConfig(multipart_threshold=1, multipart_chunksize=5 * 2**20)
    name = f"landing/{team.id}/visits/visits.csv"
    team.bucket.client.upload_fileobj(io.BytesIO(VISITS.encode()), team.bucket.name, name, Config=parts)


def other_headers(team: Team) -> None:
    name = f"landing/{team.id}/visits/visits.csv"
    given = {"Bucket": team.bucket.name, "Key": name, "Body": VISITS.encode(), "ContentType": "text/x-odd"}
    team.bucket.client.put_object(**given)


def another_file(team: Team) -> None:
    team.land("visits", "more.csv", "visit_id,site_id,visitors\n4,1,40\n")


def a_site_more(team: Team) -> None:
    team.land("sites", "sites.csv", f"{SITES}3,Brooklyn\n")


def a_rule_that_holds(team: Team) -> None:
    team.job("visits")["rules"].append({"range": {"column": "visitors", "min": 0}})


def a_rule_that_rejects(team: Team) -> None:
    team.job("visits")["rules"].append({"range": {"column": "visitors", "min": 15}})


def another_key(team: Team) -> None:
    team.job("visits")["primary_keys"] = ["visit_id", "site_id"]


def another_mode(team: Team) -> None:
    team.job("visits")["load_mode"] = "append"


def another_model(team: Team) -> None:
    team.job("visits")["gold"]["models"]["total"] = "select max(visitors) as visitors from silver"


def another_breakdown(team: Team) -> None:
    team.job("visits")["gold"]["breakdowns"] = ["site_id", "visitors"]


def a_declared_type(team: Team) -> None:
    team.job("visits")["columns"] = {"visitors": "number"}


def edited_and_back(team: Team) -> None:
    another_key(team)
    assert team.run().exit_code == 0
    team.job("visits")["primary_keys"] = "visit_id"


def deleted(stage: str) -> Change:
    def delete(team: Team) -> None:
        (name,) = [one for one in team.bucket.names("results/") if f"/{stage}-" in one]
        team.bucket.delete(name)

    return delete


def flipped(team: Team) -> None:
    """One byte of silver's artifact is another one."""
    (name,) = [one for one in team.bucket.names("artifacts/") if silver_file(team) in one]
    content = bytearray(team.bucket.read(name))
    content[len(content) // 2] ^= 1
    team.bucket.put(name, bytes(content))


def silver_file(team: Team) -> str:
    document = team.bucket.document(f"silver/{team.id}/visits/published.json")
    return next(str(file["artifact"]) for file in document["files"] if file["name"] == "data.parquet")


def unpublished(team: Team) -> None:
    team.bucket.delete(f"gold/{team.id}/visits/metrics.parquet")


@dataclass(frozen=True)
class Row:
    """One row of the table: what is changed, what is executed then, and which folders are published."""

    change: Change
    executed: set[str]
    published: set[str]
    force: tuple[str, ...] = ()


TABLE = {
    "nothing changed": Row(nothing, set(), set()),
    "other content": Row(
        other_content, {*FILES, "landing visits", "silver visits", *GOLD}, {"bronze", "silver", "gold"}
    ),
    "the same content with another ETag": Row(
        same_content_in_parts, {"landing visits", "land visits/visits.csv"}, {"bronze", "silver"}
    ),
    "other headers": Row(other_headers, set(), set()),
    "another file": Row(
        another_file,
        {one.replace("visits.csv", "more.csv") for one in FILES}
        | {"landing visits", "columns visits", "silver visits", *GOLD},
        {"bronze", "silver", "gold"},
    ),
    "a rule that holds": Row(a_rule_that_holds, {"silver visits"}, set()),
    "a rule that rejects": Row(a_rule_that_rejects, {"silver visits", *GOLD}, {"silver", "gold"}),
    "another key": Row(another_key, {"silver visits", *GOLD} - {"gold visits"}, {"silver", "gold"}),
    "another mode, the same rows": Row(another_mode, {"landing visits", "silver visits"}, {"silver"}),
    "another model": Row(another_model, {"model visits.total", "gold visits"}, {"gold"}),
    "another breakdown": Row(another_breakdown, {"breakdown visits.visitors", "gold visits"}, {"gold"}),
    "a declared type": Row(
        a_declared_type,
        {"columns visits", "bronze visits/visits.csv", "silver visits", *GOLD},
        {"bronze", "silver", "gold"},
    ),
    "edited and back": Row(edited_and_back, set(), {"silver", "gold"}),
    "a result deleted": Row(deleted("silver-visits"), {"silver visits"}, set()),
    "an artifact flipped": Row(flipped, {"silver visits"}, set()),
    "a published file deleted": Row(unpublished, set(), {"gold"}),
    "forced": Row(nothing, {"silver visits", "silver sites"}, set(), force=("silver",)),
}


@pytest.fixture
def once(team: Team) -> Team:
    """The workflow after one run."""
    assert team.run().exit_code == 0
    return team


def as_foreseen(answer: Answer, before: dict[str, Will]) -> None:
    """Return if a run did what the forecast said."""
    for title, will in before.items():
        if will is Will.REUSE:
            assert answer.outcomes[title] == "reused", title
        if will is Will.RUN:
            assert answer.outcomes[title] in {"executed", "healed"}, title
    assert set(before) == set(answer.outcomes)


@pytest.mark.parametrize("case", TABLE)
def test_what_runs_again(once: Team, case: str) -> None:
    row = TABLE[case]
    row.change(once)
    foreseen = once.foreseen()
    assert foreseen.ended_at is None
    answer = once.run(force=row.force)
    assert answer.exit_code == 0, answer.said
    assert answer.ran == row.executed
    changed = {name.split("/")[0] for name, outcome in answer.publish.items() if outcome != "unchanged"}
    assert changed == row.published
    if not row.force:
        as_foreseen(answer, {one.title: one.will for one in foreseen.entries if not one.is_action})
        assert foreseen.nothing_to_do is (not row.executed and not row.published)
    assert once.foreseen().nothing_to_do


def test_another_site_runs_what_looks_it_up(once: Team) -> None:
    a_site_more(once)
    ran = once.run().ran
    assert {"silver sites", "gold sites", "silver visits"} <= ran
    assert not {"bronze visits/visits.csv", "metrics visits", "gold visits"} & ran


def test_code_of_one_stage_reruns_that_stage(once: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(definitions.BREAKDOWN.__dict__, "code", given_fingerprint("edited"))
    assert once.run().ran == {"breakdown visits.site_id"}


def test_when_a_content_was_ingested_is_said_once_and_for_all(once: Team) -> None:
    before = once.table("silver", "visits", columns="distinct _ingested_at")
    other_content(once)
    once.run()
    nothing(once)
    once.land("visits", "visits.csv", VISITS)
    answer = once.run(force=("bronze", "silver"))
    assert answer.outcomes["ingested visits/visits.csv"] == "reused"
    assert once.table("silver", "visits", columns="distinct _ingested_at") == before
