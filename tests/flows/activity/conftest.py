"""An API and a bucket for the runs of the pipeline."""

from collections.abc import Iterator

import pytest

from flows.activity.sample_server import SampleApi, serving
from larder.settings import Settings
from tests.flows.activity.observed import Objects, Observed, objects_in, put_objects
from tests.recipes import Bucket
from tests.services import Store


@pytest.fixture(scope="module")
def served_api() -> Iterator[tuple[SampleApi, str]]:
    """An API, and where it answers."""
    api = SampleApi()
    with serving(api) as url:
        yield api, url


@pytest.fixture
def observed(
    stack: Settings, s3: Store, bucket: str, quick: None, served_api: tuple[SampleApi, str]
) -> Observed:
    """The pipeline with an API that is as it was first, and an empty bucket."""
    api, url = served_api
    one = Observed(api, url, Bucket(s3.client, bucket))
    one.reset()
    return one


@pytest.fixture(scope="module")
def objects_of_a_run() -> Objects:
    """What the first run of this module left in its bucket; empty before it."""
    return {}


@pytest.fixture
def finished(observed: Observed, objects_of_a_run: Objects) -> Observed:
    """The same, as one undisturbed run left it."""
    if objects_of_a_run:
        put_objects(observed.bucket, objects_of_a_run)
    else:
        assert observed.run().row == "XX XX X XXX XXXXX published"
        objects_of_a_run.update(objects_in(observed.bucket))
    observed.api.requests.clear()
    return observed
