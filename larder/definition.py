"""A stage as a plain value: its function, what counts in its key, and where its results lie."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from larder.artifacts import Output
from larder.fingerprint import Fingerprint, fingerprint_of, given_fingerprint, remember_code
from larder.settings import Settings

if TYPE_CHECKING:
    from larder.results import Persisted
    from larder.store import Store

Returned_co = TypeVar("Returned_co", bound=Output, covariant=True)
_defined: dict[str, "Definition[Output]"] = {}
GIVEN = ("scratch", "say")
"""Parameters that the engine gives to every function that names them."""


@dataclass(frozen=True)
class Context:
    """What the engine knows where a stage or an action runs."""

    settings: Settings
    store: "Store"
    run_id: str
    attempt: int
    day: date
    """The date of the run's first start, in the time zone of the settings."""
    labels: Mapping[str, object] = field(default_factory=dict)
    """What the run is about."""
    persisted: Callable[[Output], "Persisted"] | None = None
    """From a value of the run to the result that it came from; only actions have it."""
    built_by: Callable[[], dict[str, object]] | None = None
    """Who built what, when, and from which results; only actions have it."""


@dataclass(frozen=True, eq=False)
class Definition(Generic[Returned_co]):
    """One stage. `larder.stage.stage` makes it callable in a pipeline.

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
    supplied: Mapping[str, Callable[[Context], object]] = field(default_factory=dict)
    """Arguments outside the key that are made where the stage runs."""
    seen: Mapping[str, Callable[[Context, Mapping[str, object]], object]] = field(default_factory=dict)
    """Arguments that the outside world gives when the key is made, from the others; they count in it."""
    once_per_run: Callable[[Mapping[str, object]], bool] | None = None
    """From the arguments: whether the result holds for one flow run alone."""
    in_memory: bool = False
    """Whether a forecast computes it, as only a clock or the outside world can decide it, and it is cheap."""
    libraries: tuple[str, ...] = ()
    """Libraries whose versions count in the fingerprint."""
    uncounted: tuple[str, ...] = ()
    """Modules that the function imports and that decide nothing of what it computes."""
    by_function: bool = False
    """Whether of its module only the function counts, and what it uses of it."""
    retries: int = 0
    retry_delay_seconds: float | None = None
    """None for delays that grow."""
    retry_on: tuple[type[Exception], ...] = ()
    """Errors that trying again can mend."""
    fingerprint: str | None = None
    """In place of the code's own, for a function without source."""

    def __post_init__(self) -> None:
        remember_code(self.function)
        _defined[self.function_name] = self

    @property
    def function_name(self) -> str:
        """`module.name` of the function."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"{getattr(self.function, '__module__', None)}.{name}"

    @cached_property
    def code(self) -> Fingerprint:
        """The fingerprint of the function's code.

        Raises:
            NoKeyError: the code is not all in an importable module.
        """
        if self.fingerprint is not None:
            return given_fingerprint(self.fingerprint)
        return fingerprint_of(self.function, self.libraries, self.uncounted, by_function=self.by_function)

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """The function's annotations."""
        return get_type_hints(self.function)

    @cached_property
    def signature(self) -> inspect.Signature:
        """What a body may call it with: the function's parameters, without those that the engine gives."""
        signature = inspect.signature(self.function)
        given = {*GIVEN, *self.supplied, *self.seen}
        return signature.replace(
            parameters=[one for name, one in signature.parameters.items() if name not in given]
        )

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The names of all parameters of the function."""
        return frozenset(inspect.signature(self.function).parameters)

    @property
    def returns(self) -> type[Returned_co]:
        """The model that the function returns, as it is annotated.

        Raises:
            TypeError: if it is no `Output`.
        """
        model = self.hints.get("return")
        if not (isinstance(model, type) and issubclass(model, Output)):
            raise TypeError(f"Stage {self.stage!r}: {self.function!r} must be annotated to return an Output.")
        return model  # type: ignore[return-value]

    def fill(self, template: str, labels: Mapping[str, object]) -> str:
        """A template with its fields put in."""
        return template.format(**{**labels, "stage": self.stage})


def given_by_the_world(
    definition: Definition[Output], context: Context, arguments: Mapping[str, object]
) -> dict[str, object]:
    """The arguments of a call, with those that the outside world gives now."""
    return {**arguments, **{name: look(context, arguments) for name, look in definition.seen.items()}}


def defined_stages() -> list[str]:
    """The names of all stages that this process has imported, in the order of their definition."""
    return list(dict.fromkeys(definition.stage for definition in _defined.values()))


def definition_of(function_name: str) -> Definition[Output] | None:
    """The stage of a function, if this process has imported its definition."""
    return _defined.get(function_name)
