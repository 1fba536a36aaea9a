"""What can go wrong with a source, told apart by whether trying again can help."""

from collections.abc import Mapping, Sequence

from larder.refusal import OutsideUnreachable


class SourceError(Exception):
    """A source cannot be taken as it is. Trying again does not help.

    Attributes:
        url: where it was, without credentials
        cause: what was found, and what to do
    """

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(url, cause)
        self.url = url
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.url} cannot be ingested: {self.cause}"


class ForbiddenError(SourceError):
    """A URL, a redirect or an address that the configuration does not allow."""


class SourceUnreachable(OutsideUnreachable):
    """A source did not answer, or not to its end. Trying again can help.

    Attributes:
        url: where it was, without credentials
        cause: what happened
        retry_after_seconds: how long the server asks to wait; None where it does not say
    """

    def __init__(self, url: str, cause: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(url, cause, retry_after_seconds)
        self.url = url
        self.cause = cause
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.url} did not answer as it should: {self.cause}"


class SourcesFailedError(Exception):
    """Some sources of a category failed; the others are archived.

    Attributes:
        category: whose
        failures: what went wrong, by source
        done: what the others came to
    """

    def __init__(
        self, category: str, failures: Mapping[str, Exception], count: int, done: Sequence[object]
    ) -> None:
        super().__init__(_listed(category, "sources", failures, count))
        self.category = category
        self.failures = dict(failures)
        self.done = done


class CategoriesFailedError(Exception):
    """Some categories of a department failed; the others came to their end.

    Attributes:
        department: whose
        failures: what went wrong, by category
        done: what all of them came to, those that failed as far as they came
    """

    def __init__(
        self, department: str, failures: Mapping[str, Exception], count: int, done: Sequence[object]
    ) -> None:
        super().__init__(_listed(department, "categories", failures, count))
        self.department = department
        self.failures = dict(failures)
        self.done = [*done, *(one for error in failures.values() for one in getattr(error, "done", ()))]


def _listed(whole: str, parts: str, failures: Mapping[str, Exception], count: int) -> str:
    lines = [f"{whole}: {len(failures)} of {count} {parts} failed."]
    for name, error in failures.items():
        text = str(error) or type(error).__name__
        lines.append(text if text.startswith(f"{name}: ") else f"{name}: {text}")
    return "\n".join(lines)
