"""Names of columns that SQL can say, whatever a header calls them."""

from collections.abc import Iterator, Sequence

_PLAIN = str.maketrans("-' ", "___")
MOST_NAMED = 20


def column_names(given: Sequence[str]) -> list[str]:
    """A name for each column, none of them twice: letters of either case are the same to SQL.

    Space around a name is taken off, `_` stands for `-`, `'` and space. A column without a name is called
    `column_<number>`; what bears a name for the second time, `<name>_2`.
    """
    plain = [name.strip().translate(_PLAIN) for name in given]
    taken: set[str] = set()
    first = [name.lower() not in taken and not taken.add(name.lower()) for name in plain]  # type: ignore[func-returns-value]
    made = []
    for number, (name, is_first) in enumerate(zip(plain, first, strict=True), 1):
        if name and is_first:
            made.append(name)
        else:
            made.append(_free(name or f"column_{number}", taken, named=bool(name)))
    return made


def _free(name: str, taken: set[str], *, named: bool) -> str:
    number, free = 2, f"{name}_2" if named else name
    while free.lower() in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free.lower())
    return free


def naming_warnings(given: Sequence[str], places: Sequence[str] | None = None) -> Iterator[str]:
    """What people are told of the names that `column_names` makes.

    Args:
        places: what people call each column otherwise; its number from 1 where they are not given.
    """
    made = column_names(given)
    at = places or [str(number) for number in range(1, len(given) + 1)]
    named = zip(at, given, made, strict=True)
    unnamed = [f"column {place} to {new}" for place, name, new in named if not name.strip()]
    if unnamed:
        yield f"columns without a name are named: {_listed(unnamed)}"
    changed = [
        f"{name!r} to {new}" for name, new in zip(given, made, strict=True) if name.strip() and name != new
    ]
    if changed:
        yield f"columns renamed: {_listed(changed)}"


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - MOST_NAMED} more" if len(items) > MOST_NAMED else ""
    return ", ".join(items[:MOST_NAMED]) + more
