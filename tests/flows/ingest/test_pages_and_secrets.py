"""What a run shows in the Prefect UI, and that no secret stands anywhere."""

import re

from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client

from tests.flows.ingest.observed import Observed

SECRET = "a-secret/that nobody+sees"
BLOCK = "library-api"


def test_a_run_ends_in_a_page_for_each_new_file_and_a_summary_and_shows_no_secret(observed: Observed) -> None:
    Secret(value=SECRET).save(BLOCK, overwrite=True)  # type: ignore[arg-type]
    secret = {"secret": BLOCK}
    asked = {
        "name": "branches",
        "url": "SAMPLE/files/branches.csv",
        "parameters": {"key": secret},
        "headers": {"Authorization": {**secret, "prefix": "Bearer "}},
    }
    refused = {**asked, "name": "gone", "url": "SAMPLE/gone"}
    observed.categories, observed.after = (
        {"scheduled_files": {"kind": "files", "sources": [asked, refused]}},
        {},
    )
    ran = observed.run_unforeseen()
    assert observed.sample.log[0][1]["authorization"] == f"Bearer {SECRET}"
    assert ran.archived.keys() == {"branches"}
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(limit=50)
        pages = [one for one in artifacts if one.type == "markdown" and "alpha" in (one.key or "")]
    keys = {str(one.key) for one in pages}
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in keys)
    new = [one for one in pages if one.description == "New: branches.csv"]
    assert "branches.csv" in str(new[0].data)
    shown = "".join(str(one.data) for one in artifacts) + str(ran.error)
    forms = ("a-secret", "nobody+sees", "nobody%2Bsees")
    assert "***" in shown
    assert not [form for form in forms if form in shown]
    for name in observed.bucket.names():
        content = observed.bucket.read(name).decode("utf-8", "replace")
        assert not [form for form in forms if form in content], name


def test_a_block_that_is_not_there_fails_its_source_and_says_which(observed: Observed) -> None:
    asked = {"name": "one", "url": "SAMPLE/files/a.csv", "headers": {"Key": {"secret": "no-such-block"}}}
    observed.categories, observed.after = {"scheduled_files": {"kind": "files", "sources": [asked]}}, {}
    ran = observed.run_unforeseen()
    assert "Secret block no-such-block: found none of that name" in str(ran.error)
    assert not observed.sample.log
