"""A stage as a plain value: its function, what counts in its key, and where its results lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, get_type_hints

from larder.artifacts import Output

Returned_co = TypeVar("Returned_co", bound=Output, covariant=True)


@dataclass(frozen=True)
class Definition(Generic[Returned_co]):
    """One stage. `larder.orchestration.stage` makes it a Prefect task.

    Templates are filled from the run's labels (`product`, …) and the stage's arguments: `{dataset.id}`.
    """

    stage: str
    function: Callable[..., Returned_co]
    folder: str = "{product}"
    """Template of the folder below `results/` and `artifacts/`; it counts in the key."""
    title: str = "{stage}"
    """Template of how the result's file name begins."""
    labelled: bool = False
    """Whether one run has many of it, each called with a `label` that says which."""
    label_in_key: bool = False
    """Whether the label counts in the key and stands in the title, as a model's or command's name does."""
    outside_key: frozenset[str] = frozenset()
    """Arguments that say how to run, or what only a clock can know."""
    once_per_run: str | None = None
    """The argument that tells one run from the next, where a result holds for one run alone."""
    libraries: tuple[str, ...] = ()
    """Libraries whose versions count in the fingerprint."""
    retries: int = 0
    retry_on: tuple[type[Exception], ...] = ()
    """Errors that trying again can mend."""
    fingerprint: str | None = None
    """In place of the code's own, for a function without source."""

    @property
    def function_name(self) -> str:
        """`module.name` of the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def returns(self) -> type[Returned_co]:
        """The model that the function returns, as it is annotated.

        Raises:
            TypeError: if it is no `Output`.
        """
        model = get_type_hints(self.function).get("return")
        if not (isinstance(model, type) and issubclass(model, Output)):
            raise TypeError(f"Stage {self.stage!r}: {self.function!r} must be annotated to return an Output.")
        return model  # type: ignore[return-value]

    def fill(self, template: str, labels: Mapping[str, object]) -> str:
        """A template with its fields put in."""
        return template.format(**{**labels, "stage": self.stage})
