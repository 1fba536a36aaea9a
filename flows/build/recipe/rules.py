"""What follows from a recipe: how inputs are called, and whether its lock can change by itself."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol


class Named(Protocol):
    """What an input's name is made of."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def import_as(self) -> str | None: ...


def input_names(datasets: Sequence[Named]) -> tuple[str, ...]:
    """What each input is called: `import_as`, else its id; `<id>@<version>` where that id stands often."""
    unnamed = Counter(dataset.id for dataset in datasets if dataset.import_as is None)
    return tuple(
        dataset.import_as or (dataset.id if unnamed[dataset.id] == 1 else f"{dataset.id}@{dataset.version}")
        for dataset in datasets
    )
