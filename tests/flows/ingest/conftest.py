"""The sample web, and what asks it."""

import copy
from collections.abc import Iterator
from contextlib import closing

import pytest

from flows.ingest import sample_web
from flows.ingest.sample_web import SampleWeb
from flows.ingest.schema import Access, Limits
from flows.ingest.web import Web
from larder.settings import Settings
from tests.flows.ingest.observed import Observed
from tests.recipes import Bucket
from tests.services import Store

QUICK = Limits(pause_seconds=0, answer_seconds=5)


@pytest.fixture
def sample() -> Iterator[SampleWeb]:
    """A sample web of this test alone."""
    with sample_web.serving() as one:
        yield one


@pytest.fixture
def access() -> Access:
    """May ask this machine, and does not wait between tries."""
    return Access(hosts=("127.0.0.1", "localhost"), networks=("127.0.0.0/8",), limits=QUICK)


@pytest.fixture
def web(access: Access) -> Iterator[Web]:
    """The web within that boundary."""
    with closing(Web(access)) as one:
        yield one


FILES = {
    "kind": "files",
    "sources": [
        {"name": "branches", "url": "SAMPLE/files/branches.csv"},
        {"name": "report", "url": "SAMPLE/files/report", "conditional": False},
    ],
}
PAGES = {
    "kind": "pages",
    "sources": [{"name": "home", "url": "SAMPLE/pages/home", "follow": ["*/branches.csv"]}],
}
BOOKS = {
    "name": "books",
    "url": "SAMPLE/api/next_field",
    "records": "books",
    "pagination": {"by": "next_field", "field": "next"},
}
APIS = {"kind": "apis", "sources": [BOOKS, {"name": "whole", "url": "SAMPLE/api/whole"}]}
OF_HOME, OF_BRANCHES = (
    [{"category": category, "source": source}]
    for category, source in (("pages", "home"), ("scheduled_files", "branches"))
)
AFTER = {
    "processing": {"page_links": {"kind": "link_counts", "inputs": OF_HOME}},
    "analysis": {"profiles": {"kind": "csv_profiles", "inputs": OF_BRANCHES}},
}


@pytest.fixture(scope="module")
def shared_sample() -> Iterator[SampleWeb]:
    """A sample web of a module's tests, whose URL stays."""
    with sample_web.serving() as one:
        yield one


@pytest.fixture
def observed(stack: Settings, s3: Store, bucket: str, quick: None, shared_sample: SampleWeb) -> Observed:
    """A department with all that one can have, an empty bucket, and the sample web as it was at first."""
    shared_sample.reset()
    categories = {"scheduled_files": FILES, "public_apis": APIS, "pages": PAGES}
    return Observed(shared_sample, Bucket(s3.client, bucket), copy.deepcopy(categories), after=AFTER)


@pytest.fixture(scope="module")
def objects_of_a_run() -> dict[str, tuple[bytes, str]]:
    """What the first run of this module left in its bucket; empty before it."""
    return {}


@pytest.fixture
def finished(observed: Observed, objects_of_a_run: dict[str, tuple[bytes, str]]) -> Observed:
    """The same, as one undisturbed run left it."""
    client, bucket = observed.bucket.client, observed.bucket.name
    for name, (content, kind) in objects_of_a_run.items():
        client.put_object(Bucket=bucket, Key=name, Body=content, ContentType=kind)
    if not objects_of_a_run:
        assert observed.run().error is None
        for name in observed.bucket.names():
            answer = client.get_object(Bucket=bucket, Key=name)
            objects_of_a_run[name] = answer["Body"].read(), answer["ContentType"]
    observed.sample.log.clear()
    return observed
