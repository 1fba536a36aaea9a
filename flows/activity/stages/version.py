"""Whether a source is still what was read last: what the API says of its pages, none of which is read."""

import hashlib

from flows.activity.stages import api
from flows.activity.stages.api import AnswerError, Api, Head, Limits, Say, Validators
from flows.activity.stages.pages import Pages, Source


def version(  # noqa: PLR0913, PLR0917
    name: str, source: Source, last: Pages | None, limits: Limits, refresh: bool = True, say: Say = print
) -> str:
    """How the version of a source is called that there is now.

    While all pages are what they were when they were read last, the version keeps its name. Else the new
    name is made of what was read last and of what the API says of the first page that is another one by now:
    two runs that meet one change give one name, and no name comes back. Where the API names no versions, a
    page is always another one.

    Args:
        last: what was read last of the source, wherever it was then
        refresh: whether to ask the API at all, where something was read already

    Raises:
        UnreachableError: the API did not answer.
        AnswerError: it refused.
    """
    same = last if last is not None and last.source == source else None
    if same is not None and not refresh:
        return same.version
    with api.opened(name, limits, say) as opened:
        if same is not None:
            return _changed(opened, same) or same.version
        url = source.page_url()
        return _new(last, url, opened.look(url, Validators()))


def _changed(opened: Api, last: Pages) -> str | None:
    """The version that begins with the first page that is another one; None where all are what they were."""
    for page in last.pages:
        try:
            head = opened.look(page.url, page.validators)
        except AnswerError as error:
            if page is last.pages[0]:
                raise
            return _new(last, page.url, error.found)
        if not head.unchanged or (page is last.pages[-1] and _goes_on(last.source, head)):
            return _new(last, page.url, head)
    return None


def _goes_on(source: Source, head: Head) -> bool:
    """Whether a header says by now that there is a page behind the last one."""
    return bool(head.next_url) and not source.next_field and not source.page_parameter


def _new(last: Pages | None, url: str, state: Head | str) -> str:
    said = state if isinstance(state, str) else state.model_dump_json()
    before = last.model_dump_json() if last else ""
    return hashlib.sha256("\n".join((before, url, said)).encode()).hexdigest()[:16]
