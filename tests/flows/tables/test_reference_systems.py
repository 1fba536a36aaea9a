import json
from pathlib import Path

import pytest

from flows.tables.bounds import Bounds
from flows.tables.file_types import FileType
from flows.tables.reading import read_input
from flows.tables.reference_systems import reference_system


@pytest.mark.parametrize("named", ["EPSG:2263", "urn:ogc:def:crs:EPSG::2263"])
def test_a_name_gives_the_reference_system(named: str) -> None:
    found = json.loads(reference_system(named))
    assert found["id"] == {"authority": "EPSG", "code": 2263}
    assert json.loads(reference_system(reference_system(named))) == found


def test_longitude_and_latitude_have_their_own_name() -> None:
    assert reference_system("urn:ogc:def:crs:OGC:1.3:CRS84") == "OGC:CRS84"


@pytest.mark.parametrize("named", ["nowhere", "EPSG:1", "", "https://example.org/crs.wkt", '{"type": 5}'])
def test_what_is_none_is_told(named: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="is no known reference system; one is EPSG:2263"):
        reference_system(named)
    assert capfd.readouterr() == ("", "")


def test_no_file_is_opened_for_a_name(tmp_path: Path) -> None:
    file = tmp_path / "grid.prj"
    file.write_text(reference_system("EPSG:2263"))
    with pytest.raises(ValueError, match="is no known reference system"):
        reference_system(str(file))


def test_names_are_known_where_gdal_has_one_driver(tmp_path: Path) -> None:
    source = tmp_path / "a.geojson"
    feature = {
        "type": "Feature",
        "properties": {"n": 1},
        "geometry": {"type": "Point", "coordinates": [1, 2]},
    }
    crs = {"type": "name", "properties": {"name": "EPSG:2263"}}
    source.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
    folder = tmp_path / "made"
    folder.mkdir()
    table = read_input(FileType.GEOJSON, source, folder / "a.parquet", {}, Bounds(), print)
    assert [column.type for column in table.columns] == ["INTEGER", "GEOMETRY('EPSG:2263')"]
