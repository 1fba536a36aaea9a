"""Shapefiles for tests, part by part: what is wrong with a file is mostly wrong with one of them."""

import io
import struct
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyogrio

Parts = dict[str, bytes]
"""The parts of a shapefile, by extension."""


def point(x: float, y: float) -> bytes:
    """A point as WKB."""
    return struct.pack("<BIdd", 1, 1, x, y)


def parts(values: Sequence[object], field: str = "name", crs: str | None = "EPSG:4326") -> Parts:
    """A shapefile of points with one field, in UTF-8 and without a .cpg file."""
    shapes = np.array([point(number, 40) for number in range(len(values))], dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        pyogrio.raw.write(
            f"{folder}/x.shp",
            shapes,
            [np.array(values, dtype=object if isinstance(values[0], str) else None)],
            [field],
            geometry_type="Point",
            crs=crs,
            driver="ESRI Shapefile",
            layer_options={"ENCODING": "UTF-8"},
        )
        made = {part.suffix: part.read_bytes() for part in Path(folder).iterdir()}
    return {suffix: content for suffix, content in made.items() if suffix != ".cpg"}


def table(
    fields: Sequence[tuple[str | bytes, str, int, int]], rows: Sequence[Sequence[bytes]], language: int = 0
) -> bytes:
    """A DBF table: name, type, width and decimals of each field, and what stands in it, row by row."""
    record = 1 + sum(width for _, _, width, _ in fields)
    head = struct.pack("<BBBBIHH17xB2x", 3, 80, 1, 1, len(rows), 33 + 32 * len(fields), record, language)
    for name, type_, width, decimals in fields:
        named = name.encode() if isinstance(name, str) else name
        head += struct.pack("<11sc4xBB14x", named, type_.encode(), width, decimals)
    body = b""
    for row in rows:
        cells = zip(row, fields, strict=True)
        body += b" " + b"".join(
            cell.rjust(one[2]) if one[1] in "NF" else cell.ljust(one[2]) for cell, one in cells
        )
    return head + b"\r" + body + b"\x1a"


def zipped(entries: Mapping[str, bytes]) -> bytes:
    """A zip file of these entries."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target.getvalue()


def named(made: Mapping[str, bytes], name: str = "x") -> dict[str, bytes]:
    """The parts of a shapefile as entries of a zip file."""
    return {f"{name}{suffix}": content for suffix, content in made.items()}
