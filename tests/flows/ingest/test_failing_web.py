"""Whole runs against a web that fails: each source comes to its own end, in clear words, nothing half."""

from typing import Any

from flows.ingest.archive import Change
from flows.ingest.errors import CategoriesFailedError
from flows.ingest.sample_web import content_of
from tests.flows.ingest.observed import Observed, Ran

BIG = "/files/big"


def bytes_of(path: str) -> bytes:
    found = content_of(path, {}, 0, "")
    assert found is not None
    return found[0]


def source(name: str, path: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "url": f"SAMPLE{path}", **options}


def failures(ran: Ran) -> dict[str, str]:
    """What each source that failed says."""
    assert isinstance(ran.error, CategoriesFailedError)
    assert all(str(one) in str(ran.error) for one in ran.error.failures.values())
    return {
        name: str(error)
        for one in ran.error.failures.values()
        for name, error in getattr(one, "failures", {}).items()
    }


GOOD = {
    "busy": (source("busy", "/files/busy"), {"status": 503, "times": 4}),
    **{
        f"cut_{quarter}": (
            source(f"cut_{quarter}", f"/files/cut{quarter}"),
            {"cut_after": len(bytes_of(BIG)) * quarter // 4, "times": 2},
        )
        for quarter in (1, 2, 3)
    },
    "moved": (source("moved", "/old"), {"location": "/files/new", "times": 9}),
    "separators": (source("separators", "/files/a.csv", parameters={"as": "../../etc/pass wd.csv"}), {}),
    "unicode": (source("unicode", "/files/b.csv", parameters={"as": "Übersicht 数.csv"}), {}),
    "long": (source("long", "/files/c.csv", parameters={"as": "x" * 300 + ".csv"}), {}),
}
BAD = {
    "metadata": (
        source("metadata", "/to/metadata"),
        {"location": "http://169.254.169.254/latest/meta-data/"},
        "the host 169.254.169.254 is not among those that the configuration allows",
    ),
    "elsewhere": (
        source("elsewhere", "/to/elsewhere"),
        {"location": "http://evil.example/file"},
        "the host evil.example is not among those that the configuration allows",
    ),
    "inside": (
        source("inside", "/to/inside"),
        {"location": "http://[::1]/file"},
        "its address ::1 is private, link-local or reserved",
    ),
    "loop": (source("loop", "/loop"), {"location": "/loop"}, "the server answers with redirects in a loop"),
    "bomb": (source("bomb", "/files/bomb"), {"bomb_bytes": 30_000_000}, "at most 1,000,000 are"),
    "html": (
        source("html", "/pages/login", content_types=["text/csv"]),
        {},
        "it is text/html; expected is text/csv",
    ),
    "gone": (source("gone", "/gone"), {}, "the server says 404 Not Found"),
    "down": (source("down", "/files/down"), {"status": 503}, "the server says 503 Service Unavailable"),
}


def test_each_source_comes_to_its_own_end(observed: Observed) -> None:
    observed.limits["bytes"] = 1_000_000
    asked = [*(one for one, _ in GOOD.values()), *(one for one, _, _ in BAD.values())]
    category = {"kind": "files", "hosts": ["127.0.0.1", "::1"], "sources": asked}
    observed.categories, observed.after = {"scheduled_files": category}, {}
    for one, what in GOOD.values():
        if what:
            observed.sample.tell(one["url"].removeprefix("SAMPLE"), **what)
    for one, what, _ in BAD.values():
        if what:
            observed.sample.tell(one["url"].removeprefix("SAMPLE"), times=99, **what)
    ran = observed.run_unforeseen()
    said = failures(ran)
    assert said.keys() == BAD.keys()
    for name, (_, _, words) in BAD.items():
        assert words in said[name], said[name]
    first, second, *_ = str(ran.error).splitlines()
    assert first == "alpha: 1 of 1 categories failed."
    assert second == "scheduled_files: 8 of 16 sources failed."
    assert {name: one.change for name, one in ran.archived.items()} == dict.fromkeys(GOOD, Change.NEW)
    names = [ran.archived[name].manifest.name for name in ("separators", "unicode", "long")]
    assert names == ["pass_wd.csv", "Ubersicht.csv", "x" * 96 + ".csv"]
    for quarter in (1, 2, 3):
        path = f"/files/cut{quarter}"
        manifest = ran.archived[f"cut_{quarter}"].manifest
        latest = f"archive/alpha/scheduled_files/cut_{quarter}/latest/{manifest.name}"
        assert observed.bucket.read(latest) == bytes_of(path)
        assert any("range" in headers for target, headers in observed.sample.log if target == path)
    assert {name.split("/")[0] for name in observed.names("archive/alpha/scheduled_files/")} == GOOD.keys()


def test_a_category_that_fails_does_not_stop_the_others_and_is_done_by_the_next_run(
    observed: Observed,
) -> None:
    observed.sample.tell("/api/whole", body="<!DOCTYPE html><title>Log in</title>", times=3)
    failed = observed.run()
    assert failures(failed).keys() == {"whole"}
    assert "it is no JSON" in failures(failed)["whole"]
    assert {name.split(".")[0] for name in failed.archived} == {"branches", "report", "books", "home"}
    assert observed.names("processing/alpha/") == ["page_links/link_counts.csv", "page_links/published.json"]
    observed.sample.reset()
    again = observed.run()
    assert again.error is None
    assert again.archived["whole"].change is Change.NEW
    assert {one.change for name, one in again.archived.items() if name != "whole"} == {Change.UNCHANGED}


def test_two_sources_with_equal_bytes_are_archived_each_in_its_own_place(observed: Observed) -> None:
    sources = [source("one", "/files/a.csv"), source("two", "/files/b.csv")]
    observed.categories, observed.after = {"scheduled_files": {"kind": "files", "sources": sources}}, {}
    ran = observed.run()
    assert ran.error is None
    one, two = ran.archived["one"].manifest, ran.archived["two"].manifest
    assert (one.sha256, one.name, two.name) == (two.sha256, "a.csv", "b.csv")
    assert observed.bucket.read("archive/alpha/scheduled_files/two/latest/b.csv") == bytes_of("/files/b.csv")
