"""What the categories of a department come to."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.ingest.archive import Archived
from larder.published import PublishedFolder


@dataclass(frozen=True)
class Brought:
    """What one category came to."""

    category: str
    archived: Sequence[Archived] = ()
    published: PublishedFolder | None = None
