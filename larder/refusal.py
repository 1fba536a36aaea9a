"""What is wrong with what a person wrote, in words that say what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a recipe."""

    place: str
    """Dotted path, `inputs.datasets[3].version`; empty for the recipe as a whole."""
    found: str
    expected: str
    line: int | None = None

    def __str__(self) -> str:
        line = f" (line {self.line})" if self.line else ""
        return f"{self.place or 'recipe'}{line}: found {self.found}; expected {self.expected}"


class RefusedError(Exception):
    """The recipe has to be fixed before it can be built.

    Args:
        file: the file, or what else the recipe is called.
        problems: everything that is wrong, at least one.
    """

    def __init__(self, file: str, *problems: Problem) -> None:
        super().__init__(file, *problems)
        self.file = file
        self.problems = problems

    @property
    def place(self) -> str:
        return self.problems[0].place

    @property
    def found(self) -> str:
        return self.problems[0].found

    @property
    def expected(self) -> str:
        return self.problems[0].expected

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.file}: {self.problems[0]}."
        listed = "".join(f"\n  {problem}." for problem in self.problems)
        return f"{self.file}: {len(self.problems)} problems:{listed}"


class OutsideUnreachable(Exception):  # noqa: N818
    """Something outside, as a catalog or an API, did not answer. Trying again can help."""
