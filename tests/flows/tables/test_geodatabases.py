import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyogrio
import pytest

from tests.flows.tables.conftest import Reading


def line(points: list[tuple[float, float]], kind: int) -> bytes:
    """A line (2) or an arc (8) as WKB."""
    body = b"".join(struct.pack("<dd", *point) for point in points)
    return struct.pack("<BII", 1, kind, len(points)) + body


ARC = line([(0, 0), (1, 1), (2, 0), (1, -1), (0, 0)], 8)
CURVE_POLYGON = struct.pack("<BII", 1, 10, 1) + ARC
RING = line([(0, 0), (0, 1), (1, 1), (0, 0)], 2)[5:]
POLYGON = struct.pack("<BII", 1, 3, 1) + RING


def surface(shape: bytes) -> bytes:
    """A multisurface of one shape as WKB."""
    return struct.pack("<BII", 1, 12, 1) + shape


@pytest.fixture
def geodatabase(tmp_path: Path):
    """The bytes of a zipped geodatabase whose layers have these shapes."""

    def geodatabase(place: str = "lots.gdb", **layers: list[bytes | None]) -> bytes:
        folder, target = tmp_path / "lots.gdb", io.BytesIO()
        for at, (layer, shapes) in enumerate(layers.items()):
            names = np.array([f"n{number}" for number in range(len(shapes))], dtype=object)
            options = {"driver": "OpenFileGDB", "crs": "EPSG:2263", "geometry_type": "MultiPolygon"}
            given = np.array([*shapes, None], dtype=object)[:-1]
            pyogrio.raw.write(folder, given, [names], ["name"], layer=layer, append=at > 0, **options)
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("__MACOSX/lots.gdb/._a00000001.gdbtable", b"x")
            for part in sorted(folder.iterdir()):
                archive.write(part, f"{place}/{part.name}")
        return target.getvalue()

    return geodatabase


def test_curves_become_lines_and_are_told(
    reading: Reading, geodatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    read = reading(geodatabase(lots=[surface(CURVE_POLYGON), None, surface(POLYGON)]), "gdb")
    assert read.columns == {"name": "VARCHAR", "geometry": "GEOMETRY('EPSG:2263')"}
    names, shapes = zip(*read.rows, strict=True)
    assert names == ("n0", "n1", "n2")
    assert shapes[0].startswith("MULTIPOLYGON (((")
    assert shapes[0].count(",") > 50
    assert shapes[1] is None
    assert shapes[2].startswith("MULTIPOLYGON (((")
    assert shapes[2].count(",") == 3
    assert read.warnings == ["its curves became lines, as an approximation, and its surfaces polygons"]
    assert capfd.readouterr() == ("", "")


def test_straight_shapes_are_not_told(reading: Reading, geodatabase) -> None:
    content = geodatabase(one=[surface(POLYGON)], other=[surface(POLYGON)] * 2)
    with pytest.raises(ValueError, match=r"there are 2 layers; say `custom: {layer: …}`, one of one, other"):
        reading(content, "gdb")
    read = reading(content, "gdb", layer="other")
    assert (len(read.rows), read.warnings) == (2, [])


@pytest.mark.parametrize("place", ["data/2025/lots.gdb", "LOTS.GDB"])
def test_a_geodatabase_may_stand_anywhere_in_its_zip_file(reading: Reading, geodatabase, place: str) -> None:
    assert len(reading(geodatabase(place, lots=[surface(POLYGON)]), "gdb").rows) == 1


def test_of_several_geodatabases_none_is_guessed(reading: Reading, geodatabase) -> None:
    content = io.BytesIO(geodatabase("a/lots.gdb", lots=[surface(POLYGON)]))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("b/other.gdb/gdb", b"x")
    with pytest.raises(ValueError, match=r"holds 2 geodatabases \(a/lots.gdb, b/other.gdb\)"):
        reading(content.getvalue(), "gdb")
