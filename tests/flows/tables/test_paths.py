"""What stands in the path of a file is no part of its rows."""

import json
import re
from pathlib import Path

import duckdb
import pytest

from flows.build.catalog import Catalog
from flows.build.recipe.lock import LockedDataset
from flows.build.stages.load import load
from flows.build.stages.package import package
from flows.tables.export import Exports
from flows.tables.model import model
from flows.tables.sql_model import Model
from larder.settings import CHECKOUT

ROWS = [("1", "Bronx"), ("2", "Queens")]


@pytest.mark.parametrize("file_type", ["csv", "json", "parquet"])
def test_a_part_of_a_path_with_an_equals_sign_is_no_column(tmp_path: Path, file_type: str) -> None:
    lies = tmp_path / "borough=Nowhere" / "sites" / "1" / f"sites.{file_type}"
    scratch = tmp_path / "env=prod" / "id=7"
    for folder in (lies.parent, scratch / "load", scratch / "model", scratch / "package"):
        folder.mkdir(parents=True)
    content = {
        "csv": "id,borough\n1,Bronx\n2,Queens\n",
        "json": json.dumps([dict(zip(("id", "borough"), row, strict=True)) for row in ROWS]),
    }
    if file_type == "parquet":
        duckdb.sql(f"copy (from (values ('1', 'Bronx'), ('2', 'Queens')) t(id, borough)) to '{lies}'")
    else:
        lies.write_text(content[file_type])
    dataset = LockedDataset(source="catalog", id="sites", version="1", file_type=file_type, made_up=False)
    loaded = load(dataset, catalog=Catalog(str(tmp_path / "borough=Nowhere")), scratch=scratch / "load")
    assert [column.name for column in loaded.columns] == ["id", "borough"]
    made = model("m", Model(sql="select * from sites"), {"sites": loaded}, scratch=scratch / "model")
    assert [column.name for column in made.columns] == ["id", "borough"]
    formats = ("csv", "json", "xlsx", "parquet")
    exports = Exports.model_validate({"datasets": [{"name": "m", "format": kind} for kind in formats]})
    packaged = package("P", "p", "1", exports, {"sites": "1"}, {"m": made}, scratch=scratch / "package")
    files = {file.name: Path(str(file.file)) for file in packaged.files}
    assert files["m.csv"].read_text() == "id,borough\n1,Bronx\n2,Queens\n"
    assert json.loads(files["m.json"].read_text()) == [{"id": id_, "borough": name} for id_, name in ROWS]
    read = duckdb.sql(f"from read_parquet('{files['m.parquet']}', hive_partitioning = false)")
    assert read.fetchall() == ROWS


def test_whatever_reads_a_file_says_so() -> None:
    readers = re.compile(r"(?<!polars\.)read_(csv|json|json_objects|ndjson|parquet)\(")
    reading = [file for file in (CHECKOUT / "flows").rglob("*.py") if readers.search(file.read_text())]
    assert reading
    assert not [
        file for file in reading if not re.search("NO_PATH_COLUMNS|hive_partitioning =", file.read_text())
    ]
