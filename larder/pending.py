"""Arguments that are not there yet: found in what a body hands to a stage, and replaced once they are."""

from collections.abc import Iterator, Mapping
from typing import Any

from larder.stage import Part, Pending


def pendings_in(value: object) -> Iterator[Pending[Any]]:
    """All pending values in an argument, also within mappings and lists."""
    match value:
        case Pending():
            yield value
        case Part():
            yield value.pending()
        case Mapping():
            for item in value.values():
                yield from pendings_in(item)
        case list() | tuple():
            for item in value:
                yield from pendings_in(item)


def settled(value: Any) -> Any:
    """The same with what they came to in place of pending values; waits for them.

    Raises:
        StageFailed: one of them failed.
    """
    match value:
        case Pending():
            return value.result()
        case Part():
            return value.of_whole()
        case dict():
            return {name: settled(item) for name, item in value.items()}
        case list() | tuple():
            return type(value)([settled(item) for item in value])
        case _:
            return value
