"""Land: a file is taken out of landing for good."""

from pathlib import Path
from typing import Protocol

from flows.medallion.stages.landing import LandedFile
from larder.artifacts import File, Output


class Landed(Output):
    """A file as it came."""

    file: File
    sha256: str


class Bucket(Protocol):
    """Where files lie."""

    def fetch(self, workflow_id: str, job_id: str, file: LandedFile, target: Path) -> str:
        """Read a file from landing, or from where its bytes are kept; their sha256."""
        ...


def land(file: LandedFile, workflow_id: str, job_id: str, *, bucket: Bucket, scratch: Path) -> Landed:
    """Take a file out of landing: what lies there may be overwritten from now on.

    Raises:
        FileChangedError: if it was changed or removed since it was listed.
    """
    target = scratch / file.name.rsplit("/", 1)[-1]
    return Landed(sha256=bucket.fetch(workflow_id, job_id, file, target), file=target)
