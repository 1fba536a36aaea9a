"""What was read last of a source, by any run."""

from flows.activity.stages.pages import Pages
from larder import results
from larder.results import NewerFormat
from larder.store import Absent, Damaged, Store

TRIED = 3
"""How many results are tried, the newest first, where some are not whole."""


def newest_pages(store: Store, prefix: str) -> Pages | None:
    """The newest result of reading a source; None where none can be read.

    Args:
        prefix: how the names of the results begin

    Raises:
        Unreachable: the store gave no clear answer.
    """
    there = sorted(store.below(prefix), key=lambda stored: (stored.modified, stored.name))
    for stored in reversed(there[-TRIED:]):
        try:
            value = results.read(store, stored.name, Pages).value
        except (Absent, Damaged, NewerFormat):
            continue
        if isinstance(value, Pages):
            return value
    return None
