"""Data and programs that are not as they should be: exit 1, what and where, no result of that stage."""

import gzip
import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
import xlsxwriter

from tests.recipes import REAL, Product

pytestmark = pytest.mark.usefixtures("quick")

Change = Callable[[Product], None]


def b_is(content: bytes | str, extension: str = "csv", **parts: object) -> Change:
    def change(product: Product) -> None:
        (product.catalog / "b/1/b.csv").unlink()
        written = content if isinstance(content, bytes) else content.encode()
        (product.catalog / f"b/1/b.{extension}").write_bytes(written)
        product.inputs[1].update({"file_type": extension.partition(".")[0], **parts})

    return change


def a_book_of_one_sheet(product: Product) -> None:
    b_is(b"", "xlsx", custom={"sheet": "Second"})(product)
    book = xlsxwriter.Workbook(product.catalog / "b/1/b.xlsx")
    book.add_worksheet("First").write_row(0, 0, ["id", "b"])
    book.close()


def a_bomb(product: Product) -> None:
    b_is(gzip.compress(b"id,b\n" + b"1,2\n" * 100_000), "csv.gz")(product)
    product.environment.setenv("LARDER_INPUT_BYTES", "1000")


def built_by(**parts: object) -> Change:
    def change(product: Product) -> None:
        product.recipe["stage_config"] = {"builds.build": parts}
        product.recipe["exports"] = {"datasets": []}

    return change


def judged_by(test: object) -> Change:
    return built_by(models={"m": {"sql": "from b", "tests": [test]}})


def ordered(run: str) -> Change:
    return built_by(tables=["made"], commands=[{"name": "make", "run": run}])


DATA: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "ragged": (b_is("id,b\n1,2\n3\n"), "load b", ("line 3 has 1 in place of 2 columns", "custom")),
    "encoding": (b_is(b"id,b\n1,\xe9\n"), "load b", ("line 2 is not UTF-8", "custom: {encoding: …}")),
    "empty": (b_is(""), "load b", ("it is empty",)),
    "a page": (b_is("<!DOCTYPE html><html>no such file</html>"), "load b", ("a page of HTML",)),
    "no such sheet": (a_book_of_one_sheet, "load b", ("no sheet Second", "there are First")),
    "a bomb": (a_bomb, "load b", ("more than 1,000 bytes", "LARDER_INPUT_BYTES")),
    "half a gzip": (b_is(gzip.compress(b"id\n1\n")[:15], "csv.gz"), "load b", ("no whole gzip file",)),
    "unknown column": (judged_by({"not_null": "c"}), "model m", ("there is no column c", "id, b")),
    "a test": (judged_by({"unique": "id"}), "model m", ("unique of id of model m", "first: id '1', times 2")),
    "no such command": (ordered("nowhere --at-all"), "command make", ("nowhere", "is it installed")),
    "a promise": (ordered("true"), "command make", ("$LARDER_OUTPUT_DIR/made.parquet", "wrote nothing")),
}


@pytest.mark.parametrize("case", DATA)
def test_what_is_not_as_it_should_be_fails_its_stage(case: str, product: Product) -> None:
    change, stage, said = DATA[case]
    product.kind = REAL
    product.offer("b", "1", "id,b\n1,one\n1,two\n")
    change(product)
    answer = product.build()
    assert (answer.exit_code, answer.document["state"]) == (1, "failed"), answer.said
    assert answer.outcomes[stage] == "failed"
    for part in (stage, *said):
        assert part in answer.document["error"]["message"]
    kind, name = stage.split()
    folder = f"results/_inputs/{name}/" if kind == "load" else f"results/thing/{kind}-{name}"
    assert product.bucket.names(folder) == []
    assert product.bucket.names("results/_inputs/a/")
    assert product.bucket.names("packages/") == []


@pytest.fixture
def half_a_catalog() -> Iterator[str]:
    """The URL of a catalog that ends each answer in the middle."""

    class Half(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"id,b\n1,2\n")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Half) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_cut_short_fails_when_it_stays_so(half_a_catalog: str, product: Product) -> None:
    product.kind = REAL
    for entry in product.inputs:
        entry["file_type"] = "csv"
    product.environment.setenv("LARDER_CATALOG_URL", half_a_catalog)
    answer = product.build()
    assert answer.exit_code == 1, answer.said
    assert answer.document["error"]["stage"] == "load"
    assert f"The catalog {half_a_catalog} cannot be reached" in answer.document["error"]["message"]
    assert product.bucket.names("results/_inputs/") == []
