"""Sources: what the API holds, as it came, and whether it is still what it was."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from flows.activity.stages import api
from flows.activity.stages.api import AnswerError, Api, Head, Limits, Say, Validators
from flows.activity.stages.pages import Pages, Source, read_pages
from larder.artifacts import Output

Newest = Callable[[str], Pages | None]
"""What was read last of a source, by its name; None where nothing was."""


class Version(Output):
    """Which version of a source there is now."""

    name: str


def version(  # noqa: PLR0913
    name: str, source: Source, refresh: bool, *, limits: Limits, newest: Newest, say: Say = print
) -> Version:
    """Ask the API whether the pages of a source are still those that were read last, and read none of them.

    While they are, the version keeps its name. Else the new name is made of what was read last and of what
    the API says of the first page that is another one by now: two runs that meet one change give one name,
    and no name comes back. Where the API names no versions, a page is always another one.

    Args:
        refresh: whether to ask; where not, the version is what was read last, if anything was

    Raises:
        UnreachableError: the API did not answer.
        AnswerError: it refused.
    """
    last = newest(name)
    same = last is not None and last.source == source
    if last is not None and same and not refresh:
        return Version(name=last.version)
    with api.opened(name, limits, say) as opened:
        if last is None or not same:
            url = source.page_url()
            return _version(last, url, opened.look(url, Validators()))
        return _changed(opened, last) or Version(name=last.version)


def users(source: Source, version: Version, *, limits: Limits, say: Say = print, scratch: Path) -> Pages:
    """The users, page by page."""
    return _read("users", source, version, limits, say, scratch)


def posts(source: Source, version: Version, *, limits: Limits, say: Say = print, scratch: Path) -> Pages:
    """The posts, page by page."""
    return _read("posts", source, version, limits, say, scratch)


def _read(  # noqa: PLR0913, PLR0917
    name: str, source: Source, version: Version, limits: Limits, say: Say, scratch: Path
) -> Pages:
    with api.opened(name, limits, say) as opened:
        return read_pages(opened, source, version.name, scratch)


def _changed(opened: Api, last: Pages) -> Version | None:
    """The version that begins with the first page that is another one; None where all are what they were."""
    for page in last.pages:
        try:
            head = opened.look(page.url, page.validators)
        except AnswerError as error:
            if page is last.pages[0]:
                raise
            return _version(last, page.url, error.found)
        if not head.unchanged or (page is last.pages[-1] and _goes_on(last.source, head)):
            return _version(last, page.url, head)
    return None


def _goes_on(source: Source, head: Head) -> bool:
    """Whether there is a page behind the last one by now, which stands above a page and not in it."""
    return bool(head.next_url) and not source.next_field and not source.page_parameter


def _version(last: Pages | None, url: str, state: Head | str) -> Version:
    said = state if isinstance(state, str) else state.model_dump_json()
    known = last.model_dump_json() if last else ""
    return Version(name=hashlib.sha256("\n".join((known, url, said)).encode()).hexdigest()[:16])
