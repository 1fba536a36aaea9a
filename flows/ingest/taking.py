"""The archive as the stages that process it see it."""

from dataclasses import dataclass
from pathlib import Path

from flows.ingest.archive import LATEST
from flows.ingest.errors import SourceError
from flows.ingest.manifest import folder_of
from flows.ingest.schema import ArchivedSource
from larder.artifacts import Artifact
from larder.lookup import verify_artifact
from larder.published import read_published
from larder.store import Damaged, Store


@dataclass(frozen=True)
class DepartmentArchive:
    """What one department has brought in."""

    store: Store
    department: str

    def sha256(self, source: ArchivedSource, name: str | None) -> str | None:
        """Of what a source last gave, or of what lies beside it; None where there is nothing."""
        document = read_published(self.store, self._folder(source))
        wanted = name or (str(document.about["file"]) if document else None)
        return next((one.sha256 for one in document.files if one.name == wanted), None) if document else None

    def latest(self, source: ArchivedSource, name: str | None, scratch: Path) -> Path | Artifact:
        """What a source last gave, or what lies beside it under a name: its artifact, else the readable copy.

        Raises:
            SourceError: if nothing of it is archived.
        """
        folder = self._folder(source)
        document = read_published(self.store, folder)
        if document is None:
            cause = f"nothing is archived there yet. Run the category {source.category} first."
            raise SourceError(self.store.uri(folder), cause)
        wanted = name or str(document.about["file"])
        file = next((one for one in document.files if one.name == wanted), None)
        if file is None:
            known = ", ".join(one.name for one in document.files)
            raise SourceError(self.store.uri(folder), f"no {wanted} lies there, but {known}.")
        artifact = document.artifact(wanted)
        try:
            verify_artifact(self.store, artifact)
        except Damaged:
            target = scratch / wanted
            self.store.get_file(f"{folder}/{wanted}", target, file.sha256, file.bytes, file.etag)
            return target
        return artifact

    def _folder(self, source: ArchivedSource) -> str:
        return f"{folder_of(self.department, source.category, source.source)}/{LATEST}"
