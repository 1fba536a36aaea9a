"""The examples that the README names build what they say, once, and the same bytes in another home."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml

from larder.settings import CHECKOUT
from tests.recipes import REAL, Product
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")


def is_recipe(path: Path) -> bool:
    """Whether a file of the examples is a recipe; a dbt project has other YAML."""
    return "product" in yaml.safe_load(path.read_text())


EXAMPLES = sorted(
    str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "examples").rglob("*.yml") if is_recipe(path)
)


@pytest.fixture
def example(product: Product, request: pytest.FixtureRequest) -> Product:
    """The example that a test names, with the shipped catalog."""
    product.file, product.kind = CHECKOUT / request.param, REAL
    product.environment.delenv("LARDER_CATALOG_URL")
    return product


@pytest.mark.parametrize("example", EXAMPLES, indirect=True)
def test_an_example_builds_once_and_the_same_in_another_home(example: Product) -> None:
    first = example.build()
    assert first.exit_code == 0, first.said
    files = example.published
    assert_whole(example.bucket, first.document["product"], first.document["version"])
    again = example.build()
    assert {title for title, outcome in again.outcomes.items() if outcome != "reused"} <= {"plan"}
    assert again.publish == "unchanged"
    with example.elsewhere() as other:
        assert other.build().exit_code == 0, other.last.said
        assert other.published == files


@pytest.mark.parametrize("example", ["examples/access.yml"], indirect=True)
def test_models_of_the_example(example: Product) -> None:
    example.build()
    rows = list(csv.DictReader(io.StringIO(example.published["branches.csv"].decode())))
    assert [(row["branchid"], row["zip"]) for row in rows] == [("60", "11211"), ("77", "11218")]
    assert "by_neighborhood.xlsx" in example.published


@pytest.mark.parametrize("example", ["examples/map.yml"], indirect=True)
def test_the_map_of_the_example(example: Product) -> None:
    example.build()
    features = json.loads(example.published["library_map.geojson"])["features"]
    assert features[0]["properties"]["title"] == "Williamsburgh Library"
    assert features[0]["geometry"]["coordinates"] == [-73.9575883, 40.7069143]
    with zipfile.ZipFile(io.BytesIO(example.published["library_map.zip"])) as archive:
        assert {"library_map.shp", "library_map.dbf", "library_map.prj"} <= set(archive.namelist())


@pytest.mark.parametrize("example", ["examples/report/recipe.yml"], indirect=True)
def test_commands_of_the_example(example: Product, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="prefect.task_runs"):
        example.build()
    services = example.published["services.csv"].decode().splitlines()
    assert services[0] == "service,branches"
    assert "cooling center,2" in services
    assert "command show: cooling center: 2" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("example", ["examples/dbt/recipe.yml"], indirect=True)
def test_dbt_of_the_example(example: Product, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="prefect.task_runs"):
        example.build()
    assert "cooling center,2" in example.published["services.csv"].decode().splitlines()
    branches = list(csv.DictReader(io.StringIO(example.published["branches.csv"].decode())))
    assert [branch["neighborhood"] for branch in branches] == ["Williamsburg", "Windsor Terrace"]
    said = [record.getMessage() for record in caplog.records]
    assert any(re.match(r"command dbt_build: .*PASS unique_services_service", line) for line in said)
    assert any("Done. PASS=8 WARN=0 ERROR=0" in line for line in said)


def test_the_readme_names_every_example() -> None:
    named = set(
        re.findall(r"larder build (examples/\S+\.yml)", (CHECKOUT / "docs" / "recipes.md").read_text())
    )
    assert named == set(EXAMPLES)
