"""`package.json` and the folder that it stands in: one version of a product, as it is published."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError

from larder import keys, transfer
from larder.artifacts import ARTIFACT_NAME, Artifact, Frozen
from larder.published import Publishing
from larder.store import Damaged, Store, Stored

DOCUMENT = "package.json"
METADATA = "build_metadata.json"
LOCK = "recipe.lock.yml"
SOURCES = "source_data_versions.csv"
MOST_BYTES = 16 * 2**20


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
    artifact: str | None = Field(None, pattern=ARTIFACT_NAME)
    """Object name of the immutable artifact that it is a copy of."""


class PackageDocument(Frozen):
    """`package.json`: what is published. It holds no time and no run."""

    larder: Literal[2] = 2
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
        etag = transfer.copy(self.store, artifact, self.prefix + name)
        return PublishedFile(
            name=name, sha256=artifact.sha256, bytes=artifact.bytes, etag=etag, artifact=artifact.object_name
        )

    def write(self, name: str, content: Mapping[str, Any]) -> PublishedFile:
        """Write a JSON document into it."""
        text = json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
        etag = self.store.write(self.prefix + name, text, "application/json")
        return PublishedFile(name=name, sha256=keys.sha256(text), bytes=len(text), etag=etag)
