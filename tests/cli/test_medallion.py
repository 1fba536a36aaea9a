"""`larder medallion`: samples and configurations."""

from pathlib import Path

import pytest
import yaml

from cli.main import main
from flows.medallion import asked
from larder.configuration import Configurations
from larder.settings import Settings
from tests.services import Store


def test_samples_land_in_the_bucket(larder: Settings, s3: Store, bucket: str) -> None:
    assert main(["medallion", "samples", "--workflow-id", "trial"]) == 0
    listed = s3.client.list_objects_v2(Bucket=bucket, Prefix="landing/trial/")["Contents"]
    assert [one["Key"].removeprefix("landing/trial/") for one in listed] == [
        *("countries/countries.json", "customers/customers.csv"),
        *("orders/orders-1.csv", "orders/orders-2.csv", "products/products.xlsx"),
    ]


def test_a_configuration_is_written_for_files_that_are_there(
    larder: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Configurations(pipeline="medallion", folder=tmp_path / "configuration", model=asked.Workflow)
    given.folder.mkdir()
    monkeypatch.setattr("cli.medallion.CONFIGURATIONS", given)
    files = tmp_path / "files"
    assert main(["medallion", "samples", "--folder", str(files)]) == 0
    words = ["medallion", "seed", "--workflow-id", "shop", "--files", str(files)]
    assert main(words) == 0
    orders = given.read("shop").jobs["orders"]
    assert orders.primary_keys == ("order_id",)
    assert orders.parents == ("customers", "products")
    assert yaml.safe_load((given.folder / "shop.yml").read_text())["jobs"].keys() == {
        *("countries", "customers", "orders", "products"),
    }
    assert main(words) == 2


def test_a_folder_without_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["medallion", "seed", "--workflow-id", "shop", "--files", str(tmp_path)]) == 2
    assert "has no file that ends in .csv" in capsys.readouterr().err
