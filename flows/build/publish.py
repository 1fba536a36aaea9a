"""Makes `packages/<product>/<version>/` be what the results say, and reads what was published."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import ValidationError

from larder.leases import lease
from larder.store import Absent, Damaged, Store, Stored
from larder import keys
from larder.artifacts import Artifact, Frozen
from flows.build.planning.versions import newest, newest_before
from flows.build.recipe.lock import Lock
from larder.refusal import Problem, RefusedError
from flows.build.recipe.schema import Recipe
from flows.build.recipe.file import parse_recipe
from larder.results import Found

DOCUMENT = "package.json"
METADATA = "build_metadata.json"
LOCK = "recipe.lock.yml"
SOURCES = "source_data_versions.csv"
MOST_BYTES = 16 * 2**20


class Publishing(StrEnum):
    """What publishing came to."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REPAIRED = "repaired"
    KEPT = "kept"


class Origin(Frozen):
    """The result that published files come from."""

    result: str
    key: str
    digest: str


class PublishedFile(Frozen):
    """One file of a package."""

    name: str
    sha256: str
    bytes: int
    etag: str
    """Of the readable copy."""
    artifact: str | None = None
    """The immutable artifact that it is a copy of."""


class PackageDocument(Frozen):
    """`package.json`: what is published. It holds no time and no run."""

    larder: Literal[1] = 1
    product: str
    version: str
    simulated: bool
    plan: Origin
    package: Origin
    files: tuple[PublishedFile, ...]
    sha256: str = ""
    """Of the canonical JSON of all other fields."""

    def seal(self) -> str:
        """What `sha256` must be."""
        return keys.digest({**self.model_dump(mode="json"), "sha256": ""})


class Published(Frozen):
    """What a run published, or found published."""

    uri: str
    publish: Publishing
    document: PackageDocument

    @property
    def files(self) -> tuple[PublishedFile, ...]:
        """All that is named, but for the one file that differs from build to build."""
        return tuple(file for file in self.document.files if file.name != METADATA)


@dataclass(frozen=True)
class Folder:
    """One product's version below `packages/`."""

    store: Store
    product: str
    version: str

    @property
    def prefix(self) -> str:
        """How the names of its objects begin."""
        return f"packages/{self.product}/{self.version}/"

    def document(self) -> PackageDocument:
        """What `package.json` says.

        Raises:
            Absent: nothing is published here.
            Damaged: it is no such document.
        """
        uri = self.store.uri(self.prefix + DOCUMENT)
        content, _ = self.store.read(self.prefix + DOCUMENT, MOST_BYTES)
        try:
            document = PackageDocument.model_validate_json(content)
            seal = document.seal()
        except (ValidationError, ValueError, RecursionError) as error:
            raise Damaged(uri, "it is no package document of ours") from error
        if document.sha256 != seal:
            raise Damaged(uri, "its sha256 is not that of its content")
        return document

    def listing(self) -> dict[str, Stored]:
        """What lies in it, by name within it."""
        return {
            stored.name.removeprefix(self.prefix): stored
            for stored in self.store.below(self.prefix)
            if not stored.name.endswith("/")
        }

    def copy(self, name: str, artifact: Artifact) -> PublishedFile:
        """Copy an artifact into it, inside the store.

        Raises:
            Damaged: if the artifact is not there as its result names it.
        """
        source = self.store.name(artifact.uri)
        try:
            etag = self.store.copy(
                source, self.prefix + name, artifact.etag, artifact.bytes, artifact.media_type
            )
        except Absent as error:
            raise Damaged(artifact.uri, "it is gone") from error
        return PublishedFile(
            name=name, sha256=artifact.sha256, bytes=artifact.bytes, etag=etag, artifact=artifact.uri
        )

    def write(self, name: str, content: Mapping[str, Any]) -> PublishedFile:
        """Write a JSON document into it."""
        text = json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
        etag = self.store.write(self.prefix + name, text, "application/json")
        return PublishedFile(name=name, sha256=keys.sha256(text), bytes=len(text), etag=etag)


@dataclass(frozen=True)
class Releases:
    """The versions of a product that real builds published."""

    store: Store
    product: str

    def versions(self) -> Sequence[str]:
        """In no order."""
        names = self.store.folders(f"packages/{self.product}/")
        return [name for name in names if (document := self._document(name)) and not document.simulated]

    def lock(self, version: str) -> Recipe:
        """The lock that a release was built from, as a recipe."""
        return published_lock(self.store, self.product, version)

    def _document(self, version: str) -> PackageDocument | None:
        try:
            return Folder(self.store, self.product, version).document()
        except Absent:
            return None


def published_lock(store: Store, product: str, version: str | None) -> Recipe:
    """The lock of a published version, the newest where None, as a recipe with every version pinned.

    Raises:
        RefusedError: if that version is not published; it names those that are.
    """
    versions = [name for name in store.folders(f"packages/{product}/") if _is_there(store, product, name)]
    version = version or (newest(versions) if versions else None)
    if version is None or version not in versions:
        found = f"no published version of {product}" if version is None else f"version {version} of {product}"
        known = ", ".join(sorted(versions)) or "none is published yet; build one without --locked"
        raise RefusedError("--locked", Problem("version", found, f"one of: {known}"))
    document = Folder(store, product, version).document()
    artifact = next(file for file in document.files if file.name == LOCK)
    uri = artifact.artifact or store.uri(f"packages/{product}/{version}/{LOCK}")
    content, _ = store.read(store.name(uri), MOST_BYTES)
    if keys.sha256(content) != artifact.sha256:
        raise Damaged(uri, f"its bytes are not those that {DOCUMENT} names")
    return parse_recipe(content.decode(), origin=uri)


def publish(store: Store, lock: Lock, plan: Found, package: Found, metadata: Mapping[str, Any]) -> Published:
    """Make the product's folder be what plan's and package's results say, under a lease on it.

    Args:
        lock: what plan returned
        plan, package: the two results
        metadata: who built it when and from what; written only when something changes

    Raises:
        Damaged: if an artifact is not there as its result names it.
    """
    folder = Folder(store, lock.product, lock.version)
    with lease(folder.prefix):
        return _publish(folder, lock, plan, package, metadata)


def _publish(
    folder: Folder, lock: Lock, plan: Found, package: Found, metadata: Mapping[str, Any]
) -> Published:
    uri = folder.store.uri(folder.prefix + DOCUMENT)
    with ThreadPoolExecutor(1) as thread:
        listing = thread.submit(folder.listing)
        before, damaged = _before(folder)
        there = listing.result()
    if lock.simulated and before and not before.simulated:
        return Published(uri=uri, publish=Publishing.KEPT, document=before)
    if lock.simulated and damaged and _holds_real_files(folder):
        found = "it is not whole, and a real build may have made what lies beside it: build with --real"
        raise Damaged(uri, found)
    origins = (_origin(plan), _origin(package))
    same = before is not None and [one.digest for one in origins] == [
        before.plan.digest,
        before.package.digest,
    ]
    wanted = _wanted(plan, package)
    named = {file.name: file for file in before.files} if before else {}
    whole = {name for name, file in named.items() if _is_whole(file, there.get(name))}
    fine = {name for name in whole if name == METADATA or _is_copy(named[name], wanted.get(name))}
    missing = [name for name in wanted if name not in fine]
    strays = there.keys() - wanted.keys() - {METADATA, DOCUMENT}
    if before and same and not missing and METADATA in fine:
        _delete(folder, strays)
        return Published(uri=uri, publish=Publishing.UNCHANGED, document=before)
    files = [named[name] if name in fine else folder.copy(name, wanted[name]) for name in sorted(wanted)]
    files.append(
        folder.write(METADATA, {**metadata, **_row_counts(folder, package, real=not lock.simulated)})
    )
    keep = before if before and same else None
    document = PackageDocument(
        product=lock.product,
        version=lock.version,
        simulated=lock.simulated,
        plan=keep.plan if keep else origins[0],
        package=keep.package if keep else origins[1],
        files=tuple(sorted(files, key=lambda file: file.name)),
    )
    document = document.model_copy(update={"sha256": document.seal()})
    folder.write(DOCUMENT, document.model_dump(mode="json"))
    _delete(folder, strays)
    _verify(folder, document)
    outcome = Publishing.REPAIRED if same or damaged else Publishing.PUBLISHED
    return Published(uri=uri, publish=outcome, document=document)


def _row_counts(folder: Folder, package: Found, *, real: bool) -> dict[str, Any]:
    """The rows of each file; of a real build also those of the release before it."""
    content: Any = package.value
    rows = {file.name: file.rows for file in content.files if file.rows is not None}
    try:
        released = Releases(folder.store, folder.product).versions() if real else ()
        previous = newest_before(released, folder.version)
        if previous is None:
            return {"rows": rows}
        name = f"{Folder(folder.store, folder.product, previous).prefix}{METADATA}"
        before = json.loads(folder.store.read(name, MOST_BYTES)[0]).get("rows")
    except (Absent, Damaged, ValueError, AttributeError):
        return {"rows": rows}
    return {"rows": rows, "previous": {"version": previous, "rows": before}}


def _before(folder: Folder) -> tuple[PackageDocument | None, bool]:
    try:
        return folder.document(), False
    except Absent:
        return None, False
    except Damaged:
        return None, True


def _holds_real_files(folder: Folder) -> bool:
    try:
        content, _ = folder.store.read(folder.prefix + LOCK, MOST_BYTES)
        return parse_recipe(content.decode(), origin=folder.store.uri(folder.prefix + LOCK)).simulate is None
    except Absent:
        return False
    except (Damaged, RefusedError, UnicodeDecodeError):
        return True


def _origin(found: Found) -> Origin:
    return Origin(result=found.object_name, key=found.result.key, digest=found.result.digest)


def _wanted(plan: Found, package: Found) -> dict[str, Artifact]:
    lock: Any = plan.value
    content: Any = package.value
    files = {LOCK: lock.recipe_lock, SOURCES: lock.source_data_versions}
    return files | {file.name: file.file for file in content.files}


def _is_whole(file: PublishedFile, stored: Stored | None) -> bool:
    return stored is not None and (stored.size, stored.etag) == (file.bytes, file.etag)


def _is_copy(file: PublishedFile, artifact: Artifact | None) -> bool:
    return artifact is not None and (file.sha256, file.artifact) == (artifact.sha256, artifact.uri)


def _delete(folder: Folder, names: set[str]) -> None:
    for name in sorted(names):
        folder.store.delete(folder.prefix + name)


def _verify(folder: Folder, document: PackageDocument) -> None:
    if folder.document() != document:
        raise Damaged(folder.store.uri(folder.prefix + DOCUMENT), "it is not what was just written")
    there = folder.listing()
    for file in document.files:
        if not _is_whole(file, there.get(file.name)):
            raise Damaged(folder.store.uri(folder.prefix + file.name), "it is not what was just copied")


def _is_there(store: Store, product: str, version: str) -> bool:
    try:
        store.stat(f"packages/{product}/{version}/{DOCUMENT}")
    except Absent:
        return False
    return True
