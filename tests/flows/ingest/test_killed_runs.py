"""Runs that are killed, and runs beside each other: nothing finished is redone, nothing half is archived."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.flows.ingest.observed import Observed, short
from tests.processes import Builder, running
from tests.proxy import Call, Kind, proxied
from tests.services import Store

EXECUTED, RUNNING = "executed", "running"
WAVES = ({"robots pages/home"}, {"download pages/home"}, {"links pages/home"}, {"take page_links/pages/home"})
ARCHIVED = "archive/alpha/pages/home/"


@pytest.fixture
def pages(observed: Observed) -> Observed:
    """A page, and what is counted of its links."""
    observed.categories = {"pages": observed.categories["pages"]}
    observed.after = {"processing": observed.after["processing"]}
    return observed


def executed(builder: Builder) -> Counter[str]:
    return Counter(short(title) for title, outcome in builder.heard if outcome == EXECUTED)


def undisturbed(observed: Observed) -> dict[str, object]:
    """What a run leaves that nothing disturbs, in an empty bucket."""
    for name in observed.bucket.names():
        observed.bucket.delete(name)
    assert observed.run_unforeseen().error is None
    return observed.everything


def test_a_run_that_is_killed_in_each_stage_goes_on_behind_what_was_finished(pages: Observed) -> None:
    ran = Counter[str]()
    arguments = {"configuration": pages.department}
    for wave in WAVES:
        with running("flows.ingest.flow", "ingest", arguments, hold_at=wave) as one:
            for title in wave:
                one.until(title, RUNNING)
            one.process.kill()
            one.process.join()
        ran += executed(one)
    last = pages.run()
    assert last.error is None
    ran.update(title for title, outcome in last.outcomes.items() if outcome == EXECUTED)
    assert set(ran.values()) == {1}, ran
    left = pages.everything
    assert left == undisturbed(pages)


@pytest.mark.parametrize("folder", ["own", "latest"])
@pytest.mark.parametrize("name", ["page.html", "published.json"])
def test_killed_while_archiving_the_next_run_finishes(
    pages: Observed, s3: Store, monkeypatch: pytest.MonkeyPatch, folder: str, name: str
) -> None:
    pages.after = {}
    arguments = {"configuration": pages.department}
    with proxied(str(s3.keys.s3_endpoint_url)) as proxy:
        monkeypatch.setenv("LARDER_S3_ENDPOINT_URL", proxy.url)
        with running("flows.ingest.flow", "ingest", arguments) as killed:
            proxy.rule = at(pages, folder, name, killed.process.kill)
            killed.process.join()
        assert proxy.refused
    monkeypatch.setenv("LARDER_S3_ENDPOINT_URL", str(s3.keys.s3_endpoint_url))
    last = pages.run()
    assert last.error is None
    assert last.outcomes["download home"] == "reused"
    left = pages.everything
    assert left == undisturbed(pages)


def at(
    observed: Observed, folder: str, name: str, act: Callable[[], None]
) -> Callable[[list[Call]], Kind | None]:
    """A rule that acts in place of the call that puts a file into a folder of the archive."""

    def rule(calls: list[Call]) -> Kind | None:
        path = calls[-1].path.partition("?")[0]
        prefix = f"/{observed.bucket.name}/{ARCHIVED}"
        inside = path.removeprefix(prefix)
        is_latest = inside.startswith("latest/")
        wanted = path.startswith(prefix) and inside.endswith(f"/{name}") and is_latest == (folder == "latest")
        if calls[-1].method != "PUT" or not wanted:
            return None
        act()
        return Kind.CLOSED

    return rule


def test_two_runs_at_once_fetch_each_file_once(observed: Observed) -> None:
    observed.categories = {"scheduled_files": observed.categories["scheduled_files"]}
    observed.categories["scheduled_files"]["sources"].pop()
    observed.after = {}
    arguments = {"configuration": observed.department}
    with (
        running("flows.ingest.flow", "ingest", arguments) as one,
        running("flows.ingest.flow", "ingest", arguments) as other,
    ):
        answers = [one.end(), other.end()]
    assert [answer["state"] for answer in answers] == ["completed"] * 2
    assert executed(one) + executed(other) == Counter(["download branches"])
    assert sorted(file["change"] for answer in answers for file in answer["files"]) == ["new", "unchanged"]
    assert observed.foresee().nothing_to_do
