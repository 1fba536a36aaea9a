"""What the stages hand on: a batch as it was read, its files, and an hour's compacted files."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from larder.artifacts import File, Frozen, Output

Hour = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}$")]
"""An hour in UTC, `2026-01-31T09`."""
Id = Annotated[str, Field(pattern=r"^\d+-\d+$")]
"""A message's id: milliseconds and a number within them."""


class Batch(Output):
    """Messages as they were read, in the order of their ids."""

    file: File
    rows: int
    first: Id
    last: Id
    processed_at: AwareDatetime
    """When they were read. It stays the same however often the batch is worked on."""


class NewFile(Frozen):
    """Events of one type, stream and hour, in a file that does not count yet."""

    file: File
    rows: int
    type: str
    stream: str
    first: Id
    last: Id
    replaced: tuple[str, ...] = ()
    """The names of the files in whose place it is to stand, and of all that those replaced."""


class PartFile(NewFile):
    """A file of a part."""

    hour: Hour
    """Of the events."""


class Part(Frozen):
    """The messages of a batch that Redis took in within one hour. It is registered as a whole."""

    hour: Hour
    """In which Redis took them in."""
    messages: int
    first: Id
    last: Id
    ids: File
    """The identity of every message."""
    files: tuple[PartFile, ...]


class Written(Output):
    """A batch as Parquet files."""

    parts: tuple[Part, ...]


class ListedFile(Frozen):
    """One file that counts, as the document of its hour names it."""

    type: str
    stream: str
    name: str
    """`<stream>_<first id>_<last id>_<digest>.parquet`, in the folder of its type."""
    first: Id
    last: Id
    rows: int
    bytes: int
    sha256: str
    etag: str
    replaced: tuple[str, ...] = ()
    """The names of the files in whose place it stands. They never count again."""


class Compacted(Output):
    """What takes the place of an hour's small files."""

    hour: Hour
    files: tuple[NewFile, ...]
