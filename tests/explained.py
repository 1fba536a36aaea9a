"""What `larder explain` says of a recipe, asked in this process."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from blocks import s3
from blocks.settings import settings
from blocks.store import Store
from flows.artifacts import Artifact
from flows.explain import Explainer, Forecast
from flows.lifecycle.sources import Catalog
from flows.recipe import Recipe


def explained(recipe: Recipe, own_files: Artifact | None = None) -> list[Forecast]:
    """What a build that began now would do with each stage."""
    now = settings()
    day = datetime.now(UTC).astimezone(ZoneInfo(now.timezone)).date()
    store, catalog = Store(s3.client(now), now.bucket_name), Catalog.at(now.catalog_url, {})
    return Explainer(recipe, store, catalog, day, own_files).forecasts()
