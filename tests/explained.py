"""What `larder explain` says of a recipe, asked in this process."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from flows.build.catalog import Catalog
from flows.build.command_files import named
from flows.build.explain import Explainer, Forecast
from flows.build.recipe.schema import Recipe
from larder import s3
from larder.settings import settings
from larder.store import Store


def explained(recipe: Recipe, folder: Path | None = None) -> list[Forecast]:
    """What a build that began now would do with each stage, where the recipe's own files lie in a folder."""
    now = settings()
    day = datetime.now(UTC).astimezone(ZoneInfo(now.timezone)).date()
    store, catalog = Store(s3.client(now), now.bucket_name), Catalog.at(now.catalog_url, {})
    files = named(recipe, folder, store) if folder else None
    return Explainer(recipe, store, catalog, day, files).forecasts()
