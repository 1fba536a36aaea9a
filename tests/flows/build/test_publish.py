"""What lies below `packages/`: whose it is, what it says, and what is left when publishing is cut short."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator

import pytest

from tests.processes import building
from tests.proxy import Call, Kind, proxied
from tests.recipes import REAL, SIMULATED, Product, sealed
from tests.services import Store
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")

BOTH = (SIMULATED, REAL)
PACKAGE = "packages/thing/25Q1/"


def export_b_as(product: Product, extension: str) -> None:
    product.recipe["exports"]["datasets"][1]["format"] = extension


def bump(product: Product, **options: object) -> None:
    """Let the newest release say the version."""
    product.recipe.pop("version", None)
    product.recipe |= {"version_strategy": "bump_latest_release", **options}


def everything(product: Product) -> dict[str, bytes]:
    """All objects of the package, by name."""
    return {name: product.bucket.read(name) for name in product.bucket.names(PACKAGE)}


def test_build_metadata_counts_rows_beside_those_of_the_release_before(product: Product) -> None:
    product.kind = REAL
    product.build()
    first = json.loads(everything(product)[f"{PACKAGE}build_metadata.json"])
    assert first["rows"] == {"a.csv": 2, "b.parquet": 2, "data_dictionary.csv": 4}
    assert "previous" not in first
    product.recipe["version"] = "25Q2"
    product.offer("a", "2", "id,a\n1,one\n")
    product.inputs[0]["version"] = "2"
    product.build()
    name = "packages/thing/25Q2/build_metadata.json"
    second = product.bucket.document(name)
    assert second["rows"]["a.csv"] == 1
    assert second["previous"] == {"version": "25Q1", "rows": first["rows"]}
    product.bucket.put(f"{PACKAGE}package.json", b"{")
    product.bucket.delete(name)
    assert product.build().publish == "repaired"
    assert "previous" not in product.bucket.document(name)


def elsewhere(product: Product) -> dict[str, bytes]:
    """What an empty bucket comes to."""
    with product.elsewhere() as other:
        other.build()
        return other.published


@pytest.mark.parametrize("kind", BOTH)
def test_a_published_package_is_whole(product: Product, kind: str) -> None:
    product.kind = kind
    assert product.build().publish == "published"
    assert_whole(product.bucket, "thing", "25Q1")
    assert set(product.published) == {
        "SHA256SUMS",
        "a.csv",
        "b.parquet",
        "data_dictionary.csv",
        "data_dictionary.md",
        "recipe.lock.yml",
        "source_data_versions.csv",
        "thing.zip",
    }
    (package,) = [product.last.document["package"]]
    assert [file["name"] for file in package["files"]] == sorted(product.published)


@pytest.mark.parametrize("kind", BOTH)
def test_package_json_holds_its_own_sha256_and_no_time_and_no_run(product: Product, kind: str) -> None:
    product.kind = kind
    run = product.build().document["flow_run_id"]
    text = product.bucket.read(f"{PACKAGE}package.json").decode()
    document = json.loads(text)
    assert run not in text
    assert not [value for value in values(document) if re.match(r"\d{4}-\d\d-\d\dT?", str(value))]
    assert document["simulated"] is (kind == SIMULATED)
    assert document["sha256"] == sealed(document)


def values(document: object) -> Iterator[object]:
    """Every scalar in a document."""
    match document:
        case dict():
            for item in document.values():
                yield from values(item)
        case list():
            for item in document:
                yield from values(item)
        case _:
            yield document


def test_build_metadata_tells_who_built_it_and_stays_while_nothing_changes(product: Product) -> None:
    run = product.build().document["flow_run_id"]
    before = everything(product)
    product.build()
    assert everything(product) == before
    metadata = json.loads(before[f"{PACKAGE}build_metadata.json"])
    assert metadata["flow_run"] == run
    assert metadata["recipe_hash"] == product.last.document["recipe_hash"]
    assert {step["result"] for step in metadata["results"]} == product.answers[0].ran


def test_a_simulated_package_never_replaces_a_real_one(product: Product) -> None:
    product.kind = REAL
    product.build()
    before = everything(product)
    product.kind = SIMULATED
    export_b_as(product, "csv")
    kept = product.build()
    assert (kept.exit_code, kept.document["state"], kept.publish) == (0, "completed", "kept")
    assert "does not replace" in kept.said
    assert everything(product) == before


def test_a_real_package_replaces_a_simulated_one(product: Product) -> None:
    product.build()
    product.kind = REAL
    assert product.build().publish == "published"
    assert_whole(product.bucket, "thing", "25Q1")
    assert product.bucket.document(f"{PACKAGE}package.json")["simulated"] is False
    assert product.published == elsewhere(product)


def test_real_files_are_not_replaced_by_simulated_ones_where_package_json_is_damaged(
    product: Product,
) -> None:
    product.kind = REAL
    product.build()
    product.bucket.put(f"{PACKAGE}package.json", b"{}")
    before = everything(product)
    product.kind = SIMULATED
    failed = product.build()
    assert (failed.exit_code, failed.document["error"]["stage"]) == (1, "publish")
    assert f"{PACKAGE}package.json" in failed.said
    assert everything(product) == before
    product.kind = REAL
    assert product.build().publish == "repaired"
    assert_whole(product.bucket, "thing", "25Q1")


@pytest.mark.parametrize("stray", ["stray.csv", "below/a/folder.csv", "b.parquet.part"])
def test_what_does_not_belong_to_a_package_is_deleted(product: Product, stray: str) -> None:
    product.build()
    product.bucket.put(PACKAGE + stray, b"stray")
    neighbours = ["packages/thing/25Q10/a.csv", "packages/thing/25Q1.csv", "packages/other/25Q1/a.csv"]
    for name in neighbours:
        product.bucket.put(name, b"another's")
    assert product.build().publish == "unchanged"
    assert_whole(product.bucket, "thing", "25Q1")
    assert {*neighbours} <= {*product.bucket.names("packages/")}


def test_what_is_exported_no_more_is_deleted(product: Product) -> None:
    product.build()
    export_b_as(product, "csv")
    assert product.build().publish == "published"
    assert "b.parquet" not in product.published
    assert_whole(product.bucket, "thing", "25Q1")
    assert product.published == elsewhere(product)


def test_products_and_versions_stand_side_by_side(product: Product) -> None:
    product.build()
    first = everything(product)
    product.recipe["version"] = "25Q2"
    second = product.build()
    assert second.publish == "published"
    product.recipe |= {"product": "other"}
    product.build()
    assert everything(product) == first
    for name, version in (("thing", "25Q1"), ("thing", "25Q2"), ("other", "25Q2")):
        assert_whole(product.bucket, name, version)


@pytest.mark.parametrize("kind", BOTH)
def test_the_lock_of_a_version_builds_that_version_again(product: Product, kind: str) -> None:
    product.kind = kind
    product.build()
    first = everything(product)
    product.recipe["version"] = "24Q4"
    for entry in product.inputs:
        product.offer(entry["id"], "2", f"id,{entry['id']}\n7,seven\n")
        entry["version"] = "2"
    product.build()
    newest = product.build("--locked")
    assert (newest.document["version"], newest.row) == ("25Q1", "X RR R R unchanged")
    older = product.build("--locked=24Q4")
    assert (older.document["version"], older.row) == ("24Q4", "X RR R R unchanged")
    assert everything(product) == first


@pytest.mark.parametrize("option", ["--locked=25Q9", "--locked"])
def test_a_lock_that_nobody_published_is_refused(product: Product, option: str) -> None:
    if "=" in option:
        product.build()
    before = product.bucket.names()
    refused = product.build(option)
    assert (refused.exit_code, refused.document["state"]) == (2, "refused")
    assert ("25Q1" if "=" in option else "none is published yet") in refused.document["error"]["message"]
    assert product.bucket.names() == before


def test_a_new_version_is_minted_only_when_something_changed(product: Product) -> None:
    product.kind = REAL
    product.recipe["version"] = "25v1"
    product.build()
    bump(product)
    assert (product.build().publish, product.last.document["version"]) == ("unchanged", "25v1")
    product.offer("b", "2", "id,b\n3,three\n")
    product.inputs[1]["version"] = "2"
    assert (product.build().publish, product.last.document["version"]) == ("published", "25v2")
    assert (product.build().publish, product.last.document["version"]) == ("unchanged", "25v2")
    for version in ("25v1", "25v2"):
        assert_whole(product.bucket, "thing", version)


def test_a_simulated_package_is_no_release(product: Product) -> None:
    product.kind = REAL
    product.recipe["version"] = "25v1"
    product.build()
    product.kind, product.recipe["version"] = SIMULATED, "25v8"
    product.build()
    product.kind = REAL
    bump(product)
    export_b_as(product, "csv")
    assert product.build().document["version"] == "25v2"


def test_a_version_is_copied_from_the_latest_release(product: Product) -> None:
    product.kind = REAL
    product.recipe["version"] = "25v1"
    product.build()
    bump(product, version_type="minor")
    product.offer("a", "2", "id,a\n3,three\n")
    product.offer("b", "2", "id,b\n3,three\n")
    product.recipe["inputs"]["missing_versions_strategy"] = "copy_latest_release"
    del product.inputs[0]["version"]
    product.inputs[1]["version"] = "latest"
    assert product.build().row == "X RX X X published"
    assert product.last.document["version"] == "25v1.1"
    assert product.published["source_data_versions.csv"].decode().splitlines() == [
        "schema_name,dataset_name,v,file_type",
        "a,a,1,csv",
        "b,b,2,csv",
    ]


@pytest.mark.parametrize("strategy", ["bump_latest_release", "copy_latest_release"])
def test_without_a_release_a_real_build_is_refused(product: Product, strategy: str) -> None:
    product.build()
    product.kind = REAL
    if strategy == "bump_latest_release":
        bump(product)
    else:
        product.recipe["inputs"]["missing_versions_strategy"] = strategy
        del product.inputs[0]["version"]
    refused = product.build()
    assert (refused.exit_code, refused.document["state"]) == (2, "refused")
    assert "no release of this product" in refused.document["error"]["message"]


@pytest.mark.parametrize(
    ("method", "name", "then"),
    [
        ("PUT", "SHA256SUMS", "published"),
        ("PUT", "thing.zip", "published"),
        ("PUT", "build_metadata.json", "published"),
        ("PUT", "package.json", "published"),
        ("DELETE", "b.parquet", "unchanged"),
    ],
)
def test_killed_while_publishing_the_next_run_finishes(
    product: Product, s3: Store, method: str, name: str, then: str
) -> None:
    product.build()
    old = product.bucket.document(f"{PACKAGE}package.json")
    export_b_as(product, "csv")
    with proxied(str(s3.keys.s3_endpoint_url)) as proxy:
        product.environment.setenv("LARDER_S3_ENDPOINT_URL", proxy.url)
        with building(product.read) as killed:
            proxy.rule = at(Call(method, f"/{product.bucket.name}/{PACKAGE}{name}"), killed.process.kill)
            killed.process.join()
        assert proxy.refused
    product.environment.setenv("LARDER_S3_ENDPOINT_URL", str(s3.keys.s3_endpoint_url))
    document = product.bucket.document(f"{PACKAGE}package.json")
    assert (document == old) is (then == "published")
    for file in document["files"]:
        if file["artifact"]:
            content = product.bucket.read(product.bucket.inside(file["artifact"]))
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert product.build().row == f"R RR R R {then}"
    assert_whole(product.bucket, "thing", "25Q1")
    assert product.published == elsewhere(product)


def at(call: Call, act: Callable[[], None]) -> Callable[[list[Call]], Kind | None]:
    """A rule that acts in place of one call."""

    def rule(calls: list[Call]) -> Kind | None:
        if (calls[-1].method, calls[-1].path.partition("?")[0]) != call:
            return None
        act()
        return Kind.CLOSED

    return rule
