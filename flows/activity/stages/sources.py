"""Sources: what the API holds, page by page as it came."""

from pathlib import Path

from flows.activity.stages import api
from flows.activity.stages.api import Limits, Say
from flows.activity.stages.pages import Pages, Source, read_pages
from larder.artifacts import Frozen


class Reading(Frozen):
    """How sources are read in one run."""

    limits: Limits = Limits()
    refresh: bool = True
    """Whether the API is asked at all, where the source was read before."""


def users(source: Source, version: str, *, reading: Reading, say: Say = print, scratch: Path) -> Pages:
    """The users."""
    return _read("users", source, version, reading, say, scratch)


def posts(source: Source, version: str, *, reading: Reading, say: Say = print, scratch: Path) -> Pages:
    """The posts."""
    return _read("posts", source, version, reading, say, scratch)


def _read(  # noqa: PLR0913, PLR0917
    name: str, source: Source, version: str, reading: Reading, say: Say, scratch: Path
) -> Pages:
    with api.opened(name, reading.limits, say) as opened:
        return read_pages(opened, source, version, scratch)
