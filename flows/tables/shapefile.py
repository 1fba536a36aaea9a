"""What a shapefile can hold: shapes of one type, short names and short values."""

from pathlib import Path

import duckdb

from flows.tables.quoting import identifier

NUMBER = "('0x' || hex(st_asbinary({0})[3:3]) || hex(st_asbinary({0})[2:2]))::integer"
"""SQL for the number that WKB has for a shape's type: thousands tell of Z and M."""
FAMILY = f"(['points', 'lines', 'polygons', 'points', 'lines', 'polygons', 'collections'])[{NUMBER} % 1000]"
TYPES = {1: "Point", 4: "MultiPoint", 2: "LineString", 5: "LineString", 3: "Polygon", 6: "Polygon"}
"""What GDAL calls each of these numbers in a shapefile, where one line and several are the same."""
SHORT = {
    "VARCHAR": ("octet_length(encode({0}))", 255, "text longer than the 254 bytes that a shapefile holds"),
    "BIGINT": ("abs({0}::hugeint)", 10**18, "integers longer than the 18 digits that a shapefile holds"),
    "DOUBLE": ("abs({0})", 1e23, "numbers larger than a shapefile holds"),
}


def one_type(rows: duckdb.DuckDBPyRelation, column: str, name: str) -> str:
    """What GDAL calls the one type of the shapes in a column.

    Raises:
        ValueError: where there are several, or one that shapefiles do not have.
    """
    shown = rows.filter(f"{column} is not null")
    families = shown.project(f"{FAMILY.format(column)} as family").distinct().order("family").fetchall()
    found = [family for (family,) in families]
    if "collections" in found:
        raise ValueError(f"table {name} has collections of shapes, which shapefiles do not have")
    if len(found) > 1:
        hint = "say `custom: {geometry_type: …}`, and export it once for each"
        raise ValueError(f"table {name} has {', '.join(found)}, and a shapefile holds one of them: {hint}")
    numbers = {number for (number,) in shown.project(f"{NUMBER.format(column)} as n").distinct().fetchall()}
    if {1, 4} <= {number % 1000 for number in numbers}:
        raise ValueError(f"table {name} has points and multipoints, and a shapefile holds one of them")
    if not numbers or max(numbers) >= 2000:
        return "Unknown"
    return TYPES[min(number % 1000 for number in numbers)] + (" Z" if max(numbers) >= 1000 else "")


def require_short(rows: duckdb.DuckDBPyRelation, name: str) -> None:
    """Return if a shapefile's table holds all of each value.

    Raises:
        ValueError: if it does not.
    """
    for column, type_ in zip(rows.columns, map(str, rows.types), strict=True):
        most = SHORT.get(type_)
        if most is None:
            continue
        measure, limit, said = most
        found = rows.aggregate(f"max({measure.format(identifier(column))})").fetchall()[0][0]
        if found is not None and found >= limit:
            raise ValueError(f"column {column} of table {name} has {said}: export it as gpkg or geojson")


def cut_names(columns: list[str], written: Path) -> list[str]:
    """A warning of the columns whose names were too long for the file that was written."""
    from pyogrio import read_info

    names = zip(columns, read_info(written)["fields"], strict=True)
    cut = [f"{name!r} to {short}" for name, short in names if name != short]
    return [f"columns renamed: {', '.join(cut)}"] if cut else []
