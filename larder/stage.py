"""What the body of a pipeline calls. Who reads the body decides what a call does."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, cast

from larder.artifacts import Output
from larder.definition import Definition

Value = TypeVar("Value", bound=Output)
Result_co = TypeVar("Result_co", covariant=True)


class NoRunError(RuntimeError):
    """A stage or an action was called outside a pipeline."""

    def __init__(self) -> None:
        super().__init__(
            "A stage needs a run around it: call it in a function made by @pipeline, and run that."
        )


class Pending(Generic[Result_co]):
    """What a submitted stage will return; `pending.field` is a part of it. Both may be handed to stages."""

    def result(self) -> Result_co:
        """Wait for it.

        Raises:
            StageFailed: the stage failed.
        """
        raise NotImplementedError

    def __getattr__(self, name: str) -> "Part":
        if name.startswith("_"):
            raise AttributeError(name)
        return Part(self, name)


class Part:
    """A field of what a submitted stage will return."""

    def __init__(self, whole: "Pending[Any] | Part", field: str) -> None:
        self._whole, self._field = whole, field

    def of_whole(self) -> Any:
        """Wait for the whole, and take the field."""
        whole = self._whole.of_whole() if isinstance(self._whole, Part) else self._whole.result()
        return getattr(whole, self._field)

    def pending(self) -> Pending[Any]:
        """What it is a part of."""
        return self._whole.pending() if isinstance(self._whole, Part) else self._whole

    def __getattr__(self, name: str) -> "Part":
        if name.startswith("_"):
            raise AttributeError(name)
        return Part(self, name)


@dataclass(frozen=True)
class StageOptions:
    """How a stage is called, where its definition does not say it."""

    retries: int | None = None
    retry_delay_seconds: float | None = None
    tags: tuple[str, ...] = ()


class Reader(Protocol):
    """Somebody who reads a body: a run, or a forecast."""

    def call(self, stage: "Stage[Value]", arguments: Mapping[str, Any], label: str | None) -> Value:
        """A stage that is called."""

    def submit(
        self, stage: "Stage[Value]", arguments: Mapping[str, Any], label: str | None
    ) -> Pending[Value]:
        """A stage that is submitted."""

    def act(self, action: Any, arguments: tuple[Any, ...], label: str | None) -> Any:
        """An action that is called."""

    def about(self, labels: Mapping[str, object]) -> None:
        """What the run is about."""


@dataclass(frozen=True)
class Stage(Generic[Value]):
    """A definition that a body can call, submit and map over, as one does a Prefect task."""

    definition: Definition[Value]
    options: StageOptions = StageOptions()

    def __call__(self, *args: Any, label: str | None = None, **kwargs: Any) -> Value:
        """What the stage returns, executed or reused.

        Raises:
            StageFailed: it did not come to a result.
            NoRunError: outside a pipeline.
        """
        return current_reader().call(self, self._bound(args, kwargs), label)

    def submit(self, *args: Any, label: str | None = None, **kwargs: Any) -> Pending[Value]:
        """The same beside what the body does; also arguments may be pending."""
        return current_reader().submit(self, self._bound(args, kwargs), label)

    def map(
        self, items: Iterable[Any], *args: Any, label: Iterable[str] | None = None, **kwargs: Any
    ) -> list[Pending[Value]]:
        """Submit it for each item as its first argument; the other arguments are the same for all."""
        listed = list(items)
        labels: list[str | None] = list(label) if label is not None else [None] * len(listed)
        return [
            self.submit(item, *args, label=one, **kwargs) for item, one in zip(listed, labels, strict=True)
        ]

    def with_options(
        self,
        *,
        retries: int | None = None,
        retry_delay_seconds: float | None = None,
        tags: Iterable[str] = (),
    ) -> "Stage[Value]":
        """The same stage, called otherwise. What decides where and how results are kept cannot be changed."""
        return replace(self, options=StageOptions(retries, retry_delay_seconds, tuple(tags)))

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults put in, without what the engine gives."""
        definition = self.definition
        bound = definition.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)


def stage(definition: Definition[Value]) -> Stage[Value]:
    """What a body calls to have a definition's function executed, or its persisted result reused."""
    return Stage(definition)


def gather(pending: Iterable[Pending[Value]]) -> list[Value]:
    """What submitted stages came to. Waits for all of them before the first failure is raised.

    Raises:
        StageFailed: the first; its text counts the others.
    """
    values, errors = list[Any](), []
    for one in list(pending):
        try:
            values.append(one.result())
        except Exception as error:  # noqa: BLE001
            errors.append(error)
    if errors:
        raise first_failure(errors)
    return cast(list[Value], values)


def first_failure(errors: list[Exception]) -> Exception:
    """The failure that ends a run where several stages failed; its text counts the others."""
    failed = list({id(error): error for error in errors if isinstance(error, StageFailed)}.values())
    if not failed:
        return errors[0]
    if len(failed) > 1:
        others = ", ".join(error.label or error.stage for error in failed[1:])
        return failed[0].with_others(others, len(failed) - 1)
    return failed[0]


class StageFailed(Exception):  # noqa: N818
    """A stage did not come to a result. What earlier stages persisted is kept.

    Attributes:
        stage, label, key: which one; the key is None if it could not be computed
        cause: what went wrong in it
    """

    def __init__(
        self, stage: str, label: str | None, key: str | None, cause: Exception, others: str = ""
    ) -> None:
        shown = f" (key {key[:16]})" if key else ""
        named = f"{stage} {label}" if label else stage
        super().__init__(f"Stage {named}{shown} failed: {cause or type(cause).__name__}{others}")
        self.stage = stage
        self.label = label
        self.key = key
        self.cause = cause

    def with_others(self, names: str, count: int) -> "StageFailed":
        """The same, saying which others failed too."""
        other = StageFailed(self.stage, self.label, self.key, self.cause, f" ({count} more failed: {names})")
        other.__cause__ = self
        return other


class AskedToFail(Exception):  # noqa: N818
    """The run was told to fail here, to show how it is resumed."""

    def __init__(self, stage: str) -> None:
        super().__init__(f"the run was asked to fail at {stage}. Run it again, or retry it, to go on.")


_reader: ContextVar[Reader] = ContextVar("larder_reader")


def current_reader() -> Reader:
    """Who reads the body that runs now.

    Raises:
        NoRunError: nobody does.
    """
    try:
        return _reader.get()
    except LookupError:
        raise NoRunError from None


@contextmanager
def read_by(reader: Reader) -> Iterator[None]:
    """Let this reader decide what the calls within this block do."""
    token = _reader.set(reader)
    try:
        yield
    finally:
        _reader.reset(token)


def about(**labels: object) -> None:
    """Say what the run is about: `product`, `version`, `recipe_hash`, … Results show it."""
    current_reader().about(labels)
