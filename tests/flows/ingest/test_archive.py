import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.ingest.archive import Archived, Change, archive, look, newest, validator_of
from flows.ingest.manifest import Origin, request_digest
from flows.ingest.schema import ArchivedSource, Request
from flows.ingest.stages.files import Received
from flows.ingest.taking import DepartmentArchive
from larder import transfer
from larder.artifacts import Artifact
from larder.connection import open_store
from larder.definition import Context
from larder.leases import keeping
from larder.settings import Settings
from larder.store import Damaged
from tests.services import Store

ORIGIN = Origin(
    department="alpha",
    category="files",
    request=Request(
        name="one", url="http://example.org/f", parameters={"key": {"secret": "api"}, "year": 2026}
    ),
    page_url="http://example.org/",
    link_title="The file",
)
FOLDER = "archive/alpha/files/one"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def context(larder: Settings) -> Any:
    with keeping(larder):
        yield Context(larder, open_store(larder), "run-1", 1, date(2026, 1, 1), {"department": "alpha"})


@pytest.fixture
def came(context: Context, tmp_path: Path) -> Callable[..., Received]:
    """What a source gave, as a download has put it into the bucket."""

    def make(content: bytes, name: str = "f.csv", minutes: int = 0, **changed: Any) -> Received:
        file = tmp_path / name
        file.write_bytes(content)
        artifact = transfer.put_artifact(context.store, "ingest/alpha/files/one", file)
        given = {
            "original_name": "F?.csv",
            "url": "http://example.org/f",
            "content_type": "text/csv; charset=utf-8",
            "validator": f'"{content.decode()}"',
            "announced": f'"{content.decode()}"',
            "headers": {"etag": f'"{content.decode()}"', "date": "today"},
            "run": "run-1",
            "at": START + timedelta(minutes=minutes),
        }
        return Received(file=artifact, name=name, **{**given, **changed})

    return make


def listing(s3: Store, bucket: str, prefix: str = "archive/") -> dict[str, str]:
    found = s3.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return {one["Key"]: one["ETag"] for one in found}


def read(s3: Store, bucket: str, name: str) -> bytes:
    content: bytes = s3.client.get_object(Bucket=bucket, Key=name)["Body"].read()
    return content


def put(context: Context, received: Received) -> Archived:
    return archive(context, ORIGIN, received, {})


def test_a_file_lies_under_its_digest_and_as_the_latest(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str
) -> None:
    received = came(b"one")
    archived = put(context, received)
    assert archived.change is Change.NEW
    assert isinstance(received.file, Artifact)
    own = f"{FOLDER}/{received.file.sha256}"
    assert set(listing(s3, bucket)) == {
        f"{folder}/{name}"
        for folder in (own, f"{FOLDER}/latest")
        for name in ("f.csv", "manifest.json", "published.json")
    }
    assert read(s3, bucket, f"{own}/f.csv") == read(s3, bucket, f"{FOLDER}/latest/f.csv") == b"one"
    manifest = json.loads(read(s3, bucket, f"{own}/manifest.json"))
    assert manifest == {
        "schema_version": 1,
        "department": "alpha",
        "category": "files",
        "source": "one",
        "source_url": "http://example.org/f?key=***&year=2026",
        "page_url": "http://example.org/",
        "link_title": "The file",
        "url": "http://example.org/f",
        "original_name": "F?.csv",
        "name": "f.csv",
        "sha256": received.file.sha256,
        "bytes": 3,
        "content_type": "text/csv; charset=utf-8",
        "headers": {"date": "today", "etag": '"one"'},
        "validator": '"one"',
        "request": request_digest(ORIGIN.request),
        "first_seen": "2026-01-01T00:00:00Z",
        "last_seen": "2026-01-01T00:00:00Z",
    }
    assert validator_of(context.store, FOLDER, request_digest(ORIGIN.request)) == '"one"'
    assert validator_of(context.store, FOLDER, "another request") is None


@pytest.mark.parametrize("changed", [{}, {"validator": '"other"', "announced": None, "minutes": 5}])
def test_the_same_bytes_add_no_object_and_leave_the_manifest_as_it_was(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str, changed: dict[str, Any]
) -> None:
    put(context, came(b"one"))
    before = listing(s3, bucket)
    again = came(b"one", **changed)
    assert look(context, ORIGIN, again, {}).value is not None
    assert put(context, again).change is Change.UNCHANGED
    assert listing(s3, bucket) == before


def test_other_bytes_become_the_latest_and_the_earlier_ones_stay(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str
) -> None:
    put(context, came(b"one"))
    assert look(context, ORIGIN, came(b"two", minutes=1), {}).value is None
    archived = put(context, came(b"two", "g.csv", minutes=1))
    assert archived.change is Change.NEW
    assert {name.rsplit("/", 1)[1] for name in listing(s3, bucket, f"{FOLDER}/latest/")} == {
        "g.csv",
        "manifest.json",
        "published.json",
    }
    assert len(listing(s3, bucket)) == 9


def test_bytes_that_come_back_keep_when_they_were_first_seen(
    context: Context, came: Callable[..., Received]
) -> None:
    put(context, came(b"one"))
    put(context, came(b"two", minutes=1))
    archived = put(context, came(b"one", minutes=2))
    assert archived.change is Change.RETURNED
    assert archived.manifest.first_seen == START
    assert archived.manifest.last_seen == START + timedelta(minutes=2)
    assert newest(context.store, FOLDER) == archived.manifest


def test_a_run_that_asked_earlier_does_not_become_the_latest(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str
) -> None:
    put(context, came(b"two", minutes=5))
    assert put(context, came(b"one", minutes=1)).change is Change.NEW
    assert read(s3, bucket, f"{FOLDER}/latest/f.csv") == b"two"


def test_what_lies_beside_a_file_lies_beside_each_copy(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str
) -> None:
    links = came(b"[]", "links.json").file
    assert isinstance(links, Artifact)
    archive(context, ORIGIN, came(b"<a>", "page.html"), {"links.json": links})
    assert read(s3, bucket, f"{FOLDER}/latest/links.json") == b"[]"
    files = DepartmentArchive(context.store, "alpha")
    source = ArchivedSource(category="files", source="one")
    assert files.latest(source, "links.json", Path()) == links
    assert files.sha256(source, "links.json") == links.sha256


@pytest.mark.parametrize("name", ["manifest.json", "published.json", "Links.JSON"])
def test_a_file_with_the_name_of_a_manifest_gets_another(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str, name: str
) -> None:
    put(context, came(b"one", name))
    assert read(s3, bucket, f"{FOLDER}/latest/file_{name}") == b"one"
    assert json.loads(read(s3, bucket, f"{FOLDER}/latest/manifest.json"))["name"] == f"file_{name}"


@pytest.mark.parametrize("lost", ["f.csv", "manifest.json", "published.json"])
@pytest.mark.parametrize("folder", ["latest", "digest"])
@pytest.mark.parametrize("how", ["deleted", "changed"])
def test_what_was_lost_of_the_archive_comes_back(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str, lost: str, folder: str, how: str
) -> None:
    first = put(context, came(b"one"))
    before = listing(s3, bucket)
    manifest = read(s3, bucket, f"{FOLDER}/latest/manifest.json")
    name = f"{FOLDER}/{first.manifest.sha256 if folder == 'digest' else 'latest'}/{lost}"
    if how == "deleted":
        s3.client.delete_object(Bucket=bucket, Key=name)
    else:
        s3.client.put_object(Bucket=bucket, Key=name, Body=b"other")
    assert look(context, ORIGIN, came(b"one", minutes=9), {}).value is None
    put(context, came(b"one", minutes=9))
    assert listing(s3, bucket).keys() == before.keys()
    assert read(s3, bucket, name) != b"other"
    assert read(s3, bucket, f"{FOLDER}/latest/manifest.json") == manifest
    assert look(context, ORIGIN, came(b"one"), {}).value is not None


def test_archiving_that_was_cut_off_is_finished_with_the_manifest_that_it_began(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str
) -> None:
    put(context, came(b"one"))
    put(context, came(b"two", minutes=1))
    whole = {name: read(s3, bucket, name) for name in listing(s3, bucket)}
    for name in listing(s3, bucket, f"{FOLDER}/latest/"):
        s3.client.delete_object(Bucket=bucket, Key=name)
    again = put(context, came(b"two", minutes=7, run="run-0"))
    assert again.change is Change.NEW
    assert {name: read(s3, bucket, name) for name in listing(s3, bucket)} == whole


def test_a_result_of_another_version_than_was_announced_is_damage(
    context: Context, came: Callable[..., Received]
) -> None:
    fresh = came(b"two", announced='"one"')
    assert put(context, fresh).change is Change.NEW
    with pytest.raises(Damaged, match=r'it is version "two" of http://example\.org/f, not "one"'):
        put(context, fresh.model_copy(update={"run": "run-0"}))


def test_what_is_taken_of_the_archive_is_whole_also_where_its_artifact_is_lost(
    context: Context, came: Callable[..., Received], s3: Store, bucket: str, tmp_path: Path
) -> None:
    received = came(b"one")
    put(context, received)
    assert isinstance(received.file, Artifact)
    s3.client.delete_object(Bucket=bucket, Key=received.file.object_name)
    taken = DepartmentArchive(context.store, "alpha").latest(
        ArchivedSource(category="files", source="one"), None, tmp_path
    )
    assert isinstance(taken, Path)
    assert taken.read_bytes() == b"one"
