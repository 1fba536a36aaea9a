"""How an API is read: every page as it came, again only where it changed, and never without an end."""

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.activity.sample_server import Fault, SampleApi, serving
from flows.activity.samples import made_up_posts
from flows.activity.stages import sources
from flows.activity.stages.api import AnswerError, Limits, UnreachableError
from flows.activity.stages.pages import Pages, Source, records
from flows.activity.stages.sources import Reading
from flows.activity.stages.version import version as version_of
from stack.ports import free_ports
from tests.web import served

IMPATIENT = Limits(retry_delay_seconds=0)
FIRST = "first"
ALL = list(range(1, 101))


@dataclass
class Reader:
    """Reads the posts of an API again and again, as runs do."""

    api: SampleApi
    source: Source
    folder: Path
    limits: Limits = IMPATIENT
    newest: Pages | None = None
    said: list[str] = field(default_factory=list)

    def version(self, refresh: bool = True) -> str:
        """How the version of the source is called now."""
        return version_of("posts", self.source, self.newest, self.limits, refresh, self.said.append)

    def read(self, version: str | None = None) -> Pages:
        """Read the source; what was read is the newest from now on."""
        self.newest = sources.posts(
            self.source,
            version or self.version(),
            reading=Reading(limits=self.limits),
            say=self.said.append,
            scratch=self.folder,
        )
        return self.newest

    def asked(self, question: Callable[[], object]) -> list[int]:
        """The statuses of what the API answers to a question."""
        self.api.requests.clear()
        question()
        return [status for _, status in self.api.requests]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader of an API with 100 posts on pages of 30."""
    api = SampleApi(posts=made_up_posts(100, 5))
    with serving(api) as url:
        yield Reader(api, Source(url=f"{url}/posts", query={"per_page": "30"}), tmp_path)


def ids(pages: Pages) -> list[Any]:
    return [record["id"] for _, record in records(pages)]


def test_every_page_is_kept_as_it_came(reader: Reader) -> None:
    pages = reader.read()
    assert [Path(str(page.file)).name for page in pages.pages] == [f"posts-000{n}.json" for n in (1, 2, 3, 4)]
    expected = json.dumps(reader.api.posts[30:60], indent=1).encode()
    assert Path(str(pages.pages[1].file)).read_bytes() == expected
    assert ids(pages) == ALL


def test_numbered_pages_end_with_the_first_that_holds_nothing(reader: Reader) -> None:
    reader.source = reader.source.model_copy(update={"page_parameter": "page"})
    assert len(reader.read().pages) == 5
    assert ids(reader.read()) == ALL


def test_the_next_page_and_the_records_may_stand_deep_in_a_page(tmp_path: Path) -> None:
    for number, after in ((1, "p2.json"), (2, None)):
        page = {"paging": {"next": after}, "result": {"records": [{"id": number}]}}
        (tmp_path / f"p{number}.json").write_text(json.dumps(page))
    with served(tmp_path) as url:
        source = Source(url=f"{url}/p1.json", records_field="result.records", next_field="paging.next")
        pages = sources.users(source, FIRST, reading=Reading(limits=IMPATIENT), scratch=tmp_path)
    assert ids(pages) == [1, 2]


@pytest.mark.parametrize(
    ("etags", "last_modified"),
    [(True, datetime(2025, 1, 1, tzinfo=UTC)), (True, None), (False, datetime(2025, 1, 1, tzinfo=UTC))],
    ids=["both", "ETag", "Last-Modified"],
)
def test_a_source_that_did_not_change_keeps_its_version_and_is_not_read(
    reader: Reader, etags: bool, last_modified: datetime | None
) -> None:
    reader.api.etags, reader.api.last_modified = etags, last_modified
    pages = reader.read()
    assert reader.asked(reader.version) == [304] * 4
    assert reader.version() == pages.version


def change_content(api: SampleApi) -> None:
    api.posts[70]["title"] = "another"


def change_headers(api: SampleApi) -> None:
    api.edition += 1


def add_a_page(api: SampleApi) -> None:
    api.posts = made_up_posts(121, 5)


def lose_pages(api: SampleApi) -> None:
    del api.posts[60:]


@pytest.mark.parametrize("change", [change_content, change_headers, add_a_page, lose_pages])
def test_a_source_that_changed_gets_another_version_once(
    reader: Reader, change: Callable[[SampleApi], None]
) -> None:
    before = reader.read().version
    change(reader.api)
    changed = reader.version()
    assert changed != before
    assert reader.version() == changed
    assert ids(reader.read(changed)) == [post["id"] for post in reader.api.posts]
    assert reader.version() == changed


def test_a_page_that_is_gone_is_a_change(tmp_path: Path) -> None:
    for number, after in ((1, "p2.json"), (2, None)):
        (tmp_path / f"p{number}.json").write_text(json.dumps({"next": after, "rows": []}))
    with served(tmp_path) as url:
        source = Source(url=f"{url}/p1.json", records_field="rows", next_field="next")
        pages = sources.users(source, FIRST, reading=Reading(limits=IMPATIENT), scratch=tmp_path)
        (tmp_path / "p2.json").unlink()
        changed = version_of("users", source, pages, IMPATIENT)
    assert changed != FIRST


def test_a_version_that_comes_back_is_read_again(reader: Reader) -> None:
    names = []
    for title in ("one", "two", "one", "two"):
        reader.api.posts[0]["title"] = title
        names.append(reader.read().version)
    assert len(set(names)) == 4


def test_an_api_that_names_no_versions_is_read_every_time(reader: Reader) -> None:
    reader.api.etags, reader.api.last_modified = False, None
    assert len({reader.read().version for _ in range(3)}) == 3


def test_an_api_that_knows_no_conditions_is_believed_its_etag(reader: Reader) -> None:
    pages = reader.read()
    weak = pages.pages[0].validators.model_copy(update={"etag": f"W/{pages.pages[0].validators.etag}"})
    first = pages.pages[0].model_copy(update={"validators": weak})
    reader.newest = pages.model_copy(update={"pages": (first, *pages.pages[1:])})
    assert reader.asked(reader.version) == [200, 304, 304, 304]
    assert reader.version() == pages.version


def test_what_is_not_refreshed_stays_what_was_read_last(reader: Reader) -> None:
    before = reader.read().version
    change_content(reader.api)
    assert reader.asked(lambda: reader.version(refresh=False)) == []
    assert reader.version(refresh=False) == before


def test_what_was_never_read_is_read_although_it_is_not_to_be_refreshed(reader: Reader) -> None:
    assert reader.asked(lambda: reader.read(reader.version(refresh=False))) == [200] * 5


def test_another_place_of_a_source_is_another_version(reader: Reader) -> None:
    before = reader.read().version
    reader.source = reader.source.model_copy(update={"query": {"per_page": "50"}})
    assert reader.version(refresh=False) != before


def test_a_server_that_is_not_available_is_asked_again(reader: Reader) -> None:
    reader.api.fail(Fault.UNAVAILABLE, times=3)
    assert ids(reader.read(FIRST)) == ALL
    assert [line.partition("in 0 s ")[2] for line in reader.said] == [
        "(3 more times)",
        "(2 more times)",
        "(1 more times)",
    ]


def test_an_answer_that_breaks_off_is_asked_for_again(reader: Reader) -> None:
    reader.api.fail(Fault.BROKEN_OFF)
    assert ids(reader.read(FIRST)) == ALL
    assert "broke off" in reader.said[0]


def test_a_server_that_stays_unavailable_is_named_with_what_it_said(reader: Reader) -> None:
    reader.api.fail(Fault.UNAVAILABLE, times=None)
    with pytest.raises(UnreachableError) as raised:
        reader.version()
    assert str(raised.value) == (
        f"Source posts: {reader.source.page_url()} cannot be read (asked 4 times, 0 s apart):"
        " it answers 503 Service Unavailable. Try again later."
    )
    assert len(reader.api.requests) == 4


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = Source(url=f"http://127.0.0.1:{free_ports(1)[0]}/users")
    with pytest.raises(UnreachableError, match="it cannot be connected to"):
        sources.users(source, FIRST, reading=Reading(limits=IMPATIENT), scratch=tmp_path)


@pytest.mark.parametrize(
    ("fault", "limits", "words"),
    [
        (Fault.TRUNCATED, {}, "found no JSON, or not all of it"),
        (Fault.HTML, {}, "found a page of HTML or XML"),
        (
            Fault.ENDLESS_PAGES,
            {"source_pages": 7},
            "found page 8, and it is not the last; expected fewer pages",
        ),
        (Fault.ENDLESS_CONTENT, {"source_bytes": 2**20}, "more than 1,048,576 bytes in all pages"),
        (Fault.ENDLESS_CONTENT, {"source_seconds": 0.05, "source_bytes": 2**40}, "longer than 0.05 seconds"),
    ],
)
def test_what_is_no_whole_answer_is_refused_at_once(
    reader: Reader, fault: Fault, limits: dict[str, float], words: str
) -> None:
    reader.api.fail(fault, times=None)
    reader.limits = IMPATIENT.model_copy(update=limits)
    with pytest.raises(AnswerError) as raised:
        reader.read(FIRST)
    assert words in str(raised.value)
    assert reader.source.url in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    assert reader.said == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"next": "p.json", "rows": []}, "page 1 leads back to page 1"),
        ({"next": "http://elsewhere.example/p", "rows": []}, "expected a page of the same server"),
        ({"rows": {"id": 1}}, 'found {"id": 1} at rows; expected a list of records'),
        ({"rows": [1]}, "found [1] at rows; expected a list of records"),
        ([], "found null at rows; expected a list of records"),
    ],
)
def test_pages_that_lead_nowhere_are_refused(tmp_path: Path, content: object, words: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(content))
    with served(tmp_path) as url:
        source = Source(url=f"{url}/p.json", records_field="rows", next_field="next")
        with pytest.raises(AnswerError) as raised:
            sources.users(source, FIRST, reading=Reading(limits=IMPATIENT), scratch=tmp_path)
    assert words in str(raised.value)


@pytest.mark.parametrize(("path", "words"), [("none", "found 404"), ("folder", "write its new URL")])
def test_a_place_with_nothing_to_read_is_refused_at_once(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    with served(tmp_path) as url, pytest.raises(AnswerError) as raised:
        sources.users(Source(url=f"{url}/{path}"), FIRST, reading=Reading(limits=IMPATIENT), scratch=tmp_path)
    assert words in str(raised.value)


def test_a_source_without_records_has_one_page(reader: Reader) -> None:
    reader.api.posts = []
    assert [Path(str(page.file)).read_bytes() for page in reader.read().pages] == [b"[]"]


@pytest.mark.parametrize("url", ["ftp://a/b", "http://", "http://user:secret@host/", "users.json"])
def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="without a login"):
        Source(url=url)


def test_pages_are_found_in_one_way() -> None:
    with pytest.raises(ValueError, match="one of them"):
        Source(url="http://a/b", next_field="next", page_parameter="page")
