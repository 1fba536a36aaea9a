import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.ingest.errors import ForbiddenError, SourceError, SourceUnreachable
from flows.ingest.page_links import Link
from flows.ingest.sample_web import RECORDS, SampleWeb
from flows.ingest.schema import Access, ApiSource, FileSource, PageSource, Request, SecretValue
from flows.ingest.stages.analysis import profile
from flows.ingest.stages.apis import read
from flows.ingest.stages.files import Received, Visit, announced, download
from flows.ingest.stages.pages import LINKS_NAME, followed, html_of, links, robots, robots_text
from flows.ingest.stages.processing import count_links
from larder.names import is_plain_name
from larder.refusal import RefusedError

SECRET = "a-secret-of-the-test"
PAGING: dict[str, dict[str, Any]] = {
    "link_header": {"pagination": {"by": "link_header"}},
    "next_field": {"pagination": {"by": "next_field", "field": "next"}, "records": "books"},
    "cursor": {
        "pagination": {"by": "cursor", "field": "meta.cursor", "parameter": "cursor"},
        "records": "books",
    },
    "offset": {"pagination": {"by": "offset", "limit": 7}},
}


def visit(secret: str = SECRET) -> Visit:
    return Visit("run-1", datetime(2026, 1, 1, tzinfo=UTC), lambda _name: secret)


def api(sample: SampleWeb, style: str, **more: Any) -> ApiSource:
    given = {**PAGING.get(style, {}), **more}
    return ApiSource(name=style, url=f"{sample.url}/api/{style}", **given)


def read_api(source: ApiSource, access: Access, scratch: Path) -> Received:
    return read(source, announced=None, access=access, visit=visit(), scratch=scratch)


def content(received: Received) -> str:
    assert isinstance(received.file, Path)
    return received.file.read_text()


@pytest.mark.parametrize("style", PAGING)
def test_all_pages_of_an_api_become_one_list(
    sample: SampleWeb, access: Access, tmp_path: Path, style: str
) -> None:
    received = read_api(api(sample, style), access, tmp_path)
    assert received.rows == RECORDS
    assert received.name == f"{style}.json"
    assert received.validator is None
    assert [record["id"] for record in json.loads(content(received))] == list(range(RECORDS))


def test_records_stand_in_the_file_as_they_came(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    one = '{"b": 1.10, "a": 12345678901234567890123, "b": [1, {"c": "\\u00e9, ]"}]}'
    sample.tell("/api/offset", body=f"[{one} , {one}]")
    assert content(read_api(api(sample, "offset"), access, tmp_path)) == f"[\n{one},\n{one}\n]\n"


def test_an_api_of_one_page_is_kept_byte_for_byte(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    received = read_api(api(sample, "whole"), access, tmp_path)
    assert '"price": 1.10' in content(received)
    assert received.validator is not None
    assert received.rows is None


def test_an_api_without_records_gives_an_empty_list(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    sample.tell("/api/offset", body="[]")
    assert content(read_api(api(sample, "offset"), access, tmp_path)) == "[]\n"


@pytest.mark.parametrize(
    ("style", "body", "words"),
    [
        ("whole", "<!DOCTYPE html><html>", "it is no JSON .* it begins with '<!DOCTYPE html><html>'"),
        ("whole", '{"cut": [1, 2', "it is no JSON"),
        ("whole", '{"a": NaN}', "NaN is no JSON"),
        ("offset", "<html>", "it is no JSON"),
        ("offset", '{"books": []}', "the page is no list .`records` says where the list stands"),
        ("next_field", '{"items": []}', "the page has no field books; it has items"),
        ("next_field", '{"books": {}}', "books is no list"),
        ("cursor", "[]", "the page is no object; it is expected to hold books"),
        ("cursor", '{"books": [], "meta": {"cursor": [1]}}', "its field meta.cursor is .1.; a text or null"),
    ],
)
def test_an_answer_that_is_not_what_was_expected_is_refused(
    sample: SampleWeb, access: Access, tmp_path: Path, style: str, body: str, words: str
) -> None:
    sample.tell(f"/api/{style}", body=body)
    with pytest.raises(SourceError, match=words):
        read_api(api(sample, style), access, tmp_path)


def test_pages_that_lead_in_a_loop_end(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    body = '{"books": [1], "next": "/api/next_field?offset=10"}'
    sample.tell("/api/next_field", body=body, times=3)
    with pytest.raises(SourceError, match="was read before: the pages lead in a loop"):
        read_api(api(sample, "next_field"), access, tmp_path)


def test_pages_without_end_end(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    few = access.model_copy(update={"limits": access.limits.model_copy(update={"pages": 2})})
    with pytest.raises(SourceError, match=r"more than 2 pages \(`limits.pages`\)"):
        read_api(api(sample, "link_header"), few, tmp_path)


def test_a_next_page_on_another_host_is_not_asked_for(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    sample.tell("/api/next_field", body='{"books": [], "next": "http://169.254.169.254/latest"}')
    with pytest.raises(ForbiddenError, match=r"the host 169\.254\.169\.254 is not among those"):
        read_api(api(sample, "next_field"), access, tmp_path)


def test_parameters_and_secrets_are_sent_with_every_page(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    source = api(
        sample,
        "next_field",
        parameters={"year": "2026", "key": {"secret": "api"}},
        headers={"Authorization": {"secret": "api", "prefix": "Bearer "}},
    )
    received = read_api(source, access, tmp_path)
    assert len(sample.log) == 3
    for target, headers in sample.log:
        assert "year=2026" in target
        assert f"key={SECRET}" in target
        assert headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in received.model_dump_json()
    assert "key=***" in received.url


def test_a_page_that_fails_or_is_cut_is_read_again(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    sample.tell("/api/link_header", status=503, times=2)
    sample.tell("/api/link_header", cut_after=20)
    assert read_api(api(sample, "link_header"), access, tmp_path).rows == RECORDS


def test_a_secret_that_is_too_short_to_hide_is_refused(sample: SampleWeb, access: Access) -> None:
    source = Request(name="one", url=f"{sample.url}/x", headers={"Key": SecretValue(secret="api")})
    with pytest.raises(RefusedError, match="Secret block api: found a value of 3 characters"):
        announced(source, None, access, None, visit("123"))
    assert not sample.log


FILE = "/files/branches.csv"


def source_of(sample: SampleWeb, path: str = FILE, **more: Any) -> FileSource:
    return FileSource(name="one", url=sample.url + path, **more)


def fetch(
    source: FileSource,
    access: Access,
    scratch: Path,
    robots: dict[str, str] | None = None,
    version: str | None = None,
    say: Callable[[str], None] = print,
) -> Received:
    return download(
        source, announced=version, access=access, robots=robots, visit=visit(), say=say, scratch=scratch
    )


def test_a_source_says_which_version_it_has(sample: SampleWeb, access: Access) -> None:
    version = announced(source_of(sample), None, access, None, visit())
    assert version is not None
    assert announced(source_of(sample), version, access, None, visit()) == version
    assert sample.log[1][1]["if-none-match"] == version
    sample.change(FILE)
    assert announced(source_of(sample), version, access, None, visit()) not in {None, version}


def test_a_source_that_does_not_say_has_to_be_fetched(sample: SampleWeb, access: Access) -> None:
    sample.tell(FILE, headers={"ETag": None, "Last-Modified": None})
    assert announced(source_of(sample), None, access, None, visit()) is None


def test_a_source_that_is_not_trusted_is_not_asked(sample: SampleWeb, access: Access) -> None:
    assert announced(source_of(sample, conditional=False), '"x"', access, None, visit()) is None
    assert announced(api(sample, "offset"), '"x"', access, None, visit()) is None
    assert not sample.log


@pytest.mark.parametrize("status", [404, 503])
def test_a_source_that_fails_says_nothing(sample: SampleWeb, access: Access, status: int) -> None:
    sample.tell(FILE, status=status, times=5)
    assert announced(source_of(sample), '"x"', access, None, visit()) is None
    assert len(sample.log) <= 2


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("Übersicht (2).csv", "Ubersicht_2.csv"),
        ("x" * 300 + ".csv", "x" * 96 + ".csv"),
        ("a&b,c.txt", "a_b_c.txt"),
    ],
)
def test_a_file_is_called_as_the_server_says_but_safely(
    sample: SampleWeb, access: Access, tmp_path: Path, name: str, kept: str
) -> None:
    source = source_of(sample, parameters={"as": name})
    received = fetch(source, access, tmp_path)
    assert received.file == tmp_path / kept
    assert received.original_name == name
    assert list(tmp_path.iterdir()) == [tmp_path / kept]


def test_a_file_that_changed_after_the_look_is_taken_and_said(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    said: list[str] = []
    received = fetch(source_of(sample), access, tmp_path, version='"older"', say=said.append)
    assert received.validator not in {None, '"older"'}
    assert said == ["one changed after it was looked at; the newer file is taken"]


def rules(sample: SampleWeb, access: Access) -> dict[str, str]:
    source = source_of(sample, "/pages/home")
    text = robots_text(source, access, visit())
    return dict(robots(source, access=access, text=text).rules)


def test_what_robots_txt_forbids_is_not_asked_for(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    obeyed = rules(sample, access)
    fetch(source_of(sample, "/pages/open"), access, tmp_path, obeyed)
    for path in ("/pages/closed", "/private/x.csv"):
        with pytest.raises(ForbiddenError, match=rf"{path} .*/robots.txt forbids it to larder"):
            fetch(source_of(sample, path), access, tmp_path, obeyed)
        assert announced(source_of(sample, path), None, access, obeyed, visit()) is None
        assert not sample.asked(path)


def test_a_redirect_to_what_robots_txt_forbids_is_not_followed(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    obeyed = rules(sample, access)
    sample.tell("/pages/home", location="/pages/closed")
    sample.tell("/pages/other", location=f"http://localhost:{sample.server_port}/pages/closed")
    for path in ("/pages/home", "/pages/other"):
        with pytest.raises(ForbiddenError, match=r"/robots.txt forbids it"):
            fetch(source_of(sample, path), access, tmp_path, obeyed)
    assert not sample.asked("/pages/closed")
    assert sample.asked("/robots.txt") == 2


@pytest.mark.parametrize(("status", "is_allowed"), [(404, True), (410, True), (401, False), (403, False)])
def test_a_robots_txt_that_is_not_there_allows_all_and_one_kept_shut_nothing(
    sample: SampleWeb, access: Access, tmp_path: Path, status: int, is_allowed: bool
) -> None:
    sample.tell("/robots.txt", status=status)
    obeyed = rules(sample, access)
    if is_allowed:
        fetch(source_of(sample, "/pages/closed"), access, tmp_path, obeyed)
    else:
        with pytest.raises(ForbiddenError):
            fetch(source_of(sample, "/pages/open"), access, tmp_path, obeyed)


def test_nothing_is_asked_while_robots_txt_fails(sample: SampleWeb, access: Access) -> None:
    sample.tell("/robots.txt", status=503, times=5)
    with pytest.raises(SourceUnreachable, match=r"robots.txt .* 503"):
        rules(sample, access)


def test_a_page_gives_its_links_and_those_that_are_followed(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    page = PageSource(name="home", url=f"{sample.url}/pages/home", follow=("*.csv",))
    html = html_of(page)
    came = fetch(html, access, tmp_path, {})
    assert came.name == "page.html"
    assert isinstance(came.file, Path)
    found = links(came.file, came.url, came.content_type, page.follow, scratch=tmp_path)
    assert found.title == "Home of the library, 0"
    assert [link.url.removeprefix(sample.url) for link in found.followed] == [
        "/files/branches.csv",
        "/files/report%20home.csv",
    ]
    document = json.loads((tmp_path / LINKS_NAME).read_bytes())
    assert [link["url"].removeprefix(sample.url) for link in document["links"]] == [
        "/files/branches.csv",
        "/files/report%20home.csv",
        "/pages/visit",
        "https://example.org/partners",
    ]
    assert found.rows == 4


def test_a_page_that_is_no_html_is_refused(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    page = html_of(PageSource(name="home", url=f"{sample.url}/files/branches.csv"))
    with pytest.raises(SourceError, match="it is text/csv; expected is text/html"):
        fetch(page, access, tmp_path, {})


def test_followed_files_have_names_of_their_own() -> None:
    page = PageSource(name="p" * 100, url="http://example.org/")
    urls = ("http://a/x.csv", "http://a/y/x.csv", "http://a/" + "z" * 200, "http://a/")
    names = [followed(page, Link(url=url, title="")).name for url in urls]
    assert len(set(names)) == len(urls)
    assert all(is_plain_name(name) for name in names)


def test_links_are_counted_by_host(tmp_path: Path) -> None:
    files = []
    for number, urls in enumerate([["http://a/1", "http://b/1", "http://a/2"], ["http://c/", "http://b/"]]):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps({"links": [{"url": url, "title": ""} for url in urls]}))
    counted = count_links(files, scratch=tmp_path)
    assert (tmp_path / "link_counts.csv").read_text() == "host,links\na,2\nb,2\nc,1\n"
    assert counted.rows == 3


def test_the_columns_of_a_csv_file_are_profiled(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "id,name,share,opened,zip,nothing\n1,b,.5,2026-01-02,007,\n2,a,1,2025-01-02,10,\n3,,9,,10,\n"
    )
    profiled = profile(table, scratch=tmp_path)
    with (tmp_path / "profile.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["column", "type", "rows", "nulls", "distinct", "minimum", "maximum"],
        ["id", "integer", "3", "0", "3", "1", "3"],
        ["name", "text", "3", "1", "2", "a", "b"],
        ["share", "number", "3", "0", "3", "0.5", "9.0"],
        ["opened", "date", "3", "1", "2", "2025-01-02", "2026-01-02"],
        ["zip", "text", "3", "0", "2", "007", "10"],
        ["nothing", "text", "3", "3", "0", "", ""],
    ]
    assert profiled.rows == 6
