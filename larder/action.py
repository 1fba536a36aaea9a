"""Actions make the world be what results say: they look first, and do only what is missing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from larder.stage import current_reader

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ahead(Generic[Value]):
    """What an action would do. With a `value` there is nothing to do, and that is what it would return."""

    value: Value | None
    says: str


@dataclass(frozen=True)
class Action(Generic[Value]):
    """One action as a plain value. It may be repeated at any time."""

    name: str
    look: Callable[..., Ahead[Value]]
    """From the context and the arguments to what would be done; changes nothing."""
    act: Callable[..., Value]
    """From the context and the arguments to what holds now; looks by itself, and does what is missing."""


@dataclass(frozen=True)
class CallableAction(Generic[Value]):
    """An action that a body can call."""

    action: Action[Value]

    def __call__(self, *args: Any, label: str | None = None) -> Value:
        """What holds once it is done.

        Raises:
            StageFailed: it could not be done.
            NoRunError: outside a pipeline.
        """
        value: Value = current_reader().act(self.action, args, label)
        return value


def action(definition: Action[Value]) -> CallableAction[Value]:
    """What a body calls to have an action done."""
    return CallableAction(definition)
