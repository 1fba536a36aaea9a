"""Files of the archive, for the stages that make something of them."""

from pathlib import Path
from typing import Protocol

from flows.ingest.schema import ArchivedSource
from larder.artifacts import Artifact, File, Output


class Archive(Protocol):
    """The archive of one department."""

    def latest(self, source: ArchivedSource, name: str | None, scratch: Path) -> Path | Artifact:
        """What a source last gave, or what lies beside it under a name."""


class Taken(Output):
    """One file of the archive."""

    file: File
    source: ArchivedSource
    rows: int | None = None


def take(
    source: ArchivedSource,
    beside: str | None,
    *,
    sha256: str | None,  # noqa: ARG001
    archive: Archive,
    scratch: Path,
) -> Taken:
    """Take what a source last gave.

    Args:
        source: whose file
        beside: the name of what lies beside it, to take that instead
        sha256: of what is taken; names it in the key
        archive: where it is
        scratch: where it goes, if its artifact is gone
    """
    return Taken(file=archive.latest(source, beside, scratch), source=source)
