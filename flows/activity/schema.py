"""What the configuration of the pipeline may say."""

from collections.abc import Sequence

from flows.activity.stages.api import Limits
from flows.activity.stages.pages import Source
from larder.artifacts import Frozen
from larder.names import Name
from larder.refusal import Problem, RefusedError


class Configuration(Frozen):
    """Which API is read, and within which limits."""

    sources: dict[Name, Source]
    """Where the records of each kind are, by the name of the source."""
    limits: Limits = Limits()

    def source(self, name: str) -> Source:
        """One source by its name.

        Raises:
            RefusedError: there is none of this name.
        """
        if name not in self.sources:
            found = ", ".join(sorted(self.sources)) or "none"
            problem = Problem("sources", found, f"{name} among them, with its url")
            raise RefusedError("the configuration of activity", problem)
        return self.sources[name]

    def names(self, wanted: Sequence[str] | None) -> frozenset[str]:
        """The sources of these names; all where none is wanted in particular.

        Raises:
            RefusedError: one is none of ours.
        """
        unknown = sorted(set(wanted or ()) - self.sources.keys())
        if unknown:
            expected = f"some of {', '.join(sorted(self.sources))}"
            raise RefusedError("activity", Problem("refresh", ", ".join(map(repr, unknown)), expected))
        return frozenset(self.sources if wanted is None else wanted)
