"""Canonical JSON, digests and keys.

A key names a result by everything that the result depends on, and by nothing else.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from larder.artifacts import Artifact, Output, Uncounted


class NoKeyError(ValueError):
    """A value has no canonical form, or code no fingerprint, so there is no key."""


def canonical(value: object) -> str:
    """`value` as JSON with sorted keys and no white space: equal content, equal text.

    Fields that are None or `Uncounted` do not count; an artifact counts as its sha256 and its bytes.

    Raises:
        NoKeyError: where content has no single text (NaN, sets, local paths, other objects).
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """sha256 of the canonical JSON, in hex."""
    return sha256(canonical(value).encode())


def sha256(content: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def argument(value: object) -> Any:
    """How a stage's argument counts: results by their digest, files by their sha256, else content."""
    match value:
        case Output():
            return digest(value)
        case Artifact():
            return value.sha256
        case BaseModel():
            return {name: argument(item) for name, item in _fields(value)}
        case Mapping():
            return {_text(name): argument(item) for name, item in value.items()}
        case list() | tuple():
            return [argument(item) for item in value]
        case _:
            return _plain(value)


def outputs(value: object) -> Iterator[Output]:
    """The upstream results in an argument."""
    match value:
        case Output():
            yield value
        case BaseModel():
            for _, item in _fields(value):
                yield from outputs(item)
        case Mapping():
            for item in value.values():
                yield from outputs(item)
        case list() | tuple():
            for item in value:
                yield from outputs(item)


def key(stage: str, name: str | None, folder: str, fingerprint: str, arguments: Mapping[str, object]) -> str:
    """The key of one stage's result, 64 hex digits.

    Args:
        folder: the one below `results/`
        fingerprint: the digest of the stage's code
        arguments: in the form that `argument` gives
    """
    return digest(
        {
            "stage": stage,
            "name": name,
            "folder": folder,
            "fingerprint": fingerprint,
            "arguments": arguments,
        }
    )


def _fields(model: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        if Uncounted not in field.metadata and (item := getattr(model, name)) is not None:
            yield name, item


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise NoKeyError(f"A mapping's key must be text to count in a key, not {name!r}.")
    return _encodable(name)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NoKeyError(f"A text that UTF-8 cannot hold has no canonical form: {text!r:.80}.") from None
    return str(text)


def _plain(value: object) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str():
            return _encodable(value)
        case float() if math.isfinite(value):
            return value
        case date():
            return value.isoformat()
        case Artifact():
            return {"bytes": value.bytes, "sha256": value.sha256}
        case BaseModel():
            return {name: _plain(item) for name, item in _fields(value)}
        case Mapping():
            return {_text(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Path():
            raise NoKeyError(f"A local path has no content that could count: {value}. Pass an artifact.")
        case _:
            raise NoKeyError(
                f"{type(value).__name__} has no canonical form: {value!r:.80}. Valid are models, mappings "
                "with text keys, lists, text, finite numbers, dates, true, false and null."
            )
