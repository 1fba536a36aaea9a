"""Files between this machine and the bucket: uploaded as artifacts, fetched and verified."""

from collections.abc import Mapping
from pathlib import Path

from larder.artifacts import Artifact, Output, media_type, replace_files
from larder.store import Absent, Damaged, Store, sums_of


def upload_files(store: Store, folder: str, value: Output, given: Mapping[Path, Artifact]) -> Output:
    """What a stage returned, with artifacts in place of paths; `given` says which there are already."""

    def put(file: Path | Artifact, rows: int | None) -> Artifact:
        if isinstance(file, Artifact):
            return file
        return given.get(file) or put_artifact(store, folder, file, rows)

    return replace_files(value, put)


def put_artifact(store: Store, folder: str, path: Path, rows: int | None = None) -> Artifact:
    """Upload one file under a name that carries its digest. What lies there already is overwritten."""
    sums = sums_of(path)
    name = f"artifacts/{folder}/{sums.sha256[:12]}-{path.name}"
    kind = media_type(path)
    etag = store.put_file(name, path, sums, kind)
    return Artifact(
        object_name=name, sha256=sums.sha256, bytes=sums.size, etag=etag, media_type=kind, rows=rows
    )


def fetch(store: Store, artifact: Artifact, path: Path) -> None:
    """Stream an artifact into a local file and verify its bytes.

    Raises:
        Damaged: if they are not there, or not those that its result names.
    """
    uri = store.uri(artifact.object_name)
    try:
        stored = store.stat(artifact.object_name)
        if stored.size != artifact.bytes:
            raise Damaged(uri, f"it has {stored.size} bytes, not {artifact.bytes}")
        store.get_file(artifact.object_name, path, artifact.sha256, artifact.bytes, stored.etag)
    except Absent as error:
        raise Damaged(uri, "it is gone") from error


def copy(store: Store, artifact: Artifact, target: str) -> str:
    """Copy an artifact to another name inside the store, and return the copy's ETag.

    Raises:
        Damaged: if the artifact is not there as its result names it.
    """
    uri = store.uri(artifact.object_name)
    try:
        stored = store.stat(artifact.object_name)
        if stored.size != artifact.bytes:
            raise Damaged(uri, f"it has {stored.size} bytes, not {artifact.bytes}")
        if stored.etag != artifact.etag and store.digest_of(stored) != artifact.sha256:
            raise Damaged(uri, "its ETag changed: other bytes")
        return store.copy(artifact.object_name, target, stored.etag, artifact.bytes, artifact.media_type)
    except Absent as error:
        raise Damaged(uri, "it is gone") from error
