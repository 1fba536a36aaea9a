"""A folder of the bucket that equals named artifacts: published, looked at, read."""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from larder import keys, transfer
from larder.action import Action, Ahead
from larder.artifacts import ARTIFACT_NAME, Artifact, Frozen
from larder.definition import Context
from larder.leases import lease
from larder.store import Absent, Damaged, Store, Stored

DOCUMENT = "published.json"
MOST_BYTES = 16 * 2**20


class Publishing(StrEnum):
    """What publishing came to."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REPAIRED = "repaired"
    KEPT = "kept"


class PublishedFile(Frozen):
    """One file of a published folder."""

    name: str
    sha256: str
    bytes: int
    etag: str
    """Of the readable copy."""
    artifact: str | None = Field(None, pattern=ARTIFACT_NAME)
    """Object name of the immutable artifact that it is a copy of."""
    artifact_etag: str | None = None
    media_type: str | None = None
    rows: int | None = None


class FolderDocument(Frozen):
    """`published.json`: what a folder holds. It has no time and no run."""

    larder: int = 1
    folder: str
    files: tuple[PublishedFile, ...]
    about: dict[str, JsonValue] = {}
    sha256: str = ""
    """Of the canonical JSON of all other fields."""

    def seal(self) -> str:
        """What `sha256` must be."""
        return keys.digest({**self.model_dump(mode="json"), "sha256": ""})

    def artifact(self, name: str) -> Artifact:
        """The artifact behind a file, for a stage to be given.

        Raises:
            KeyError: the folder has no such file.
        """
        for file in self.files:
            if file.name == name and file.artifact is not None:
                return Artifact(
                    object_name=file.artifact,
                    sha256=file.sha256,
                    bytes=file.bytes,
                    etag=file.artifact_etag or file.etag,
                    media_type=file.media_type or "application/octet-stream",
                    rows=file.rows,
                )
        raise KeyError(name)


class PublishedFolder(Frozen):
    """What publishing a folder came to."""

    uri: str
    """Of its document."""
    publish: Publishing
    document: FolderDocument


def read_published(store: Store, folder: str) -> FolderDocument | None:
    """What is published in a folder; None where nothing is.

    Raises:
        Damaged: its document is not whole.
    """
    name = f"{folder}/{DOCUMENT}"
    try:
        content, _ = store.read(name, MOST_BYTES)
    except Absent:
        return None
    try:
        document = FolderDocument.model_validate_json(content)
        seal = document.seal()
    except (ValidationError, ValueError, RecursionError) as error:
        raise Damaged(store.uri(name), "it is no document of ours") from error
    if document.sha256 != seal:
        raise Damaged(store.uri(name), "its sha256 is not that of its content")
    return document


def look(
    context: Context, folder: str, files: Mapping[str, Artifact], about: Mapping[str, JsonValue]
) -> Ahead[PublishedFolder]:
    """What publishing would do."""
    before, damaged = _before(context.store, folder)
    there = _listing(context.store, folder)
    if before is not None and _is_current(before, files, about, there):
        uri = context.store.uri(f"{folder}/{DOCUMENT}")
        value = PublishedFolder(uri=uri, publish=Publishing.UNCHANGED, document=before)
        return Ahead(value, f"{folder} is what it should be")
    return Ahead(None, f"{'repair' if damaged else 'publish'} {folder}")


def publish(
    context: Context, folder: str, files: Mapping[str, Artifact], about: Mapping[str, JsonValue]
) -> PublishedFolder:
    """Make a folder hold copies of these artifacts and nothing else, under a lease on it.

    Args:
        folder: `bronze/sales/orders`
        files: artifacts by the file names that a person looks for
        about: what else the document says; no time and no run

    Raises:
        Damaged: an artifact is not there as its result names it.
        LeaseLost: another publisher took over.
    """
    store = context.store
    uri = store.uri(f"{folder}/{DOCUMENT}")
    with lease(f"{folder}/") as held:
        before, damaged = _before(store, folder)
        there = _listing(store, folder)
        if before is not None and _is_current(before, files, about, there):
            return PublishedFolder(uri=uri, publish=Publishing.UNCHANGED, document=before)
        named = {file.name: file for file in before.files} if before else {}
        copied = []
        for name in sorted(files):
            file = named.get(name)
            if file is None or not _is_copy(file, files[name], there.get(name)):
                held.require()
                file = _copy(store, folder, name, files[name])
            copied.append(file)
        document = FolderDocument(folder=folder, files=tuple(copied), about=dict(about))
        document = document.model_copy(update={"sha256": document.seal()})
        same = before is not None and _content(before) == _content(document)
        held.require()
        text = json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"
        store.write(f"{folder}/{DOCUMENT}", text, "application/json")
        for name in sorted(there.keys() - files.keys() - {DOCUMENT}):
            held.require()
            store.delete(f"{folder}/{name}")
        if read_published(store, folder) != document:
            raise Damaged(uri, "it is not what was just written")
        outcome = Publishing.REPAIRED if same or damaged else Publishing.PUBLISHED
        return PublishedFolder(uri=uri, publish=outcome, document=document)


PUBLISH_FOLDER = Action("publish", look, publish)


def published_in(value: object) -> Iterator[PublishedFolder]:
    """The published folders in what a pipeline returned."""
    match value:
        case PublishedFolder():
            yield value
        case Frozen():
            for name in type(value).model_fields:
                yield from published_in(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from published_in(item)
        case list() | tuple():
            for item in value:
                yield from published_in(item)


def _before(store: Store, folder: str) -> tuple[FolderDocument | None, bool]:
    try:
        return read_published(store, folder), False
    except Damaged:
        return None, True


def _listing(store: Store, folder: str) -> dict[str, Stored]:
    prefix = f"{folder}/"
    return {
        stored.name.removeprefix(prefix): stored
        for stored in store.below(prefix)
        if not stored.name.endswith("/")
    }


def _is_current(
    document: FolderDocument,
    files: Mapping[str, Artifact],
    about: Mapping[str, Any],
    there: Mapping[str, Stored],
) -> bool:
    named = {file.name: file for file in document.files}
    return (
        named.keys() == files.keys()
        and keys.digest(document.about) == keys.digest(dict(about))
        and there.keys() == {*named, DOCUMENT}
        and all(_is_copy(named[name], artifact, there.get(name)) for name, artifact in files.items())
    )


def _is_copy(file: PublishedFile, artifact: Artifact, stored: Stored | None) -> bool:
    whole = stored is not None and (stored.size, stored.etag) == (file.bytes, file.etag)
    return whole and (file.sha256, file.artifact) == (artifact.sha256, artifact.object_name)


def _copy(store: Store, folder: str, name: str, artifact: Artifact) -> PublishedFile:
    etag = transfer.copy(store, artifact, f"{folder}/{name}")
    return PublishedFile(
        name=name,
        sha256=artifact.sha256,
        bytes=artifact.bytes,
        etag=etag,
        artifact=artifact.object_name,
        artifact_etag=artifact.etag,
        media_type=artifact.media_type,
        rows=artifact.rows,
    )


def _content(document: FolderDocument) -> object:
    return [(file.name, file.sha256, file.artifact) for file in document.files], keys.digest(document.about)
