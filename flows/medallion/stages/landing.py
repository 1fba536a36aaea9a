"""Landing: which files count, in which order, and each as it came."""

import fnmatch
import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from flows.medallion.workflow.modes import ChangedFiles, LoadMode
from larder.artifacts import File, Frozen, Output

HIDDEN = (".", "_")
"""A file is no data whose name, or the name of a folder above it, begins so."""


class NothingLandedError(Exception):
    """There is no file to begin with."""


class LandedFile(Frozen):
    """A file in landing, by what the bucket says of it."""

    name: str
    """Below the job's folder."""
    etag: str
    bytes: int

    @property
    def source_file(self) -> str:
        """What its rows call it."""
        return self.name


class Batch(Frozen):
    """A file whose rows are in silver, and where its bytes are kept."""

    file: LandedFile
    sha256: str
    kept: str
    """The object that holds its bytes for good."""


class Landing(Output):
    """The files of which a job's bronze is made, in their order."""

    files: tuple[LandedFile, ...]


class Landed(Output):
    """A file as it came."""

    file: File
    sha256: str


class Ingested(Output):
    """When a content was first ingested."""

    at: str
    """`2026-01-31T12:00:00`, in UTC."""


class Bucket(Protocol):
    """What is read of the bucket."""

    def landed(self, workflow_id: str, job_id: str) -> Sequence[LandedFile]:
        """The files below the job's folder in landing."""
        ...

    def accepted(self, workflow_id: str, job_id: str) -> Sequence[Batch]:
        """The files whose rows are in the job's published silver, in their order."""
        ...

    def fetch(self, workflow_id: str, job_id: str, file: LandedFile, target: Path) -> None:
        """Read a file from landing, or where its bytes are kept.

        Raises:
            FileNotFoundError: if neither has it any more.
        """
        ...


def landing(  # noqa: PLR0913
    workflow_id: str,
    job_id: str,
    pattern: str,
    load_mode: LoadMode,
    changed_files: ChangedFiles,
    *,
    bucket: Bucket,
) -> Landing:
    """Find the files that count: those in landing, and in `append` and `merge` those that came before.

    Raises:
        NothingLandedError: if there are none.
    """
    there = matching(bucket.landed(workflow_id, job_id), pattern)
    if load_mode is LoadMode.REPLACE:
        files = there
    else:
        before = [batch.file for batch in bucket.accepted(workflow_id, job_id)]
        files = in_order(before, there, changed_files)
    if not files:
        where = f"landing/{workflow_id}/{job_id}/"
        raise NothingLandedError(f"No file lies below {where} that matches {pattern!r}: put one there.")
    return Landing(files=tuple(files))


def matching(files: Sequence[LandedFile], pattern: str) -> list[LandedFile]:
    """The files with data whose names match a pattern, by name."""
    data = [file for file in files if not any(part.startswith(HIDDEN) for part in file.name.split("/"))]
    return sorted(
        (file for file in data if fnmatch.fnmatchcase(file.name, pattern)), key=lambda file: file.name
    )


def in_order(
    before: Sequence[LandedFile], there: Sequence[LandedFile], changed_files: ChangedFiles
) -> list[LandedFile]:
    """The files that came before, and behind them those that are new.

    A file that is in landing no more stays. One that comes again with other content takes the place of what
    came under its name, or comes behind all (`ChangedFiles`).
    """
    order = list(before)
    for file in there:
        same_name = [at for at, one in enumerate(order) if one.name == file.name]
        if same_name and order[same_name[-1]] == file:
            continue
        if same_name and changed_files is ChangedFiles.CORRECT:
            order[same_name[-1]] = file
            order = [one for at, one in enumerate(order) if at not in same_name[:-1]]
        else:
            order = [one for one in order if one != file] + [file]
    return order


def land(workflow_id: str, job_id: str, file: LandedFile, *, bucket: Bucket, scratch: Path) -> Landed:
    """Take a file out of landing for good: what lies there may be overwritten from now on.

    Raises:
        FileNotFoundError: if it was changed or removed since it was listed.
    """
    target = scratch / file.name.rsplit("/", 1)[-1]
    bucket.fetch(workflow_id, job_id, file, target)
    with target.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Landed(file=target, sha256=digest)


def ingested(sha256: str, *, now: datetime) -> Ingested:  # noqa: ARG001
    """Say when a content was first ingested: now, for it is asked once for each content."""
    return Ingested(at=now.strftime("%Y-%m-%dT%H:%M:%S"))
