"""Types of columns with types within: what is in them, and SQL for the same values with other types."""

from collections.abc import Iterator

import duckdb

from flows.tables.quoting import identifier, literal

Type = duckdb.sqltypes.DuckDBPyType
NESTED = frozenset({"list", "array", "struct", "map", "union"})
FLOATS = frozenset({"float", "double"})
WIDE = frozenset({"ubigint", "hugeint", "uhugeint", "decimal"})
"""Numbers that a double or an integer of 64 bits may not hold."""


def types_in(type_: Type) -> Iterator[Type]:
    """A type, and every type within it."""
    yield type_
    if type_.id in NESTED:
        for _, inner in _children(type_):
            yield from types_in(inner)


def has(type_: Type, ids: frozenset[str]) -> bool:
    """Whether one of these kinds of types is in a type."""
    return any(inner.id in ids for inner in types_in(type_))


def narrow(type_: Type) -> str:
    """The number that every reader knows and that holds most of a wide one."""
    scale = dict(type_.children).get("scale", 0) if type_.id == "decimal" else 0
    return "double" if scale else "bigint"


def retyped(type_: Type, wide: str | None = None) -> str:
    """A type as it stands in SQL, its wide numbers as others.

    Args:
        wide: the type to have in their place, else the number that holds most of each.
    """
    if type_.id in WIDE:
        return wide or narrow(type_)
    inner = [(name, retyped(child, wide)) for name, child in _children(type_)] if type_.id in NESTED else []
    match type_.id:
        case "list":
            return f"{inner[0][1]}[]"
        case "array":
            return f"{inner[0][1]}[{dict(type_.children)['size']}]"
        case "struct":
            return f"struct({', '.join(f'{identifier(name)} {made}' for name, made in inner)})"
        case "map":
            return f"map({inner[0][1]}, {inner[1][1]})"
        case _:
            return str(type_)


def finite(value: str, type_: Type, depth: int = 0) -> str:
    """SQL for a value with null in place of NaN and infinity, at any depth."""
    if not has(type_, FLOATS) or type_.id == "union":
        return value
    if type_.id in FLOATS:
        return f"case when isfinite({value}) then {value} end"
    inner, one = dict(_children(type_)), f"e{depth}"
    match type_.id:
        case "struct":
            fields = (
                f"{identifier(name)} := {finite(f'struct_extract({value}, {literal(name)})', child, depth)}"
                for name, child in inner.items()
            )
            return f"case when {value} is not null then struct_pack({', '.join(fields)}) end"
        case "map":
            entry = f"{{'key': {one}.key, 'value': {finite(f'{one}.value', inner['value'], depth + 1)}}}"
            return f"map_from_entries(list_transform(map_entries({value}), lambda {one}: {entry}))"
        case _:
            return f"list_transform({value}, lambda {one}: {finite(one, inner['child'], depth + 1)})"


def _children(type_: Type) -> list[tuple[str, Type]]:
    return [(name, child) for name, child in type_.children if isinstance(child, Type)]
