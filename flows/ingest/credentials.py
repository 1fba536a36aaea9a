"""Values that stand in Secret blocks: put into requests, kept out of everything else."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, quote_plus

from flows.ingest.schema import Request, SecretValue, Value
from larder.refusal import Problem, RefusedError

Secrets = Callable[[str], str]
"""The value in the Secret block of a name."""

HIDDEN = "***"
FEWEST_CHARACTERS = 8
"""A shorter secret stands in ordinary texts by chance, and could not be kept out of them."""


@dataclass(frozen=True)
class Credentials:
    """The secrets of one request, by the name of their block."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, request: Request, secrets: Secrets) -> "Credentials":
        """Those that a request names.

        Raises:
            RefusedError: if one is too short to be kept out of texts.
        """
        named = {value.secret for value in _values(request) if isinstance(value, SecretValue)}
        values = {name: secrets(name) for name in sorted(named)}
        for name, value in values.items():
            if len(value) < FEWEST_CHARACTERS:
                found = f"a value of {len(value)} characters"
                expected = f"at least {FEWEST_CHARACTERS}, so that it can be kept out of logs and files"
                raise RefusedError(f"source {request.name}", Problem(f"Secret block {name}", found, expected))
        return cls(values)

    def filled(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Parameters or headers with their secrets put in."""
        return {
            name: value.prefix + self.values[value.secret] if isinstance(value, SecretValue) else value
            for name, value in values.items()
        }

    def hide(self, text: str) -> str:
        """A text with `***` in place of each secret."""
        return self._pattern.sub(HIDDEN, text) if self.values else text

    def stands_in(self, text: str) -> bool:
        """Whether a text holds one of the secrets."""
        return bool(self.values) and self._pattern.search(text) is not None

    def watched(self, pieces: Iterable[bytes]) -> Iterator[bytes | None]:
        """The same pieces of a file; None, once, after a piece with which a secret has come."""
        wanted = [form.encode() for form in self._forms]
        longest = max(map(len, wanted), default=1)
        before = b""
        for piece in pieces:
            before += piece
            if any(form in before for form in wanted):
                yield None
            before = before[-longest:]
            yield piece

    @cached_property
    def _forms(self) -> list[str]:
        spelled = {
            form
            for value in self.values.values()
            for form in (value, quote(value, safe=""), quote_plus(value))
        }
        return sorted(spelled, key=lambda form: (-len(form), form))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._forms)))


def _values(request: Request) -> list[Value]:
    return [*request.parameters.values(), *request.headers.values()]
