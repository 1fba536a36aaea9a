"""Landing: which files count, and in which order."""

import fnmatch
from collections.abc import Sequence

from flows.medallion.workflow.modes import ChangedFiles, LoadMode
from larder.artifacts import Frozen, Output

HIDDEN = (".", "_")
"""A file is no data whose name, or the name of a folder above it, begins so."""


class LandedFile(Frozen):
    """A file in landing, by what the bucket says of it."""

    name: str
    """Below the job's folder."""
    etag: str
    bytes: int


class Wanted(Frozen):
    """Which files of a job are wanted, and how they add up."""

    workflow_id: str
    job_id: str
    pattern: str
    load_mode: LoadMode
    changed_files: ChangedFiles


class Landing(Output):
    """The files of which a job's bronze is made, in their order."""

    job_id: str
    files: tuple[LandedFile, ...]


def landing(wanted: Wanted, files: Sequence[LandedFile]) -> Landing:
    """Settle which files count.

    Args:
        files: what `files_that_count` gives.
    """
    return Landing(job_id=wanted.job_id, files=tuple(files))


def files_that_count(
    wanted: Wanted, before: Sequence[LandedFile], there: Sequence[LandedFile]
) -> list[LandedFile]:
    """The files that lie in landing; in `append` and `merge` behind those that came before.

    Args:
        before: the files whose rows are in silver, in their order.
        there: what lies in landing.
    """
    found = matching(there, wanted.pattern)
    if wanted.load_mode is LoadMode.REPLACE:
        return found
    return in_order(before, found, wanted.changed_files)


def matching(files: Sequence[LandedFile], pattern: str) -> list[LandedFile]:
    """The files with data whose names match a pattern, by name."""
    data = [file for file in files if not any(part.startswith(HIDDEN) for part in file.name.split("/"))]
    matched = [file for file in data if fnmatch.fnmatchcase(file.name, pattern)]
    return sorted(matched, key=lambda file: file.name)


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
            order = [*(one for one in order if one != file), file]
    return order
