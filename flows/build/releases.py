"""The versions of a product that are published, and the locks that they were built from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from flows.build.package_document import DOCUMENT, LOCK, MOST_BYTES, Folder, PackageDocument
from flows.build.planning.versions import newest
from flows.build.recipe.file import parse_recipe
from flows.build.recipe.schema import Recipe
from larder import keys
from larder.refusal import Problem, RefusedError
from larder.store import Absent, Damaged, Store

log = logging.getLogger(__name__)


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
        folder = Folder(self.store, self.product, version)
        try:
            return folder.document()
        except Absent:
            return None
        except Damaged as damage:
            log.warning("%s It is left out of the releases of %s.", damage, self.product)
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
    name = artifact.artifact or f"packages/{product}/{version}/{LOCK}"
    uri, (content, _) = store.uri(name), store.read(name, MOST_BYTES)
    if keys.sha256(content) != artifact.sha256:
        raise Damaged(uri, f"its bytes are not those that {DOCUMENT} names")
    return parse_recipe(content.decode(), origin=uri)


def _is_there(store: Store, product: str, version: str) -> bool:
    try:
        store.stat(f"packages/{product}/{version}/{DOCUMENT}")
    except Absent:
        return False
    return True
