"""Publishing a job's layers. A run that another one has overtaken takes nothing back."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from flows.medallion.bucket import accepted_in
from flows.medallion.workflow.modes import ChangedFiles, LoadMode
from larder import published
from larder.action import Action, Ahead
from larder.artifacts import Artifact
from larder.definition import Context
from larder.leases import lease
from larder.published import FolderDocument, PublishedFolder, Publishing, read_published
from larder.store import Damaged, Store

DATA = "data.parquet"
QUARANTINE = "quarantine.parquet"
Files = Mapping[str, Artifact]
About = Mapping[str, JsonValue]


class OvertakenError(Exception):
    """Two runs of one job took different files at once."""


def look_silver(context: Context, folder: str, files: Files, about: About) -> Ahead[PublishedFolder]:
    """What publishing silver would do."""
    if kept := _of_a_later_run(context.store, folder, about):
        return Ahead(kept, f"{folder} has these files and more")
    return published.look(context, folder, files, about)


def publish_silver(context: Context, folder: str, files: Files, about: About) -> PublishedFolder:
    """Publish silver, unless it has all of these files and more.

    Raises:
        OvertakenError: if it has files that this run does not know, and not those of this run.
    """
    with lease(f"{folder}/publishing"):
        kept = _of_a_later_run(context.store, folder, about)
        return kept or published.publish(context, folder, files, about)


def look_gold(context: Context, folder: str, files: Files, about: About) -> Ahead[PublishedFolder]:
    """What publishing gold would do."""
    if kept := _of_another_silver(context.store, folder, about):
        return Ahead(kept, f"{folder} is of a later silver")
    return published.look(context, folder, files, about)


def publish_gold(context: Context, folder: str, files: Files, about: About) -> PublishedFolder:
    """Publish gold, unless its silver is no longer the published one."""
    with lease(f"{folder}/publishing"):
        kept = _of_another_silver(context.store, folder, about)
        return kept or published.publish(context, folder, files, about)


PUBLISH_SILVER = Action("publish", look_silver, publish_silver)
PUBLISH_GOLD = Action("publish", look_gold, publish_gold)


def _of_a_later_run(store: Store, folder: str, about: Mapping[str, Any]) -> PublishedFolder | None:
    document = _published(store, folder)
    if document is None or about["load_mode"] == LoadMode.REPLACE:
        return None
    ours = [one["file"] for one in about["files"]]
    theirs = [one.file.model_dump(mode="json") for one in accepted_in(document)]
    names = {file["name"] for file in ours} if about["changed_files"] == ChangedFiles.CORRECT else set()
    unknown = [file for file in theirs if file not in ours and file["name"] not in names]
    if not unknown:
        return None
    if all(file in theirs for file in ours):
        return _kept(store, folder, document)
    found = ", ".join(file["name"] for file in unknown)
    raise OvertakenError(f"Another run has published {folder} with {found} meanwhile: run it again.")


def _of_another_silver(store: Store, folder: str, about: Mapping[str, Any]) -> PublishedFolder | None:
    silver = _published(store, str(about["silver_folder"]))
    document = _published(store, folder)
    if silver is None or document is None or silver.artifact(DATA).sha256 == about["silver"]:
        return None
    return _kept(store, folder, document)


def _published(store: Store, folder: str) -> FolderDocument | None:
    try:
        return read_published(store, folder)
    except Damaged:
        return None


def _kept(store: Store, folder: str, document: FolderDocument) -> PublishedFolder:
    uri = store.uri(f"{folder}/{published.DOCUMENT}")
    return PublishedFolder(uri=uri, publish=Publishing.KEPT, document=document)
