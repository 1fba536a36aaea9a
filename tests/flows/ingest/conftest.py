"""The sample web, and what asks it."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from flows.ingest import sample_web
from flows.ingest.sample_web import SampleWeb
from flows.ingest.schema import Access, Limits
from flows.ingest.web import Web

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
