"""Whole builds from catalogs on S3 and on the web: the same bytes as from a folder."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.recipes import REAL, Product
from tests.services import remove_bucket
from tests.web import Quiet, served

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def on_the_web(product: Product) -> Iterator[str]:
    """The product's catalog, served by HTTP."""
    with served(product.catalog) as url:
        yield url


@pytest.fixture
def on_s3(product: Product) -> Iterator[str]:
    """A copy of the product's catalog in a bucket of its own."""
    client, bucket = product.bucket.client, f"catalog-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)

    for file in product.catalog.rglob("*.*"):
        if file.is_file():
            client.upload_file(str(file), bucket, f"deep/{file.relative_to(product.catalog)}")
    yield f"s3://{bucket}/deep"
    remove_bucket(client, bucket)


@pytest.fixture
def floating(product: Product) -> Product:
    """Inputs whose versions are found: one of plain files, one packed and large."""
    product.kind = REAL
    product.offer("a", "2", "id,a\n1,newer\n")
    packed(product.catalog / "b/3/b.csv.gz")
    for entry in product.inputs:
        del entry["version"]
    return product


def packed(file: Path) -> None:
    """A file of more than one piece, however it is cut."""
    file.parent.mkdir()
    rows = "".join(f"{number},{number * 7919 % 1_000_003}\n" for number in range(500_000))
    file.write_bytes(gzip.compress(f"id,b\n{rows}".encode()))


@pytest.mark.parametrize("place", ["on_the_web", "on_s3"])
def test_a_catalog_elsewhere_gives_the_same_bytes(
    floating: Product, place: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(place)
    with floating.elsewhere() as other:
        assert other.build().exit_code == 0, other.last.said
        expected = other.published
    floating.environment.setenv("LARDER_CATALOG_URL", url)
    answer = floating.build()
    assert answer.exit_code == 0, answer.said
    assert floating.published == expected
    assert b"b,3" in expected["source_data_versions.csv"]
    floating.build()
    assert floating.last.row == "X RR R R unchanged"


def test_a_web_server_that_fails_once_is_asked_again(
    floating: Product, on_the_web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = ["/a/2/a.csv"]

    def answer(self: Quiet) -> None:
        if self.path in failures:
            failures.remove(self.path)
            self.send_error(503)
        else:
            super(Quiet, self).do_GET()

    monkeypatch.setattr(Quiet, "do_GET", answer)
    floating.environment.setenv("LARDER_CATALOG_URL", on_the_web)
    answered = floating.build()
    assert answered.exit_code == 0, answered.said
    assert not failures
    assert answered.outcomes["load a"] == "executed"
