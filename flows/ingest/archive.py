"""Archives what came: under its digest, and as the latest of its source."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from flows.ingest.manifest import MANIFEST, Manifest, Origin, manifest_of
from flows.ingest.stages.files import Received
from larder import keys, published, transfer
from larder.action import Action, Ahead
from larder.artifacts import Artifact, Frozen
from larder.definition import Context
from larder.leases import lease
from larder.published import PublishedFolder, Publishing, read_published
from larder.store import Absent, Damaged, Store

LATEST = "latest"
MOST_BYTES = 2**20


class Change(StrEnum):
    """What archiving came to."""

    NEW = "new"
    """The source never gave these bytes before."""
    RETURNED = "returned"
    """It gave them before, then others, and gives them again."""
    UNCHANGED = "unchanged"
    REPAIRED = "repaired"
    """Something of it was missing or damaged."""


class Archived(Frozen):
    """One file in the archive."""

    origin: Origin
    change: Change
    manifest: Manifest
    file: PublishedFolder
    """The folder of its digest."""


@dataclass(frozen=True)
class _Wanted:
    """What the archive should hold of one source."""

    manifest: Manifest
    change: Change
    folders: Mapping[str, Mapping[str, Artifact]]
    """The files of each folder."""


def look(
    context: Context, origin: Origin, received: Received, beside: Mapping[str, Artifact]
) -> Ahead[Archived]:
    """What archiving would do; `archive` says of what."""
    wanted = _wanted(context, origin, received, beside)
    ahead = [published.look(context, name, files, _about(wanted)) for name, files in wanted.folders.items()]
    there = [one.value for one in ahead if one.value is not None]
    if len(there) == len(ahead):
        value = Archived(origin=origin, change=wanted.change, manifest=wanted.manifest, file=there[0])
        return Ahead(value, f"{origin.folder} has it as {wanted.manifest.sha256[:12]}")
    return Ahead(None, "; ".join(one.says for one in ahead if one.value is None))


def archive(context: Context, origin: Origin, received: Received, beside: Mapping[str, Artifact]) -> Archived:
    """Put a file and its manifest under its digest, and make it the latest of its source.

    What is there already stays as it is. A run that asked earlier than the one that archived last does not
    become the latest.

    Args:
        origin: whose file it is, and what was asked for
        received: what the source gave
        beside: what else lies in its folder, by name

    Raises:
        Damaged: if what was received is not there as its result names it, or holds another version than the
            one that the source announced in this run.
    """
    store = context.store
    _require_announced(context, received)
    with lease(f"{origin.folder}/"):
        wanted = _wanted(context, origin, received, beside)
        _put_manifest(store, origin, wanted.manifest)
        done = [
            published.publish(context, name, files, _about(wanted)) for name, files in wanted.folders.items()
        ]
    repaired = wanted.change is Change.UNCHANGED and any(
        one.publish is not Publishing.UNCHANGED for one in done
    )
    change = Change.REPAIRED if repaired else wanted.change
    return Archived(origin=origin, change=change, manifest=wanted.manifest, file=done[0])


ARCHIVE = Action("archive", look, archive)


def newest(store: Store, folder: str) -> Manifest | None:
    """The manifest of what a source last gave; None where there is none that is whole."""
    return _manifest_in(store, f"{folder}/{LATEST}")


def validator_of(store: Store, folder: str, request: str) -> str | None:
    """The validator of what a source last gave, if the same was asked for then."""
    manifest = newest(store, folder)
    return manifest.validator if manifest and manifest.request == request else None


def _require_announced(context: Context, received: Received) -> None:
    """A result of an earlier run holds the version that its key names, or is fetched again."""
    other = received.announced not in (None, received.validator)
    if other and received.run != context.run_id and isinstance(received.file, Artifact):
        found = f"it is version {received.validator} of {received.url}, not {received.announced}"
        raise Damaged(context.store.uri(received.file.object_name), found)


def _wanted(context: Context, origin: Origin, received: Received, beside: Mapping[str, Artifact]) -> _Wanted:
    file = received.file
    if not isinstance(file, Artifact):
        raise TypeError(f"{file} is archived once it is in the bucket.")
    store, is_fresh = context.store, received.run == context.run_id
    at = received.at if is_fresh else datetime.now(UTC)
    latest = newest(store, origin.folder)
    own = f"{origin.folder}/{file.sha256}"
    before = _manifest_in(store, own)
    manifest, change = manifest_of(origin, received, file, at, before), Change.NEW
    if latest is not None and latest.sha256 == file.sha256:
        manifest, change = latest, Change.UNCHANGED
    elif before is not None and (latest is None or latest.last_seen < before.last_seen):
        manifest = before
    elif before is not None:
        change = Change.RETURNED
    files = {manifest.name: file, MANIFEST: _artifact_of(origin, manifest), **beside}
    is_older = is_fresh and latest is not None and latest.last_seen > at
    folders = {own: files} if is_older else {own: files, f"{origin.folder}/{LATEST}": files}
    return _Wanted(manifest, change, folders)


def _about(wanted: _Wanted) -> dict[str, str]:
    return {"file": wanted.manifest.name}


def _artifact_of(origin: Origin, manifest: Manifest) -> Artifact:
    """The artifact that a manifest becomes. Its ETag is the store's to say; nothing here compares it."""
    text = manifest.text.encode()
    digest = keys.sha256(text)
    return Artifact(
        object_name=f"artifacts/{origin.folder}/{digest[:12]}-{MANIFEST}",
        sha256=digest,
        bytes=len(text),
        etag="",
        media_type="application/json",
    )


def _put_manifest(store: Store, origin: Origin, manifest: Manifest) -> None:
    with tempfile.TemporaryDirectory(prefix="larder-manifest-") as folder:
        file = Path(folder) / MANIFEST
        file.write_bytes(manifest.text.encode())
        transfer.put_artifact(store, origin.folder, file)


def _manifest_in(store: Store, folder: str) -> Manifest | None:
    try:
        document = read_published(store, folder)
        named = next((file for file in document.files if file.name == MANIFEST), None) if document else None
        if named is None or named.artifact is None:
            return None
        content, _ = store.read(named.artifact, MOST_BYTES)
        if keys.sha256(content) != named.sha256:
            return None
        return Manifest.model_validate_json(content)
    except (Absent, Damaged, ValidationError):
        return None
