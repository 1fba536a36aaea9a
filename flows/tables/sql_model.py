"""A table made by SQL, and what must hold for its rows."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from larder.artifacts import Frozen
from larder.names import Alias, wrong


class Severity(StrEnum):
    """What a test that does not hold does."""

    ERROR = "error"
    WARN = "warn"


class AcceptedValues(Frozen):
    """The values that a column may have, as text; null passes."""

    column: str
    values: tuple[str, ...] = Field(min_length=1)


class Relationship(Frozen):
    """A column whose values all stand in a column of another table; null passes."""

    column: str
    to: Alias
    field: str


def _columns(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_columns)]


class ModelTest(Frozen):
    """What must hold for the rows of a model: exactly one of the five."""

    not_null: Columns = ()
    unique: Columns = ()
    """Together, where they are several; rows with a null among them do not count."""
    accepted_values: AcceptedValues | None = None
    relationships: Relationship | None = None
    expression: str | None = None
    """SQL over the model's columns, false for no row."""
    severity: Severity = Severity.ERROR

    @model_validator(mode="before")
    @classmethod
    def _expression_alone(cls, value: Any) -> Any:
        return {"expression": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self._kinds) != 1:
            expected = "one of not_null, unique, accepted_values, relationships, expression"
            raise wrong(" and ".join(self._kinds) or "a test of nothing", expected)
        return self

    @property
    def kind(self) -> str:
        """Which of the five it is."""
        return self._kinds[0]

    @property
    def _kinds(self) -> list[str]:
        return [name for name, value in self if name != "severity" and value]


class Model(Frozen):
    """One SQL model of a build."""

    sql: str = Field(min_length=1)
    tests: tuple[ModelTest, ...] = ()
    limit_seconds: float | None = Field(None, gt=0, le=7 * 86_400, allow_inf_nan=False)
    """After which it is ended."""
    limit_bytes: int | None = Field(None, gt=0, le=2**50)
    """How much disk it may fill."""

    @property
    def without_limits(self) -> Self:
        """What its rows depend on."""
        return self.model_copy(update={"limit_seconds": None, "limit_bytes": None})

    @model_validator(mode="before")
    @classmethod
    def _sql_alone(cls, value: Any) -> Any:
        return {"sql": value} if isinstance(value, str) else value
