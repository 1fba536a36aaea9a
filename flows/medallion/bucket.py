"""What the bucket says of a job: what lies in landing, and which files have come so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.medallion.stages.landing import LandedFile, Wanted, files_that_count
from flows.medallion.workflow.modes import LoadMode
from larder.artifacts import Frozen
from larder.definition import Context
from larder.published import FolderDocument, read_published
from larder.store import Absent, Damaged, Store


class FileChangedError(Exception):
    """A file in landing was changed or removed while a run was about to read it."""


class AcceptedFile(Frozen):
    """A file whose rows are in silver, and where its bytes are kept."""

    file: LandedFile
    sha256: str
    kept: str
    """The object that holds its bytes for good."""


def folder(layer: str, workflow_id: str, job_id: str) -> str:
    """Where a layer of a job lies in the bucket."""
    return f"{layer}/{workflow_id}/{job_id}"


@dataclass(frozen=True)
class JobsBucket:
    """The bucket, as the stages of a job see it."""

    store: Store

    def landed(self, workflow_id: str, job_id: str) -> list[LandedFile]:
        """The files below the job's folder in landing."""
        prefix = f"{folder('landing', workflow_id, job_id)}/"
        return [
            LandedFile(name=stored.name.removeprefix(prefix), etag=stored.etag, bytes=stored.size)
            for stored in self.store.below(prefix)
            if not stored.name.endswith("/")
        ]

    def accepted(self, workflow_id: str, job_id: str) -> list[AcceptedFile]:
        """The files whose rows are in the job's silver, in their order.

        Where silver's own document is gone or not whole, bronze's tells the same.
        """
        silver = folder("silver", workflow_id, job_id)
        try:
            document = read_published(self.store, silver)
        except Damaged:
            document = None
        if document is None and self.store.below(f"{silver}/"):
            document = read_published(self.store, folder("bronze", workflow_id, job_id))
        return [] if document is None else accepted_in(document)

    def fetch(self, workflow_id: str, job_id: str, file: LandedFile, target: Path) -> str:
        """Read a file from landing, or from where its bytes are kept; their sha256.

        Raises:
            FileChangedError: if neither has it.
        """
        name = f"{folder('landing', workflow_id, job_id)}/{file.name}"
        try:
            return self.store.download(name, target, file.bytes, file.etag)
        except (Absent, Damaged) as error:
            for one in self.accepted(workflow_id, job_id):
                if one.file == file:
                    kept = self.store.stat(one.kept)
                    self.store.get_file(one.kept, target, one.sha256, kept.size, kept.etag)
                    return one.sha256
            cause = f"{name} was changed or removed while the run was about to read it: run it again"
            raise FileChangedError(cause) from error


def accepted_in(document: FolderDocument) -> list[AcceptedFile]:
    """The files that a published folder is made of."""
    listed = document.about.get("files")
    return [AcceptedFile.model_validate(one) for one in listed] if isinstance(listed, list) else []


def bucket_of(context: Context) -> JobsBucket:
    """The run's bucket."""
    return JobsBucket(context.store)


def files_of_job(context: Context, arguments: Mapping[str, Any]) -> list[LandedFile]:
    """The files that count for a job now."""
    wanted: Wanted = arguments["wanted"]
    bucket, place = JobsBucket(context.store), (wanted.workflow_id, wanted.job_id)
    replaces = wanted.load_mode is LoadMode.REPLACE
    before = [] if replaces else [one.file for one in bucket.accepted(*place)]
    return files_that_count(wanted, before, bucket.landed(*place))
