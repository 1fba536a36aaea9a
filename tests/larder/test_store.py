"""The bucket's verbs against a real store: what they give, and how they tell three bad answers apart."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from larder import parts as module
from larder import s3 as clients
from larder.checksums import PART_BYTES
from larder.settings import CHECKOUT
from larder.store import Absent, Damaged, Patience, Store, StoreError, Unreachable, sums_of
from stack.ports import HOST, free_ports
from tests import services
from tests.proxy import PASSING_REFUSALS, REFUSALS, Kind, Proxy, Refusal, Times, proxied

pytestmark = pytest.mark.storage

CONTENT = b"some bytes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WORKING = {
    "read": lambda store, folder: store.read("there", 100),
    "stat": lambda store, folder: store.stat("there"),
    "write": lambda store, folder: store.write("new", CONTENT, "text/plain"),
    "put": lambda store, folder: put(store, "new", folder / "local"),
    "get": lambda store, folder: get(store, "there", folder / "got"),
    "copy": lambda store, folder: store.copy("there", "copy", etag_of(CONTENT), len(CONTENT), "text/plain"),
    "below": lambda store, folder: store.below("the"),
    "folders": lambda store, folder: store.folders(""),
    "delete": lambda store, folder: store.delete("other"),
}
Verb = Callable[[Store, Path], object]
every_verb = pytest.mark.parametrize("verb", WORKING.values(), ids=WORKING)


def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def put(store: Store, name: str, path: Path) -> str:
    return store.put_file(name, path, sums_of(path), "application/octet-stream")


def get(store: Store, name: str, path: Path, content: bytes = CONTENT) -> bytes:
    etag = store.stat(name).etag
    store.get_file(name, path, hashlib.sha256(content).hexdigest(), len(content), etag)
    return path.read_bytes()


@pytest.fixture(scope="module")
def one_bucket(s3: services.Store) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.client.create_bucket(Bucket=name)
    yield name
    services.remove_bucket(s3.client, name)


@pytest.fixture
def store(s3: services.Store, one_bucket: str) -> Iterator[Store]:
    """A bucket with two small objects."""
    store = Store(s3.client, one_bucket, Patience(10))
    for name in ("there", "other"):
        store.write(name, CONTENT, "text/plain")
    yield store
    services.empty_bucket(s3.client, one_bucket)


@pytest.fixture(scope="module")
def proxy(s3: services.Store) -> Iterator[Proxy]:
    with proxied(str(s3.keys.s3_endpoint_url)) as proxy:
        yield proxy


@pytest.fixture
def far(s3: services.Store, store: Store, proxy: Proxy) -> Store:
    """The same bucket through the proxy, with little patience."""
    proxy.reset()
    keys = s3.keys.model_copy(update={"s3_endpoint_url": proxy.url})
    return Store(clients.client(keys), store.bucket, Patience(0.15))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "local").write_bytes(CONTENT)
    return tmp_path


@every_verb
def test_verbs_work(store: Store, folder: Path, verb: Verb) -> None:
    verb(store, folder)


@pytest.mark.parametrize(
    "verb",
    [
        lambda store, path: store.read("gone", 100),
        lambda store, path: store.stat("gone"),
        lambda store, path: store.get_file("gone", path, SHA256, len(CONTENT), etag_of(CONTENT)),
        lambda store, path: store.copy("gone", "copy", etag_of(CONTENT), len(CONTENT), "text/plain"),
    ],
    ids=["read", "stat", "get", "copy"],
)
def test_an_object_that_is_not_there_is_absent(store: Store, tmp_path: Path, verb: Verb) -> None:
    with pytest.raises(Absent, match="is not there") as caught:
        verb(store, tmp_path / "file")
    assert caught.value.uri == f"s3://{store.bucket}/gone"


@every_verb
def test_a_missing_bucket_is_unreachable_and_nothing_is_absent(
    store: Store, folder: Path, verb: Verb
) -> None:
    elsewhere = Store(store.client, f"{store.bucket}-not", Patience(0.3))
    if verb is WORKING["get"]:
        verb = WORKING["read"]
    with pytest.raises(Unreachable, match=f"s3://{store.bucket}-not/"):
        verb(elsewhere, folder)


def test_the_bucket_itself_can_be_checked(store: Store) -> None:
    store.check()
    with pytest.raises(Unreachable, match="NoSuchBucket"):
        Store(store.client, f"{store.bucket}-not", Patience(60)).check()


@every_verb
def test_wrong_keys_are_unreachable_at_once(store: Store, folder: Path, verb: Verb) -> None:
    client = clients.s3_client(store.client.meta.endpoint_url, "nobody", "nothing")
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"s3://.* refused|refused .*s3://"):
        verb(Store(client, store.bucket, Patience(60)), folder)
    assert time.monotonic() - began < 5


@every_verb
@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusing_store_is_unreachable_and_nothing_is_absent_or_damaged(
    far: Store, proxy: Proxy, folder: Path, verb: Verb, kind: Kind
) -> None:
    proxy.reset(Refusal(1, kind, Times.EVER_AFTER))
    with pytest.raises(Unreachable) as caught:
        verb(far, folder)
    assert caught.value.uri.startswith(f"s3://{far.bucket}/")
    assert caught.value.uri in str(caught.value)
    assert proxy.url in str(caught.value)


@every_verb
@pytest.mark.parametrize("kind", PASSING_REFUSALS)
def test_a_refusal_that_passes_is_waited_for(
    far: Store, proxy: Proxy, folder: Path, verb: Verb, kind: Kind
) -> None:
    proxy.reset(Refusal(1, kind))
    verb(far.patient(5), folder)
    assert len(proxy.refused) == 1


def test_no_answer_by_name_or_port_is_unreachable(store: Store) -> None:
    url = f"http://{HOST}:{free_ports(1)[0]}"
    with pytest.raises(Unreachable, match=url):
        Store(clients.s3_client(url, "a", "b"), store.bucket, Patience(0.3)).check()


def test_a_silent_server_is_unreachable_and_waiting_for_it_takes_patience(store: Store) -> None:
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        config = Config(read_timeout=0.5, retries={"total_max_attempts": 1}, proxies={})
        client = boto3.client("s3", "us-east-1", None, True, None, url, "a", "b", config=config)
        with pytest.raises(Unreachable, match=url):
            Store(client, "bucket", Patience(0.3)).read("name", 100)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_page_in_place_of_an_answer_is_unreachable(far: Store, proxy: Proxy) -> None:
    proxy.reset(Refusal(1, Kind.PAGE, Times.EVER_AFTER))
    with pytest.raises(Unreachable):
        far.below("")


def test_an_object_larger_than_the_limit_is_damaged_and_not_read(store: Store) -> None:
    assert store.read("there", len(CONTENT))[0] == CONTENT
    with pytest.raises(Damaged, match=f"{len(CONTENT)} bytes, at most {len(CONTENT) - 1} are valid"):
        store.read("there", len(CONTENT) - 1)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 40 * 2**20])
def test_files_come_back_as_they_were(store: Store, tmp_path: Path, size: int) -> None:
    content = pattern(size)
    (tmp_path / "sent").write_bytes(content)
    etag = put(store, "file", tmp_path / "sent")
    stored = store.stat("file")
    assert (stored.name, stored.size, stored.etag) == ("file", size, etag)
    assert get(store, "file", tmp_path / "got", content) == content
    assert put(store, "file", tmp_path / "sent") == etag


@pytest.mark.parametrize("size", [1, PART_BYTES + 1])
def test_other_bytes_of_the_same_size_have_another_etag(store: Store, tmp_path: Path, size: int) -> None:
    content = pattern(size)
    (tmp_path / "sent").write_bytes(content)
    before = put(store, "file", tmp_path / "sent")
    (tmp_path / "sent").write_bytes(content[:-1] + b"?")
    assert put(store, "file", tmp_path / "sent") != before


def pattern(size: int) -> bytes:
    """Bytes in which no part of a file, as it is sent, looks like another."""
    return b"".join(hashlib.sha256(bytes([at])).digest() * 2**15 for at in range(size // 2**20 + 1))[:size]


@pytest.mark.parametrize("size", [10, PART_BYTES + 10])
def test_a_file_that_changed_while_it_was_sent_is_not_stored(store: Store, tmp_path: Path, size: int) -> None:
    path = tmp_path / "sent"
    path.write_bytes(pattern(size))
    sums = sums_of(path)
    path.write_bytes(pattern(size)[:-1] + b"?")
    with pytest.raises(StoreError, match=f"s3://{store.bucket}/file"):
        store.patient(0.3).put_file("file", path, sums, "text/plain")
    with pytest.raises(Absent):
        store.stat("file")


@pytest.mark.parametrize("found", [b"", CONTENT[:-1], CONTENT + b"!"], ids=["empty", "shorter", "longer"])
def test_an_object_that_was_replaced_is_damaged_when_it_is_fetched(
    store: Store, tmp_path: Path, found: bytes
) -> None:
    etag = store.stat("there").etag
    store.write("there", found, "text/plain")
    with pytest.raises(Damaged, match=r"other bytes|shorter") as caught:
        store.get_file("there", tmp_path / "got", SHA256, len(CONTENT), etag)
    assert caught.value.uri == f"s3://{store.bucket}/there"


def test_an_object_that_is_shorter_than_said_is_damaged(store: Store, tmp_path: Path) -> None:
    etag, size = store.stat("there").etag, len(CONTENT) + 5
    with pytest.raises(Damaged, match="ends before"):
        store.get_file("there", tmp_path / "got", SHA256, size, etag)


@pytest.mark.parametrize("size", [10, PART_BYTES + 10])
def test_bytes_that_changed_behind_a_right_etag_are_damaged_and_leave_no_file(
    far: Store, proxy: Proxy, tmp_path: Path, size: int
) -> None:
    content = pattern(size)
    (tmp_path / "sent").write_bytes(content)
    put(far.patient(10), "file", tmp_path / "sent")
    proxy.altered = lambda path: path.endswith("/file")
    with pytest.raises(Damaged, match="its bytes have sha256"):
        get(far, "file", tmp_path / "got", content)
    assert not (tmp_path / "got").exists()


def test_a_part_that_cannot_be_sent_leaves_no_object_and_no_upload(
    far: Store, proxy: Proxy, tmp_path: Path
) -> None:
    (tmp_path / "sent").write_bytes(pattern(PART_BYTES + 10))
    proxy.reset(Refusal(2, Kind.UNAVAILABLE, Times.REPEATS))
    with pytest.raises(Unreachable, match=f"s3://{far.bucket}/file"):
        put(far, "file", tmp_path / "sent")
    assert "partNumber" in proxy.refused[0].path
    proxy.reset()
    with pytest.raises(Absent):
        far.stat("file")
    assert not far.client.list_multipart_uploads(Bucket=far.bucket).get("Uploads")


def test_a_copy_has_the_bytes_and_tells_its_etag(store: Store) -> None:
    stored = store.stat("there")
    etag = store.copy("there", "folder/copy", stored.etag, stored.size, "text/csv")
    assert store.read("folder/copy", 100) == (CONTENT, etag)
    assert store.stat("folder/copy").etag == etag
    head = store.client.head_object(Bucket=store.bucket, Key="folder/copy")
    assert head["ContentType"] == "text/csv"


def test_a_large_object_is_copied_in_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pattern(30 * 2**20 + 7)
    (tmp_path / "sent").write_bytes(content)
    before = put(store, "file", tmp_path / "sent")
    monkeypatch.setattr(module, "WHOLE_COPY_BYTES", 25 * 2**20)
    etag = store.copy("file", "copy", before, len(content), "text/csv")
    assert store.stat("copy").etag == etag
    assert get(store, "copy", tmp_path / "got", content) == content
    with pytest.raises(Damaged):
        store.copy("file", "copy", etag_of(b"other"), len(content), "text/csv")


def test_a_source_that_changed_is_damaged_and_not_copied(store: Store) -> None:
    etag = store.stat("there").etag
    store.write("there", b"other bytes", "text/plain")
    with pytest.raises(Damaged, match="there is damaged: its ETag changed"):
        store.copy("there", "copy", etag, len(CONTENT), "text/plain")
    with pytest.raises(Absent):
        store.stat("copy")


def test_another_bucket_is_outside(store: Store) -> None:
    assert store.name(store.uri("a/b")) == "a/b"
    for uri in (f"s3://{store.bucket}-not/a", "s3:///a", "/etc/passwd"):
        with pytest.raises(Damaged, match="outside the bucket"):
            store.name(uri)


def test_listings_are_whole_and_in_order(store: Store) -> None:
    names = [f"many/{number:04}/object" for number in range(1100)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: store.write(name, b"x", "text/plain"), names))
    assert [stored.name for stored in store.below("many/")] == names
    assert store.folders("many/") == [f"{number:04}" for number in range(1100)]
    assert [stored.name for stored in store.below("many/0042")] == ["many/0042/object"]
    assert store.below("few/") == store.folders("few/") == []


def test_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    store.delete("there")
    store.delete("there")
    with pytest.raises(Absent):
        store.stat("there")


def test_patience_is_shared_by_all_calls_and_bounded(far: Store, proxy: Proxy) -> None:
    proxy.reset(Refusal(1, Kind.UNAVAILABLE, Times.EVER_AFTER))
    store = far.patient(1)
    spent = []
    for name in ("a", "b", "c"):
        began = time.monotonic()
        with pytest.raises(Unreachable, match=f"/{name}"):
            store.read(name, 100)
        spent.append(time.monotonic() - began)
    assert 0.8 < spent[0] < 3
    assert max(spent[1:]) < 0.5
    proxy.reset()
    with pytest.raises(Absent):
        store.read("a", 100)


MEMORY = """
import json, re, sys
from pathlib import Path
from larder import s3
from larder.settings import settings
from larder.store import Store, sums_of

path, now = Path(sys.argv[1]), settings()
store = Store(s3.client(now), now.bucket_name)
store.check()
most = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before, sums = most(), sums_of(path)
etag = store.put_file("large", path, sums, "application/octet-stream")
sent = most()
store.get_file("large", path.with_name("got"), sums.sha256, sums.size, etag)
print(json.dumps([sent - before, most() - before]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the most memory it used")
def test_large_files_are_streamed(s3: services.Store, one_bucket: str, tmp_path: Path) -> None:
    with (tmp_path / "sent").open("wb") as file:
        for number in range(320):
            file.write(number.to_bytes(4) * 2**18)
    environment = {**os.environ, **s3.environment(one_bucket), "LARDER_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "sent")],
        env=environment,
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    more_bytes = json.loads(ran.stdout)
    assert max(more_bytes) < 240 * 2**20
