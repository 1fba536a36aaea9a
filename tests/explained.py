"""What `larder explain` says of a recipe, asked in this process."""

from pathlib import Path

from flows.build.command_files import named
from flows.build.flow import build
from flows.build.recipe.schema import Recipe
from larder.connection import open_store
from larder.forecast import Entry, forecast
from larder.settings import settings


def explained(recipe: Recipe, folder: Path | None = None) -> list[Entry]:
    """What a build that began now would do with each stage, where the recipe's own files lie in a folder."""
    now = settings()
    arguments: dict[str, object] = {"recipe": recipe}
    if folder and (files := named(recipe, folder)):
        arguments["command_files"] = files
    entries = forecast(build, arguments, now, open_store(now)).entries
    return [entry for entry in entries if not entry.is_action]
