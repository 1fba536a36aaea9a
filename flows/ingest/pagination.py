"""From one page of an API to the next."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from flows.ingest.errors import SourceError
from flows.ingest.json_records import RecordsError, field_of, records_of
from flows.ingest.schema import ApiSource, Cursor, LinkHeader, NextField, Offset


@dataclass(frozen=True)
class ApiPage:
    """One page: its text, what it means, and how it was found."""

    url: str
    text: str
    document: object
    links: Mapping[str, str]
    """The URLs in its header `Link`, by their relation."""


def first_url(source: ApiSource) -> str:
    """Where the first page is."""
    match source.pagination:
        case Offset() as paging:
            return _with(source.url, {paging.parameter: "0", paging.limit_parameter: str(paging.limit)})
        case _:
            return source.url


def next_url(source: ApiSource, page: ApiPage, records: int, skipped: int) -> str | None:
    """Where the page after this one is; None where it was the last.

    Args:
        page: the page that was read
        records: how many records it has
        skipped: how many all pages before it have

    Raises:
        SourceError: if what should lead to the next page is no text.
    """
    match source.pagination:
        case LinkHeader():
            return _joined(page, page.links.get("next"))
        case NextField(field=field):
            return _joined(page, _text(page, field))
        case Cursor(field=field, parameter=parameter):
            cursor = _text(page, field)
            return _with(source.url, {parameter: cursor}) if cursor else None
        case Offset() as paging:
            if records < paging.limit:
                return None
            moved = {paging.parameter: str(skipped + records), paging.limit_parameter: str(paging.limit)}
            return _with(source.url, moved)
        case None:
            return None


def parsed(url: str, content: bytes, links: Mapping[str, str]) -> ApiPage:
    """A page from the bytes of an answer.

    Raises:
        SourceError: if they are no JSON.
    """
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        start = content[:40].decode("utf-8", "replace").strip()
        raise SourceError(url, f"it is no JSON ({error}); it begins with {start!r}.") from error
    return ApiPage(url, text, document, links)


def records_in(page: ApiPage, source: ApiSource) -> Iterator[str]:
    """The texts of a page's records.

    Raises:
        SourceError: if there is no list of them.
    """
    try:
        yield from records_of(page.text, source.records)
    except RecordsError as error:
        raise SourceError(page.url, f"{error}.") from error


def _text(page: ApiPage, field: str) -> str | None:
    value = field_of(page.document, field)
    if value is None or value is False or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SourceError(page.url, f"its field {field} is {value!r:.60}; a text or null is expected.")
    return str(value)


def _joined(page: ApiPage, target: str | None) -> str | None:
    return urljoin(page.url, target) if target else None


def _with(url: str, parameters: Mapping[str, str]) -> str:
    return str(httpx.URL(url).copy_merge_params(dict(parameters)))


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
