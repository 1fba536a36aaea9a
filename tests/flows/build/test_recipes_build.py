"""The recipes that people have go through a build, and the shipped one really builds."""

import csv
import io
from pathlib import Path

import duckdb
import pytest

from larder.settings import CHECKOUT
from tests.recipes import REAL, Product
from tests.shared import RECIPES
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_builds_simulated_and_is_reused_behind_plan(product: Product, path: Path) -> None:
    product.file = path
    first = product.build()
    assert (first.exit_code, first.publish) == (0, "published")
    assert set(first.outcomes.values()) == {"executed"}
    recipe = product.read
    assert {entry.import_as or entry.id for entry in recipe.inputs.datasets} == {
        step["dataset"] for step in first.document["stages"] if step["stage"] == "load"
    }
    assert_whole(product.bucket, first.document["product"], first.document["version"])
    again = product.build()
    assert again.publish == "unchanged"
    assert {title for title, outcome in again.outcomes.items() if outcome != "reused"} <= {"plan"}


def test_the_shipped_recipe_really_builds_the_same_bytes_in_two_homes(product: Product) -> None:
    product.file, product.kind = CHECKOUT / "recipe.yml", REAL
    product.environment.delenv("LARDER_CATALOG_URL")
    assert product.build().row == "X X X X published"
    files = product.published
    rows = list(csv.reader(io.StringIO(files["bpl_libraries.csv"].decode())))
    assert [len(row) for row in rows] == [21, 21, 21]
    parquet = product.folder / "bpl_libraries.parquet"
    parquet.write_bytes(files["bpl_libraries.parquet"])
    read = duckdb.sql(f"from '{parquet}'")
    assert read.columns == rows[0]
    assert [[value or "" for value in row] for row in read.fetchall()] == rows[1:]
    with product.elsewhere() as other:
        assert other.build().row == "X X X X published"
        assert other.published == files
