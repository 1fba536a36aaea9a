import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from flows.ingest.credentials import Credentials
from flows.ingest.download import Facts, download, look_at
from flows.ingest.errors import ForbiddenError, SourceError, SourceUnreachable
from flows.ingest.safe_connection import Boundary
from flows.ingest.sample_web import SampleWeb, content_of
from flows.ingest.schema import Access, Limits, Request, SecretValue
from flows.ingest.web import Web, keeps_secrets

FILE = "/files/large.bin"
SECRET = "a-secret/of the+test"


def request(sample: SampleWeb, path: str = FILE) -> Request:
    return Request(name="one", url=sample.url + path)


def content(changes: int = 0, path: str = FILE) -> bytes:
    found = content_of(path, {}, changes, "")
    assert found is not None
    return found[0]


SIZE = len(content())


def test_a_file_comes_with_what_the_server_says_of_it(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    facts = download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content()
    assert facts.url == sample.url + FILE
    assert facts.name == "large.bin"
    assert facts.content_type == "application/octet-stream"
    assert facts.validator == f'"{hashlib.sha256(content()).hexdigest()[:16]}"'
    assert "set-cookie" not in facts.headers


def test_what_did_not_change_is_not_sent(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    facts = look_at(web, request(sample), None)
    assert facts is not None
    assert look_at(web, request(sample), facts.validator) is None
    assert look_at(web, request(sample), facts.headers["last-modified"]) is None
    sample.change(FILE)
    changed = look_at(web, request(sample), facts.validator)
    assert changed is not None
    assert changed.validator != facts.validator


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_file_that_is_cut_is_continued(sample: SampleWeb, web: Web, tmp_path: Path, quarter: int) -> None:
    sample.tell(FILE, cut_after=SIZE * quarter // 4)
    download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content()
    begun = int(sample.log[1][1]["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < begun <= SIZE * quarter // 4
    assert len(sample.log) == 2


def test_a_file_that_is_cut_in_each_part_is_continued_each_time(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    few = access.model_copy(update={"limits": access.limits.model_copy(update={"tries": 2})})
    sample.tell(FILE, cut_after=70_000, times=3)
    with closing(Web(few)) as web:
        download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content()
    assert len(sample.log) == 4


def test_a_file_that_stalls_is_continued(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    impatient = access.model_copy(update={"limits": access.limits.model_copy(update={"answer_seconds": 0.2})})
    sample.tell(FILE, cut_after=SIZE // 2, stall_seconds=60)
    said: list[str] = []
    with closing(Web(impatient, say=said.append)) as web:
        download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content()
    assert "nothing came for 0.2 seconds; try 2 of 5" in said[0]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": None},
        {"ETag": 'W/"weak"', "Last-Modified": None},
        {"ETag": None, "Last-Modified": None},
        {"Accept-Ranges": None},
    ],
    ids=["strong", "modified", "weak", "no validator", "no ranges"],
)
def test_a_file_that_changed_between_two_ranges_starts_anew(
    sample: SampleWeb, web: Web, tmp_path: Path, headers: dict[str, str | None]
) -> None:
    sample.tell(FILE, cut_after=SIZE // 2, headers=headers)
    sample.tell(FILE, change_first=True, headers=headers)
    facts = download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content(1)
    after = look_at(web, request(sample), None)
    assert after is not None
    assert headers or facts.validator == after.validator


def test_a_server_that_sends_a_range_of_another_file_is_asked_for_all_of_it(
    sample: SampleWeb, web: Web, tmp_path: Path
) -> None:
    of_the_first = f'"{hashlib.sha256(content()).hexdigest()[:16]}"'
    sample.tell(FILE, cut_after=SIZE // 2)
    sample.tell(
        FILE,
        change_first=True,
        status=206,
        headers={"Content-Range": f"bytes 7-9/{SIZE}", "ETag": of_the_first},
    )
    download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content(1)
    assert "range" not in sample.log[2][1]


def test_a_server_that_fails_twice_is_asked_again(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    sample.tell(FILE, status=503, times=2, retry_after="0")
    said: list[str] = []
    with closing(Web(access, say=said.append)) as web:
        download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content()
    assert [line.partition("says ")[2] for line in said] == [
        "503 Service Unavailable; try 2 of 5 in 0 s",
        "503 Service Unavailable; try 3 of 5 in 0 s",
    ]


def test_a_server_that_goes_on_failing_is_unreachable(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    sample.tell(FILE, status=503, times=5)
    with pytest.raises(SourceUnreachable, match="503"):
        download(web, request(sample), tmp_path / "file")
    assert len(sample.log) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 300])
def test_a_server_that_says_no_is_asked_once(
    sample: SampleWeb, web: Web, tmp_path: Path, status: int
) -> None:
    sample.tell(FILE, status=status)
    with pytest.raises(SourceError, match=f"{sample.url}{FILE} .* the server says {status}"):
        download(web, request(sample), tmp_path / "file")
    assert len(sample.log) == 1


def limited(access: Access, **limits: float) -> Access:
    return access.model_copy(update={"limits": Limits(pause_seconds=0, **limits)})  # type: ignore[arg-type]


def test_a_file_that_is_too_large_is_not_begun(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    with (
        closing(Web(limited(access, bytes=100_000))) as web,
        pytest.raises(SourceError, match=r"it has 240,000 bytes; at most 100,000 are"),
    ):
        download(web, request(sample), tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_decompression_bomb_ends_at_the_limit(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    sample.tell(FILE, bomb_bytes=200_000_000)
    with (
        closing(Web(limited(access, bytes=1_000_000))) as web,
        pytest.raises(SourceError, match=r"more bytes than allowed; at most 1,000,000"),
    ):
        download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").stat().st_size <= 1_000_000


def test_what_a_server_packs_unasked_is_unpacked(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    sample.tell(FILE, bomb_bytes=300_000)
    download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == bytes(300_000)


@pytest.mark.parametrize(
    ("encoding", "error", "words"),
    [
        ("gzip", SourceError, "not packed as it says"),
        ("br", SourceError, "content encoding is br; gzip, deflate or none"),
    ],
)
def test_what_is_not_packed_as_it_says_is_refused(
    sample: SampleWeb, web: Web, tmp_path: Path, encoding: str, error: type[Exception], words: str
) -> None:
    sample.tell(FILE, headers={"Content-Encoding": encoding})
    with pytest.raises(error, match=words):
        download(web, request(sample), tmp_path / "file")


def test_a_packed_answer_that_is_cut_starts_anew(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    sample.tell(FILE, bomb_bytes=10_000_000, cut_after=5_000)
    download(web, request(sample), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content()
    assert "range" not in sample.log[1][1]


def test_a_file_that_takes_too_long_ends(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    with (
        closing(Web(limited(access, seconds=1e-9))) as web,
        pytest.raises(SourceError, match="took longer than 1e-09 seconds"),
    ):
        download(web, request(sample), tmp_path / "file")


@pytest.mark.parametrize("allowed", ["text/csv", "text/*"])
def test_a_content_type_that_is_named_is_taken(
    sample: SampleWeb, web: Web, tmp_path: Path, allowed: str
) -> None:
    download(web, request(sample, "/files/branches.csv"), tmp_path / "file", (allowed,))


def test_another_content_type_is_refused(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="it is text/html; expected is text/csv or application/json"):
        download(web, request(sample, "/pages/home"), tmp_path / "file", ("text/csv", "application/json"))
    sample.tell(FILE, headers={"Content-Type": None})
    with pytest.raises(SourceError, match="it is no content type; expected is text/csv"):
        download(web, request(sample), tmp_path / "file", ("text/csv",))


def test_a_redirect_is_followed_and_names_the_file(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    sample.tell("/moved", location=f"{FILE}#part")
    facts = download(web, request(sample, "/moved"), tmp_path / "file")
    assert (facts.url, facts.name) == (sample.url + FILE, "large.bin")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://10.0.0.1/secret", "the host 10.0.0.1 is not among those"),
        ("http://169.254.169.254/latest/meta-data/", "the host 169.254.169.254 is not among those"),
        ("http://[::1]/", "the host ::1 is not among those"),
        ("//evil.example/file", "the host evil.example is not among those"),
        ("ftp://127.0.0.1/file", "only http and https without a login are followed"),
        ("file:///etc/passwd", "only http and https without a login are followed"),
        ("http://user:word@127.0.0.1/", "only http and https without a login are followed"),
    ],
)
def test_a_redirect_out_of_the_boundary_is_not_followed(
    sample: SampleWeb, web: Web, tmp_path: Path, location: str, words: str
) -> None:
    sample.tell(FILE, location=location)
    with pytest.raises(SourceError) as caught:
        download(web, request(sample), tmp_path / "file")
    assert words in str(caught.value)
    assert len(sample.log) == 1


def test_a_redirect_to_a_private_address_of_an_allowed_host_is_not_followed(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    sample.tell(FILE, location="http://localhost:1/file")
    boundary = Boundary(
        ("127.0.0.1", "localhost"),
        ("127.0.0.0/8",),
        lambda host, _port: ["127.0.0.1" if host == "127.0.0.1" else "10.0.0.7"],
    )
    with (
        closing(Web(access, boundary=boundary)) as web,
        pytest.raises(ForbiddenError, match=r"its address 10\.0\.0\.7 is private"),
    ):
        download(web, request(sample), tmp_path / "file")


def test_redirects_in_a_loop_end(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    sample.tell("/one", location="/two", times=3)
    sample.tell("/two", location="/one", times=3)
    with pytest.raises(SourceError, match="redirects in a loop"):
        download(web, request(sample, "/one"), tmp_path / "file")
    assert len(sample.log) == 2


def test_redirects_without_end_end(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    for number in range(20):
        sample.tell(f"/{number}", location=f"/{number + 1}")
    with pytest.raises(SourceError, match="more than 10 redirects"):
        download(web, request(sample, "/0"), tmp_path / "file")


def credentialed(sample: SampleWeb, path: str = FILE) -> Request:
    return Request(
        name="one",
        url=sample.url + path,
        parameters={"key": SecretValue(secret="api"), "year": "2026"},
        headers={"Authorization": SecretValue(secret="api", prefix="Bearer ")},
    )


def test_credentials_go_to_their_own_host_alone(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    asked = credentialed(sample)
    sample.tell(FILE, location=f"http://localhost:{sample.server_port}/files/branches.csv")
    with closing(Web(access, Credentials.of(asked, lambda _name: SECRET))) as web:
        facts = download(web, asked, tmp_path / "file")
    first, second = sample.log
    assert first[1]["authorization"] == f"Bearer {SECRET}"
    assert "key=a-secret" in first[0]
    assert "authorization" not in second[1]
    assert "key=" not in second[0]
    assert SECRET not in repr(facts)


def test_a_redirect_that_carries_a_credential_to_another_host_is_not_followed(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    asked = credentialed(sample)
    sample.tell(FILE, location="http://localhost/?k=a-secret%2Fof%20the%2Btest")
    with (
        closing(Web(access, Credentials.of(asked, lambda _name: SECRET))) as web,
        pytest.raises(ForbiddenError) as caught,
    ):
        download(web, asked, tmp_path / "file")
    assert "would send a credential to another host" in str(caught.value)
    assert "k=***" in str(caught.value)


def test_no_error_and_no_line_shows_a_credential(sample: SampleWeb, access: Access, tmp_path: Path) -> None:
    asked = credentialed(sample)
    said: list[str] = []
    sample.tell(FILE, status=503)
    sample.tell(FILE, status=404)
    with (
        closing(Web(access, Credentials.of(asked, lambda _name: SECRET), said.append)) as web,
        pytest.raises(SourceError) as caught,
    ):
        download(web, asked, tmp_path / "file")
    for text in (str(caught.value), repr(caught.value), *said, repr(web)):
        assert "key=***" in text or "key=" not in text
        assert "a-secret" not in text


def test_an_answer_that_repeats_a_secret_is_not_kept(
    sample: SampleWeb, access: Access, tmp_path: Path
) -> None:
    asked = credentialed(sample)
    sample.tell(FILE, body="x" * 65_530 + SECRET + "x" * 10)
    with (
        closing(Web(access, Credentials.of(asked, lambda _name: SECRET))) as web,
        pytest.raises(SourceError, match="repeats a secret"),
    ):
        download(web, asked, tmp_path / "file")


def test_cookies_are_not_kept(sample: SampleWeb, web: Web, tmp_path: Path) -> None:
    sample.tell(FILE, location="/files/branches.csv", headers={"Set-Cookie": "session=1"})
    facts = download(web, request(sample), tmp_path / "file")
    assert "cookie" not in sample.log[1][1]
    assert "set-cookie" not in facts.headers


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "http://a/y", True),
        ("http://A:80/x", "http://a/y", True),
        ("http://a/x", "https://a/y", True),
        ("https://a/x", "http://a/y", False),
        ("http://a:8000/x", "https://a/y", False),
        ("https://a/x", "https://a:8443/y", False),
        ("https://a/x", "https://b.a/y", False),
    ],
)
def test_the_same_host_has_the_same_scheme_and_port(one: str, other: str, same: bool) -> None:
    assert keeps_secrets(one, other) == same


@pytest.mark.parametrize(
    ("headers", "strong"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"', "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, None),
        (
            {"last-modified": "Mon, 01 Jan 2024 00:00:00 GMT", "date": "Mon, 01 Jan 2024 00:01:00 GMT"},
            "Mon, 01 Jan 2024 00:00:00 GMT",
        ),
        ({"last-modified": "Mon, 01 Jan 2024 00:00:00 GMT", "date": "Mon, 01 Jan 2024 00:00:30 GMT"}, None),
        ({"last-modified": "yesterday", "date": "today"}, None),
        ({}, None),
    ],
)
def test_equal_strong_validators_mean_equal_bytes(headers: dict[str, str], strong: str | None) -> None:
    assert Facts("http://a/", "x", headers).strong_validator == strong
