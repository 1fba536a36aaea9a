"""The files that a recipe's commands use: found beside the recipe, carried to where the build runs."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.build.never_taken import GitError, never_taken, reasons
from flows.build.recipe.schema import Recipe
from flows.build.stages.command import CommandFiles
from flows.tables.folders import below, pack
from larder import keys, transfer
from larder.artifacts import Artifact, media_type
from larder.refusal import Problem, RefusedError
from larder.settings import settings
from larder.store import Store

NAME = "files.tar"
GLOB = re.compile(r"[*?\[]")


def carried(recipe: Recipe, folder: Path, store: Store) -> CommandFiles | None:
    """Puts the files into the bucket as one archive; None where the recipe uses none.

    Raises:
        RefusedError: a pattern matches nothing, or a link to outside the folder.
    """
    with _packed(recipe, folder) as packed:
        if packed is None:
            return None
        archive, digests = packed
        return CommandFiles(archive=transfer.put_artifact(store, recipe.product, archive), files=digests)


def named(recipe: Recipe, folder: Path) -> CommandFiles | None:
    """What `carried` would make; nothing is written.

    Raises:
        RefusedError: a pattern matches nothing, or a link to outside the folder.
    """
    with _packed(recipe, folder) as packed:
        if packed is None:
            return None
        archive, digests = packed
        content = archive.read_bytes()
        sha256 = keys.sha256(content)
        artifact = Artifact(
            object_name=f"artifacts/{recipe.product}/{sha256[:12]}-{NAME}",
            sha256=sha256,
            bytes=len(content),
            etag="",
            media_type=media_type(archive),
        )
        return CommandFiles(archive=artifact, files=digests)


def require_carried(recipe: Recipe, command_files: CommandFiles | None) -> None:
    """Return if the files are there that the recipe's commands use.

    Raises:
        RefusedError: they are not.
    """
    if recipe.simulate is None and recipe.build.files and command_files is None:
        expected = "to be built by `larder build`, which carries them"
        found = ", ".join(recipe.build.files)
        raise RefusedError(
            f"recipe of {recipe.product}", Problem("stage_config.builds.build.files", found, expected)
        )


@contextmanager
def _packed(recipe: Recipe, folder: Path) -> Iterator[tuple[Path, dict[str, str]] | None]:
    if recipe.simulate is not None or not recipe.build.files:
        yield None
        return
    found: set[Path] = set()
    folder = folder.resolve()
    for at, pattern in enumerate(recipe.build.files):
        place = f"stage_config.builds.build.files[{at}]"
        matching = _taken(recipe, folder, pattern, place)
        for path in matching:
            _require_below(recipe, folder, path, place)
        found |= matching | {path.resolve() for path in matching if path.is_symlink()}
    with tempfile.TemporaryDirectory(prefix="larder-files-") as scratch:
        digests = {
            str(path.relative_to(folder)): keys.sha256(path.read_bytes())
            for path in sorted(found)
            if path.is_file()
        }
        yield pack(folder, found, Path(scratch) / NAME), digests


def _require_below(recipe: Recipe, folder: Path, path: Path, place: str) -> None:
    if not path.resolve().is_relative_to(folder):
        found = f"{path.relative_to(folder)}, a link to {path.resolve()}"
        problem = Problem(place, found, f"files that lie below {folder}")
        raise RefusedError(f"recipe of {recipe.product}", problem)


def _taken(recipe: Recipe, folder: Path, pattern: str, place: str) -> set[Path]:
    """The files that a pattern names, without those that are never taken."""
    matching = set(_files(folder, pattern))
    try:
        left = never_taken(folder, matching, settings().home)
    except GitError as error:
        expected = "a folder of which git says what it ignores"
        problem = Problem(place, f"{pattern} below {folder}: {error}", expected)
        raise RefusedError(f"recipe of {recipe.product}", problem) from error
    taken = matching - left.keys()
    outright = not GLOB.search(pattern) and (folder / pattern).is_file()
    if not taken or (outright and left):
        why = f"matches only what is never taken ({reasons(left, folder)})" if left else "matches none"
        expected = f"files below {folder} that are neither hidden nor ignored by git"
        raise RefusedError(f"recipe of {recipe.product}", Problem(place, f"{pattern}, which {why}", expected))
    return taken


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    """The files that a pattern names, and all below the folders that it names."""
    whole = not Path(pattern).parts
    for path in (folder,) if whole else folder.glob(pattern):
        for one in below(path) if path.is_dir() else (path,):
            if one.is_file():
                yield one
