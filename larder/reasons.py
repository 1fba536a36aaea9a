"""Why a stage has no result yet: what differs from the newest result of the same stage and name."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from larder import keys, results
from larder.lookup import Address
from larder.results import NewerFormat, Result, ShownArgument
from larder.store import Absent, Damaged, Store

COMPARED = 3
"""How many of the newest results are tried."""
NAMED = 3
"""How many changed parts of an argument are named."""
PART_DIGITS = 12
MOST_PARTS = 300
"""Of how many parts of an argument a result keeps the digests."""


def reason(store: Store, address: Address) -> str:
    """What differs from the newest result of the same stage and name, in words for people."""
    title, _, _ = address.object_name.rpartition("-")
    pool = store.below(f"{title}-")
    if not pool and address.definition.labelled and not address.name:
        pool = store.below(f"{title.rpartition('/')[0]}/")
    pool.sort(key=lambda stored: (stored.modified, stored.name))
    for stored in reversed(pool[-COMPARED:]):
        try:
            content, _ = store.read(stored.name, results.MOST_BYTES)
            result = results.read_document(store.uri(stored.name), content)
        except (Absent, Damaged, NewerFormat):
            continue
        if (result.function, result.name) == (address.definition.function_name, address.name):
            return "; ".join(_differences(result, address)) or "its result is gone"
    return "never built"


def damage(store: Store, damaged: Damaged) -> str:
    """Which object is not whole, and what was found."""
    kind = "result" if damaged.uri.startswith(store.uri("results/")) else "artifact"
    return f"{kind} {damaged.uri.removeprefix(store.uri(''))}: {damaged.found}"


def shown(form: Any) -> ShownArgument:
    """An argument, in the form in which it counts, as a result shows it."""
    if isinstance(form, str | int | float | bool):
        return ShownArgument(digest=keys.digest(form), value=form)
    leaves = dict(islice(_leaves("", form), MOST_PARTS + 1))
    if len(leaves) > MOST_PARTS:
        leaves = dict(islice(_items("", form), MOST_PARTS))
    parts = {name: keys.digest(item)[:PART_DIGITS] for name, item in leaves.items()}
    return ShownArgument(digest=keys.digest(form), parts=parts or None)


def _leaves(place: str, form: Any) -> Iterator[tuple[str, Any]]:
    for name, item in _items(place, form):
        if isinstance(item, Mapping | list | tuple) and item:
            yield from _leaves(name, item)
        else:
            yield name, item


def _items(place: str, form: Any) -> Iterator[tuple[str, Any]]:
    match form:
        case Mapping():
            yield from ((f"{place}.{name}" if place else name, item) for name, item in form.items())
        case list() | tuple():
            yield from ((f"{place}[{at}]", item) for at, item in enumerate(form))


def _differences(older: Result, address: Address) -> list[str]:
    before_modules, modules = older.fingerprint.modules, address.fingerprint.modules
    changed = [
        name for name in sorted({*before_modules, *modules}) if before_modules.get(name) != modules.get(name)
    ]
    said = [f"code of {', '.join(changed)} changed"] if changed else []
    for name, version in sorted(address.fingerprint.libraries.items()):
        if (before := older.fingerprint.libraries.get(name, "none")) != version:
            said.append(f"library {name} changed from {before} to {version}")
    others = [
        _change(name, older.arguments.get(name), shown(form))
        for name, form in address.arguments.items()
        if name != "run" or address.definition.once_per_run is None
    ]
    said += [text for text in others if text]
    if not said and "run" in address.arguments and address.definition.once_per_run is not None:
        return ["it is resolved anew by every run"]
    return said


def _change(name: str, before: ShownArgument | None, now: ShownArgument) -> str | None:
    if before is None:
        return f"argument {name} is new"
    if before.digest == now.digest:
        return None
    if before.value is not None and now.value is not None and len(str(before.value)) < 64:
        return f"argument {name} changed from {before.value} to {now.value}"
    if before.parts is not None and now.parts is not None:
        return f"argument {name} changed{_named(before.parts, now.parts)}"
    return f"argument {name} changed"


def _named(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [name for name in now if name in before and before[name] != now[name]]
    added = [name for name in now if name not in before]
    gone = [name for name in before if name not in now]
    said = [
        f"{kind}{', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''}"
        for kind, names in (("", changed), ("new ", added), ("without ", gone))
        if names
    ]
    return f": {'; '.join(said)}" if said else ""
