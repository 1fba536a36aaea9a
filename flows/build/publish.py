"""Makes `packages/<product>/<version>/` be what the results say."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from flows.build.package_document import (
    DOCUMENT,
    LOCK,
    METADATA,
    MOST_BYTES,
    SOURCES,
    Folder,
    Origin,
    PackageDocument,
    Published,
    PublishedFile,
)
from flows.build.planning.versions import newest_before
from flows.build.recipe.file import parse_recipe
from flows.build.recipe.lock import Lock
from flows.build.releases import Releases
from flows.tables.exports import Package
from larder.action import Action, Ahead
from larder.artifacts import Artifact
from larder.definition import Context
from larder.leases import Held, lease
from larder.published import Publishing
from larder.refusal import RefusedError
from larder.results import Persisted
from larder.store import Absent, Damaged, Stored


def look(context: Context, lock: Lock, files: Package) -> Ahead[Published]:
    """What publishing would do.

    Raises:
        KeyError: the lock or the files are no results of this run.
    """
    plan, package = _origins(context, lock, files)
    state = _State.of(Folder(context.store, lock.product, lock.version), lock, plan, package)
    if (value := state.kept or state.unchanged) is not None:
        return Ahead(value, f"{lock.product} {lock.version} is what it should be")
    verb = "repair" if state.same or state.damaged else "publish"
    return Ahead(None, f"{verb} {lock.product} {lock.version}")


def publish(context: Context, lock: Lock, files: Package) -> Published:
    """Make the product's folder in the bucket be what plan's and package's results say, under a lease on it.

    Raises:
        Damaged: an artifact is not there as its result names it.
        LeaseLost: another publisher took over.
    """
    plan, package = _origins(context, lock, files)
    folder = Folder(context.store, lock.product, lock.version)
    metadata = context.built_by() if context.built_by else {}
    with lease(folder.prefix) as held:
        return _publish(_State.of(folder, lock, plan, package), metadata, held)


PUBLISH = Action("publish", look, publish)


def _origins(context: Context, lock: Lock, files: Package) -> tuple[Persisted, Persisted]:
    if context.persisted is None:
        raise KeyError(lock.product)
    return context.persisted(lock), context.persisted(files)


@dataclass(frozen=True)
class _State:
    """What is published, beside what should be."""

    folder: Folder
    lock: Lock
    plan: Persisted
    package: Persisted
    before: PackageDocument | None
    damaged: bool
    there: Mapping[str, Stored]

    @classmethod
    def of(cls, folder: Folder, lock: Lock, plan: Persisted, package: Persisted) -> "_State":
        """Look at a folder.

        Raises:
            Damaged: a simulated build found what a real one may have made, and it is not whole.
        """
        with ThreadPoolExecutor(1) as thread:
            listing = thread.submit(folder.listing)
            before, damaged = _before(folder)
            there = listing.result()
        if lock.simulated and damaged and _holds_real_files(folder):
            found = "it is not whole, and a real build may have made what lies beside it: build with --real"
            raise Damaged(folder.store.uri(folder.prefix + DOCUMENT), found)
        return cls(folder, lock, plan, package, before, damaged, there)

    @property
    def uri(self) -> str:
        """Of the document."""
        return self.folder.store.uri(self.folder.prefix + DOCUMENT)

    @property
    def kept(self) -> Published | None:
        """What is published where a simulated build would replace a real one."""
        if self.lock.simulated and self.before and not self.before.simulated:
            return Published(uri=self.uri, publish=Publishing.KEPT, document=self.before)
        return None

    @property
    def origins(self) -> tuple[Origin, Origin]:
        """Of plan and package."""
        return _origin(self.plan), _origin(self.package)

    @property
    def same(self) -> bool:
        """Whether what is published came from equal results."""
        before = self.before
        return before is not None and [one.digest for one in self.origins] == [
            before.plan.digest,
            before.package.digest,
        ]

    @property
    def wanted(self) -> dict[str, Artifact]:
        """The artifacts that should be published, by file name."""
        return _wanted(self.plan, self.package)

    @property
    def named(self) -> dict[str, PublishedFile]:
        """The files that the document names."""
        return {file.name: file for file in self.before.files} if self.before else {}

    @property
    def fine(self) -> set[str]:
        """The files that are there as they should be."""
        named, wanted = self.named, self.wanted
        whole = {name for name, file in named.items() if _is_whole(file, self.there.get(name))}
        return {name for name in whole if name == METADATA or _is_copy(named[name], wanted.get(name))}

    @property
    def strays(self) -> set[str]:
        """What lies there and belongs to nothing."""
        return set(self.there) - self.wanted.keys() - {METADATA, DOCUMENT}

    @property
    def unchanged(self) -> Published | None:
        """What is published where nothing has to be done."""
        fine = self.fine
        whole = self.same and not self.strays and METADATA in fine and self.wanted.keys() <= fine
        if whole and self.before:
            return Published(uri=self.uri, publish=Publishing.UNCHANGED, document=self.before)
        return None


def _publish(state: _State, metadata: Mapping[str, Any], held: Held) -> Published:
    if (value := state.kept or state.unchanged) is not None:
        return value
    folder, fine, wanted, named = state.folder, state.fine, state.wanted, state.named
    if state.before and state.same and METADATA in fine and wanted.keys() <= fine:
        _delete(folder, state.strays, held)
        return Published(uri=state.uri, publish=Publishing.UNCHANGED, document=state.before)
    files = []
    for name in sorted(wanted):
        if name not in fine:
            held.require()
        files.append(named[name] if name in fine else folder.copy(name, wanted[name]))
    held.require()
    rows = _row_counts(folder, state.package, real=not state.lock.simulated)
    files.append(folder.write(METADATA, {**metadata, **rows}))
    keep = state.before if state.before and state.same else None
    plan, package = state.origins
    document = PackageDocument(
        product=state.lock.product,
        version=state.lock.version,
        simulated=state.lock.simulated,
        plan=keep.plan if keep else plan,
        package=keep.package if keep else package,
        files=tuple(sorted(files, key=lambda file: file.name)),
    )
    document = document.model_copy(update={"sha256": document.seal()})
    held.require()
    folder.write(DOCUMENT, document.model_dump(mode="json"))
    _delete(folder, state.strays, held)
    _verify(folder, document)
    outcome = Publishing.REPAIRED if state.same or state.damaged else Publishing.PUBLISHED
    return Published(uri=state.uri, publish=outcome, document=document)


def _row_counts(folder: Folder, package: Persisted, *, real: bool) -> dict[str, Any]:
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


def _origin(found: Persisted) -> Origin:
    return Origin(result=found.object_name, key=found.result.key, digest=found.result.digest)


def _wanted(plan: Persisted, package: Persisted) -> dict[str, Artifact]:
    lock: Any = plan.value
    content: Any = package.value
    files = {LOCK: lock.recipe_lock, SOURCES: lock.source_data_versions}
    return files | {file.name: file.file for file in content.files}


def _is_whole(file: PublishedFile, stored: Stored | None) -> bool:
    return stored is not None and (stored.size, stored.etag) == (file.bytes, file.etag)


def _is_copy(file: PublishedFile, artifact: Artifact | None) -> bool:
    return artifact is not None and (file.sha256, file.artifact) == (artifact.sha256, artifact.object_name)


def _delete(folder: Folder, names: set[str], held: Held) -> None:
    for name in sorted(names):
        held.require()
        folder.store.delete(folder.prefix + name)


def _verify(folder: Folder, document: PackageDocument) -> None:
    if folder.document() != document:
        raise Damaged(folder.store.uri(folder.prefix + DOCUMENT), "it is not what was just written")
    there = folder.listing()
    for file in document.files:
        if not _is_whole(file, there.get(file.name)):
            raise Damaged(folder.store.uri(folder.prefix + file.name), "it is not what was just copied")
