"""Functions in processes of their own, the memory that they share, and what they may reach."""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import duckdb
import pytest
import xlsxwriter

from flows.tables import confinement
from flows.tables.bounds import Bounds
from flows.tables.file_types import FileType
from flows.tables.lineage import ModelError
from flows.tables.memory import PART_BYTES, memory_share
from flows.tables.model import model
from flows.tables.reading import UnreadableError, read_input
from flows.tables.sql_model import Model
from flows.tables.table import Table

BOUNDS = Bounds(input_seconds=60, input_bytes=10**8, input_memory_bytes=10**9)
VRT = (
    '<OGRVRTDataSource><OGRVRTLayer name="passwd"><SrcDataSource>CSV:/etc/passwd</SrcDataSource>'
    "</OGRVRTLayer></OGRVRTDataSource>"
)
DEEP = "[" * 50_000 + "]" * 50_000
WFS = "<OGRWFSDataSource><URL>http://127.0.0.1:9/</URL></OGRWFSDataSource>"


def zipped(**files: str) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return target.getvalue()


def workbook(rows: str) -> bytes:
    """A workbook whose sheet holds this XML."""
    plain, target = BytesIO(), BytesIO()
    book = xlsxwriter.Workbook(plain)
    book.add_worksheet().write(0, 0, "a")
    book.close()
    sheet = (
        '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f"<sheetData>{rows}</sheetData></worksheet>"
    )
    with zipfile.ZipFile(plain) as before, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, sheet if name.endswith("sheet1.xml") else before.read(name))
    return target.getvalue()


def bomb() -> bytes:
    cell = '<row r="{0}"><c r="A{0}" t="inlineStr"><is><t>{1}</t></is></c></row>'
    return workbook("".join(cell.format(number, "x" * 1_000_000) for number in range(1, 40)))


FAR = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
HOSTILE: Mapping[str, tuple[FileType, str, Callable[[], bytes], str]] = {
    "VRT in GeoJSON": (FileType.GEOJSON, "x.geojson", VRT.encode, "it begins with b'<OGRVRTD'"),
    "VRT in a geodatabase": (FileType.GDB, "x.gdb.zip", lambda: zipped(x_vrt=VRT), "holds x.vrt"),
    "VRT in a .gdb": (FileType.GDB, "x.gdb.zip", lambda: zipped(x_gdb__a_vrt=VRT), "not recognized"),
    "VRT as .shp": (FileType.SHAPEFILE, "x.shp.zip", lambda: zipped(x_shp=VRT), ""),
    "a URL": (FileType.GEOJSON, "x.geojson", b"/vsicurl/http://127.0.0.1:9/x".strip, "it begins with"),
    "WFS": (FileType.GEOJSON, "x.geojson", WFS.encode, "it begins with b'<OGRWFSD'"),
    "deep JSON": (FileType.JSON, "x.json", f'[{{"a": {DEEP}}}]'.encode, "levels deep"),
    "a far cell": (FileType.XLSX, "x.xlsx", lambda: workbook(FAR), ""),
    "a bomb": (FileType.XLSX, "x.xlsx", bomb, "LARDER_INPUT_BYTES"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_fails_by_itself(case: str, tmp_path: Path) -> None:
    file_type, name, content, said = HOSTILE[case]
    (tmp_path / name).write_bytes(content())
    (tmp_path / "out").mkdir()
    bounds = BOUNDS.model_copy(update={"input_bytes": 10**7})
    with pytest.raises(UnreadableError) as caught:
        read_input(file_type, tmp_path / name, tmp_path / "out" / "a.parquet", {}, bounds, print)
    assert said in str(caught.value)
    assert "root:" not in str(caught.value)


@pytest.fixture
def one(tmp_path: Path) -> Table:
    """A table of one row."""
    file = tmp_path / "one.parquet"
    duckdb.sql(f"copy (select 1 as n) to '{file}'")
    return Table(file=file, rows=1, columns=())


def test_a_model_meets_its_limits_and_says_whose_they_are(one: Table, tmp_path: Path) -> None:
    endless = Model(sql="select sum(a.range * b.range) as s from range(10000000) a, range(10000000) b, one")
    with pytest.raises(ModelError, match=r"took longer than 0\.5 seconds .*LARDER_STAGE_SECONDS"):
        model("m", endless, {"one": one}, limit_seconds=0.5, scratch=tmp_path)
    large = Model(sql="select hash(range) as h from range(3000000), one")
    with pytest.raises(ModelError, match=r"bytes of disk, and 1,000,000 are allowed .*LARDER_STAGE_BYTES"):
        model("m", large, {"one": one}, bounds=Bounds(stage_bytes=10**6), scratch=tmp_path)
    assert model("m", Model(sql="from one"), {"one": one}, scratch=tmp_path).rows == 1


def test_memory_is_shared_and_waited_for(tmp_path: Path) -> None:
    bounds = Bounds(memory_bytes=4 * PART_BYTES, memory_file=tmp_path / "memory")
    said: list[str] = []

    class WaitedError(Exception):
        pass

    def waits(line: str) -> None:
        said.append(line)
        raise WaitedError

    with memory_share(bounds, 3 * PART_BYTES, said.append), memory_share(bounds, PART_BYTES, said.append):
        assert not said
        with pytest.raises(WaitedError), memory_share(bounds, PART_BYTES, waits):
            pass
    assert "waits for memory: 64 of 256 MiB (LARDER_MEMORY_BYTES)" in said
    with memory_share(bounds, 10**12, waits):
        pass


def test_what_is_hidden_is_cut_out_of_what_may_be_read(tmp_path: Path) -> None:
    for name in ("a", "home/env", "deep/home/x", "deep/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to("/")
    hidden = [tmp_path / "home", tmp_path / "deep" / "home"]
    found = {str(path.relative_to(tmp_path)) for path in confinement.without(tmp_path, hidden)}
    assert found == {"a", "deep/b"}
    assert list(confinement.without(tmp_path / "home" / "env", hidden)) == []
    assert list(confinement.without(Path("/usr"), hidden)) == [Path("/usr")]


def test_older_kernels_are_told_what_they_leave_open() -> None:
    assert confinement.open_still(0) == ("read and change what the worker can, and end its processes",)
    assert len(confinement.open_still(2)) == 2
    assert confinement.open_still(6) == ()
