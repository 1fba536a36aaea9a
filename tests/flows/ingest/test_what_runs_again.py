"""What runs again, and what does not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.flows.ingest.observed import Observed

Change = Callable[[Observed], object]
FILE_STAGES = ("download branches", "download report")
PAGE_STAGES = ("robots home", "download home", "links home")


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    case: str
    change: Change
    expected: str
    """R reused, X executed, H healed, each download; then what archiving each came to."""
    options: dict[str, Any] = field(default_factory=dict)


def nothing(observed: Observed) -> None:
    """Leave all as it is."""


def changed(path: str) -> Change:
    return lambda observed: observed.sample.change(path)


def told(path: str, **what: Any) -> Change:
    return lambda observed: observed.sample.tell(path, times=9, **what)


def edit_run_and_edit_back(observed: Observed) -> None:
    observed.sample.change("/files/branches.csv")
    assert observed.run(category="scheduled_files").error is None
    observed.sample.reset()


def lost(prefix: str) -> Change:
    """Delete the one object whose name begins so."""

    def change(observed: Observed) -> None:
        (name,) = observed.bucket.names(prefix)
        observed.bucket.delete(name)

    return change


def flipped(prefix: str) -> Change:
    """Change one byte of the one object whose name begins so."""

    def change(observed: Observed) -> None:
        (name,) = observed.bucket.names(prefix)
        content = observed.bucket.read(name)
        observed.bucket.put(name, content[:-1] + bytes([content[-1] ^ 1]))

    return change


def with_source(name: str, **options: Any) -> Change:
    def change(observed: Observed) -> None:
        for source in observed.categories["scheduled_files"]["sources"]:
            if source["name"] == name:
                source.update(options)

    return change


def limited(observed: Observed) -> None:
    observed.limits["seconds"] = 100


BRANCHES = "ingest/alpha/scheduled_files/branches/"
LATEST = "archive/alpha/scheduled_files/branches/latest/"
ROWS = (
    Row("nothing changed", nothing, "RX unchanged unchanged"),
    Row("a file changed", changed("/files/branches.csv"), "XX new unchanged"),
    Row("a file that is not asked about changed", changed("/files/report"), "RX unchanged new"),
    Row(
        "another ETag, the same bytes",
        told("/files/branches.csv", headers={"ETag": '"other"'}),
        "XX unchanged unchanged",
    ),
    Row(
        "a server that says nothing any more",
        told("/files/branches.csv", headers={"ETag": None, "Last-Modified": None}),
        "XX unchanged unchanged",
    ),
    Row("changed and back", edit_run_and_edit_back, "RX returned unchanged"),
    Row("limits changed", limited, "RX unchanged unchanged"),
    Row(
        "a parameter of the request changed",
        with_source("branches", parameters={"x": 1}),
        "XX unchanged unchanged",
    ),
    Row(
        "a content type named", with_source("branches", content_types=["text/csv"]), "XX unchanged unchanged"
    ),
    Row("a result deleted", lost(f"results/{BRANCHES}download-"), "XX unchanged unchanged"),
    Row("an artifact deleted", lost(f"artifacts/{BRANCHES}"), "HX unchanged unchanged"),
    Row("an artifact flipped", flipped(f"artifacts/{BRANCHES}"), "HX unchanged unchanged"),
    Row("an archived file deleted", lost(f"{LATEST}branches.csv"), "RX repaired unchanged"),
    Row("a manifest flipped", flipped(f"{LATEST}manifest.json"), "RX repaired unchanged"),
    Row("what is published forgotten", lost(f"{LATEST}published.json"), "RX new unchanged"),
    Row("--force", nothing, "XX unchanged unchanged", {"force": ["download:scheduled_files/branches"]}),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_what_runs_again_of_files(finished: Observed, row: Row) -> None:
    row.change(finished)
    again = finished.run(category="scheduled_files", **row.options)
    assert again.error is None
    assert again.row(*FILE_STAGES) == row.expected


PAGE_ROWS = (
    Row("nothing changed", nothing, "RRR unchanged unchanged"),
    Row("the page changed, its links did not", changed("/pages/home"), "RXX new unchanged"),
    Row("a file that it links to changed", changed("/files/branches.csv"), "RRR unchanged new"),
    Row("other rules in robots.txt", told("/robots.txt", body="Disallow: /x"), "XRR unchanged unchanged"),
)


@pytest.mark.parametrize("row", PAGE_ROWS, ids=lambda row: row.case)
def test_what_runs_again_of_pages(finished: Observed, row: Row) -> None:
    row.change(finished)
    again = finished.run(category="pages", **row.options)
    assert again.error is None
    assert again.row(*PAGE_STAGES) == row.expected


def test_nothing_to_do_is_foreseen_without_a_run(finished: Observed) -> None:
    finished.categories["public_apis"]["sources"].pop(0)
    finished.categories["scheduled_files"]["sources"].pop()
    foreseen = finished.foresee()
    assert foreseen.nothing_to_do
    stages = {entry.stage for entry in foreseen.entries}
    assert stages >= {"download", "read", "robots", "links", "take", "archive"}
