"""A workflow with a bucket."""

from pathlib import Path

import pytest

from larder.settings import Settings
from tests.flows.medallion.workflows import SITES, VISITS, Team
from tests.recipes import Bucket
from tests.services import Store


@pytest.fixture
def team(stack: Settings, quick: None, s3: Store, bucket: str, tmp_path: Path) -> Team:
    """A workflow of two jobs that was never run, with a file for each."""
    made = Team(tmp_path, Bucket(s3.client, bucket))
    made.land("sites", "sites.csv", SITES)
    made.land("visits", "visits.csv", VISITS)
    return made
