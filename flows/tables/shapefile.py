"""What a shapefile can hold: shapes of one type, short names and short values."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from flows.tables.dbf import header_of
from flows.tables.nested import FLOATS
from flows.tables.quoting import identifier

NUMBER = "('0x' || hex(st_asbinary({0})[3:3]) || hex(st_asbinary({0})[2:2]))::integer"
"""SQL for the number that WKB has for a shape's type: thousands tell of Z and M."""
FAMILY = f"(['points', 'lines', 'polygons', 'points', 'lines', 'polygons', 'collections'])[{NUMBER} % 1000]"
TYPES = {1: "Point", 4: "MultiPoint", 2: "LineString", 5: "LineString", 3: "Polygon", 6: "Polygon"}
"""What GDAL calls each of these numbers in a shapefile, where one line and several are the same."""
TEXT_BYTES = 254
NAME_BYTES = 10
CELLS_AT_ONCE = 2**13
NUMBER_CHARACTERS, NUMBER_DECIMALS = 24, 15
"""How GDAL writes the numbers of a DBF table that have decimals."""


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
    """Return if a shapefile's table holds all of each text.

    Raises:
        ValueError: if it does not.
    """
    texts = [column for column, type_ in zip(rows.columns, rows.types, strict=True) if type_.id == "varchar"]
    if not texts:
        return
    long = f"octet_length(encode({{0}})) > {TEXT_BYTES}"
    numbered = rows.project("row_number() over () as larder_row, *")
    asked = ", ".join(f"min(larder_row) filter (where {long.format(identifier(column))})" for column in texts)
    for column, row in zip(texts, numbered.aggregate(asked).fetchall()[0], strict=True):
        if row is not None:
            place = f"row {row:,}, column {column} of table {name}"
            said = f"has text longer than the {TEXT_BYTES} bytes that a shapefile holds"
            raise ValueError(f"{place} {said}: export it as gpkg or geojson")


def short_names(columns: list[str]) -> dict[str, str]:
    """The name of each column in a shapefile: one that fits stays, a longer one is cut."""
    made = {column: column for column in columns if len(column.encode()) <= NAME_BYTES}
    taken = {column.lower() for column in made}
    for column in columns:
        if column in made:
            continue
        name, number = _cut(column, NAME_BYTES), 0
        while name.lower() in taken:
            number += 1
            name = f"{_cut(column, NAME_BYTES - len(f'_{number}'))}_{number}"
        made[column] = name
        taken.add(name.lower())
    return {column: made[column] for column in columns}


def _cut(name: str, most: int) -> str:
    return name.encode()[:most].decode(errors="ignore")


def renamed_fields(names: Mapping[str, str]) -> list[str]:
    """A warning of the columns whose names were too long."""
    cut = [f"{name!r} to {short}" for name, short in names.items() if name != short]
    return [f"columns renamed: {', '.join(cut)}"] if cut else []


def write_exact_numbers(rows: duckdb.DuckDBPyRelation, table: Path) -> list[str]:
    """Write those numbers of a DBF table anew of which 15 decimals do not hold all; and warnings.

    Args:
        rows: what was written, under the same names.
    """
    header = header_of(table)
    numbered = rows.project("row_number() over () - 1 as larder_row, *")
    warnings = []
    with table.open("r+b") as content:
        for field in header.fields:
            name = field.name.decode()
            exponents, first = 0, ""
            for row, value in _rounded(numbered, name):
                content.seek(header.bytes + row * header.record_bytes + field.start)
                content.write(value.encode().rjust(field.width))
                if "e" in value:
                    first = first or f"row {row + 1:,}, column {name}: {value}"
                    exponents += 1
            if exponents:
                others = f" (so are {exponents - 1:,} others)" if exponents > 1 else ""
                told = "is written with an exponent, which not every reader of DBF knows"
                warnings.append(f"{first} {told}{others}")
    return warnings


def _rounded(numbered: duckdb.DuckDBPyRelation, name: str) -> Iterator[tuple[int, str]]:
    """The numbers of a column that GDAL does not write whole, each with its row."""
    type_ = numbered.types[numbered.columns.index(name)]
    if type_.id not in FLOATS:
        return
    column = identifier(name)
    text = f"left(format('{{:.{NUMBER_DECIMALS}f}}', {column}), {NUMBER_CHARACTERS})"
    lost = numbered.filter(f"try_cast({text} as double)::{type_} is distinct from {column}")
    found = lost.project(f"larder_row, {column}::varchar")
    while cells := found.fetchmany(CELLS_AT_ONCE):
        yield from cells
