import contextlib
import dataclasses
import gzip
import socket
import threading
import time

import pytest

from flows.build.catalog import Catalog, CatalogUnreachable, InputError
from flows.build.recipe.lock import LockedDataset
from flows.build.stages.load import load
from flows.tables import progress
from flows.tables.file_types import FileType
from tests.web import Quiet, served


@pytest.fixture
def folder(tmp_path):
    for dataset, version, extension in [
        ("a", "24Q4", "csv"),
        ("a", "25v9", "csv"),
        ("a", "25v10", "csv"),
        ("a", "25v10", "parquet"),
        ("a", "25v10", "shp.zip"),
        ("lion.b_1", "1", "geojson"),
    ]:
        file = tmp_path / "catalog" / dataset / version / f"{dataset}.{extension}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{dataset} {version}\n")
    (tmp_path / "catalog" / "a" / "README.md").write_text("no version")
    (tmp_path / "catalog" / "a" / ".hidden").mkdir()
    return tmp_path / "catalog"


@pytest.fixture
def web(folder):
    with served(folder) as url:
        yield url


@pytest.fixture(params=["folder", "web"])
def catalog(request, folder):
    return Catalog(str(folder) if request.param == "folder" else request.getfixturevalue("web"))


def test_versions_are_listed_oldest_first(catalog):
    assert catalog.versions("a") == ["24Q4", "25v9", "25v10"]
    assert catalog.versions("lion.b_1") == ["1"]


def test_an_alias_is_no_version(catalog, folder):
    (folder / "a" / "latest").mkdir()
    assert catalog.versions("a") == ["24Q4", "25v9", "25v10"]
    assert catalog.aliases("a") == ["latest"]


def test_what_is_not_there_has_no_versions_and_no_file_types(catalog):
    assert catalog.versions("zzz") == []
    assert catalog.file_types("a", "99") == []
    assert not catalog.has("a", "99", FileType.CSV)
    assert not catalog.has("a", "24Q4", FileType.PARQUET)


def test_file_types_are_in_order_of_preference(catalog):
    assert catalog.file_types("a", "25v10") == [FileType.PARQUET, FileType.CSV, FileType.SHAPEFILE]
    assert catalog.preferred("a", "25v10") is FileType.PARQUET
    assert catalog.preferred("a", "99") is None


def test_files_are_fetched_whole(catalog, folder, tmp_path):
    content = bytes(range(256)) * 20_000
    (folder / "a" / "24Q4" / "a.csv").write_bytes(content)
    catalog.fetch("a", "24Q4", FileType.CSV, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == content


def test_fetching_what_is_not_there_cannot_be_mended_by_trying_again(catalog, tmp_path):
    with pytest.raises(InputError, match="has no csv file"):
        catalog.fetch("a", "99", FileType.CSV, tmp_path / "fetched")


def test_a_web_server_without_listings_still_has_pinned_files(web, tmp_path, monkeypatch):
    monkeypatch.setattr(Quiet, "list_directory", lambda self, _: self.send_error(404))
    catalog = Catalog(web)
    assert catalog.versions("a") == []
    assert catalog.has("a", "24Q4", FileType.CSV)
    catalog.fetch("a", "24Q4", FileType.CSV, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_text() == "a 24Q4\n"


@pytest.mark.parametrize("status", [403, 500, 503])
def test_an_error_of_the_server_is_not_taken_for_absence(web, monkeypatch, tmp_path, status):
    for method in ("do_GET", "do_HEAD"):
        monkeypatch.setattr(Quiet, method, lambda self: self.send_error(status))
    catalog = Catalog(web)
    for ask in (
        lambda: catalog.versions("a"),
        lambda: catalog.file_types("a", "24Q4"),
        lambda: catalog.has("a", "24Q4", FileType.CSV),
        lambda: catalog.fetch("a", "24Q4", FileType.CSV, tmp_path / "fetched"),
    ):
        with pytest.raises(CatalogUnreachable, match=web):
            ask()


@pytest.fixture
def sending(web, monkeypatch):
    """Lets the web server answer with what a function writes, which may take its time."""

    def sending(write, announced=2**20):
        def answer(self):
            self.send_response(200)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            write(self.wfile)

        monkeypatch.setattr(Quiet, "do_GET", answer)
        return Catalog(web, fetch_seconds=0.2)

    return sending


def test_a_download_cut_short_is_not_taken_for_the_whole(sending, tmp_path):
    catalog = sending(lambda file: file.write(b"id\n1\n"))
    with pytest.raises(CatalogUnreachable):
        load(dataset_of("a", "24Q4"), catalog=catalog, scratch=tmp_path)
    assert not (tmp_path / "a.parquet").exists()


def test_a_download_that_takes_too_long_is_ended(sending, tmp_path):
    def trickle(file):
        with contextlib.suppress(OSError):
            while True:
                file.write(b"1\n")
                file.flush()
                time.sleep(0.01)

    with pytest.raises(InputError, match=r"longer than 0\.2 seconds, which LARDER_INPUT_SECONDS allows"):
        sending(trickle, 2**40).fetch("a", "24Q4", FileType.CSV, tmp_path / "fetched")


def test_a_long_download_says_how_far_it_is(sending, tmp_path, monkeypatch):
    said, heard = [], threading.Event()
    content = b"id\n" + b"1\n" * 2**20

    def in_two_parts(file):
        file.write(content[: 2**20])
        file.flush()
        heard.wait(30)
        file.write(content[2**20 :])

    def say(line):
        said.append(line)
        if line == "a: 1 MiB fetched":
            heard.set()

    monkeypatch.setattr(progress, "SAY_EVERY_SECONDS", 0.01)
    catalog = dataclasses.replace(sending(in_two_parts, len(content)), fetch_seconds=60)
    table = load(dataset_of("a", "24Q4"), catalog=catalog, say=say, scratch=tmp_path)
    assert table.rows == 2**20
    assert heard.is_set()


@pytest.mark.parametrize("place", ["catalog", "cat[a]log*"])
def test_a_file_of_this_machine_is_read_where_it_lies(folder, tmp_path, place):
    catalog = Catalog(str(folder.rename(tmp_path / place)))
    lies = catalog.in_place("a", "24Q4", FileType.CSV)
    assert lies == (tmp_path / place / "a" / "24Q4" / "a.csv" if place == "catalog" else None)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert load(dataset_of("a", "24Q4"), catalog=catalog, scratch=scratch).rows == 0
    assert [file.name for file in scratch.iterdir()] == ["a.parquet"]
    assert (tmp_path / place / "a" / "24Q4" / "a.csv").exists()


def dataset_of(name, version):
    content = {"source": "catalog", "id": name, "version": version, "file_type": "csv", "made_up": False}
    return LockedDataset(**content)


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_nobody_at_the_address_is_told_with_the_url(scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    options = {"endpoint_url": address, "key": "k", "secret": "s"} if scheme == "s3" else {}
    url = "s3://bucket/catalog" if scheme == "s3" else address
    begun = time.monotonic()
    with pytest.raises(CatalogUnreachable) as caught:
        Catalog(url, options).versions("a")
    assert caught.value.url == url
    assert time.monotonic() - begun < 25


def test_a_catalog_that_does_not_answer_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        catalog = Catalog(f"http://127.0.0.1:{silent.getsockname()[1]}", limit_seconds=0.5)
        begun = time.monotonic()
        with pytest.raises(CatalogUnreachable, match=r"no answer within 0\.5 seconds"):
            catalog.versions("a")
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("url", ["/no/such/folder", "nowhere://x", "gopher4://"])
def test_a_catalog_that_cannot_be_is_told(url):
    with pytest.raises(CatalogUnreachable, match=url):
        Catalog(url).versions("a")


def test_secrets_are_in_no_repr_and_in_no_error():
    assert "hush" not in repr(Catalog("s3://x", {"secret": "hush"}))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    catalog = Catalog(f"http://me:hush@127.0.0.1:{port}/x")
    assert "hush" not in repr(catalog)
    with pytest.raises(CatalogUnreachable, match=f"http://127.0.0.1:{port}/x cannot be reached") as caught:
        catalog.versions("a")
    assert "hush" not in str(caught.value)


CONTENT = b"id,v\n1,x\n"


def gzipped(content):
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("name", "sent", "encoding"),
    [
        ("p.csv.gz", gzipped(CONTENT), None),
        ("p.csv.gz", gzipped(CONTENT), "gzip"),
        ("p.csv.gz", CONTENT, None),
        ("p.csv.gz", CONTENT, "gzip"),
        ("p.csv.gz", gzipped(gzipped(CONTENT)), "x-gzip"),
        ("p.csv", CONTENT, "identity"),
        ("p.csv", gzipped(CONTENT), "gzip"),
        ("p.csv", gzipped(CONTENT), None),
    ],
)
@pytest.mark.parametrize("head", [True, False])
def test_what_a_web_server_packs_or_unpacks_on_its_way_is_the_same(
    folder, web, monkeypatch, tmp_path, name, sent, encoding, head
):
    (folder / "p" / "1").mkdir(parents=True)
    (folder / "p" / "1" / name).write_bytes(sent)
    monkeypatch.setattr(Quiet, "extensions_map", {"": "text/csv", ".gz": "text/csv"})
    if encoding:
        headers = Quiet.end_headers

        def end_headers(self):
            if self.path.endswith(name):
                self.send_header("Content-Encoding", encoding)
            headers(self)

        monkeypatch.setattr(Quiet, "end_headers", end_headers)
    if not head:
        monkeypatch.setattr(Quiet, "do_HEAD", lambda self: self.send_error(405))
    catalog = Catalog(web)
    assert catalog.versions("p") == ["1"]
    catalog.fetch("p", "1", FileType.CSV, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == CONTENT


def test_a_packing_that_was_not_asked_for_is_told(folder, web, monkeypatch, tmp_path):
    headers = Quiet.end_headers

    def end_headers(self):
        self.send_header("Content-Encoding", "br")
        headers(self)

    monkeypatch.setattr(Quiet, "end_headers", end_headers)
    with pytest.raises(InputError, match="packs it by br"):
        Catalog(web).fetch("a", "24Q4", FileType.CSV, tmp_path / "fetched")


def test_a_gzip_file_of_this_machine_under_another_name_is_unpacked(folder, tmp_path):
    (folder / "a" / "24Q4" / "a.csv").write_bytes(gzipped(CONTENT))
    assert load(dataset_of("a", "24Q4"), catalog=Catalog(str(folder)), scratch=tmp_path).rows == 1
