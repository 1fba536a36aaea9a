"""Canonical JSON, digests, keys, and fingerprints of code.

A key names a result by everything that the result depends on, and by nothing else.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from larder.artifacts import Artifact, Frozen, Output, Uncounted

MACHINERY = frozenset({"flows.build.recipe.schema", "flows.build.recipe.file", "flows.build.recipe.document"})
"""Modules that carry stages and are no part of what a stage computes."""
_reading_code = threading.RLock()


class NoKeyError(ValueError):
    """A value has no canonical form, or code no fingerprint, so there is no key."""


class Fingerprint(Frozen):
    """The digest of a stage's code, and of what it is made of."""

    digest: str
    modules: dict[str, str] = {}
    """Digest of each module, by its name."""
    libraries: dict[str, str] = {}
    """Version of each library that the definition names."""


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


def key(
    stage: str, name: str | None, folder: str, fingerprint: Fingerprint, arguments: Mapping[str, object]
) -> str:
    """The key of one stage's result, 64 hex digits.

    `arguments` are in the form that `argument` gives; `folder` is the one below `results/`.
    """
    return digest(
        {
            "stage": stage,
            "name": name,
            "folder": folder,
            "fingerprint": fingerprint.digest,
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


def fingerprint(function: Callable[..., object], libraries: tuple[str, ...] = ()) -> Fingerprint:
    """The fingerprint of a function's module, and of what it imports from its own top-level package.

    Raises:
        NoKeyError: if the function has no source, or a library is not installed.
    """
    # Many threads ask at once, and Python 3.11 fails with a SystemError where two make syntax trees.
    with _reading_code:
        return _fingerprint(function, libraries)


@cache
def _fingerprint(function: Callable[..., object], libraries: tuple[str, ...]) -> Fingerprint:
    modules = {name: _module(name, source).digest for name, source in _sources(function).items()}
    versions = {name: _library_version(name) for name in libraries}
    return Fingerprint(
        digest=digest({"modules": modules, "libraries": versions}), modules=modules, libraries=versions
    )


def _library_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise NoKeyError(f"Library {name!r} counts in a stage's fingerprint and is not installed.") from error


def _sources(function: Callable[..., object]) -> dict[str, Path]:
    start = getattr(function, "__module__", None)
    found: dict[str, Path] = {}
    pending = [start] if start else []
    while pending:
        name = pending.pop()
        path = _source(name)
        if name in found or name in MACHINERY or path is None:
            continue
        found[name] = path
        pending += [other for other in _module(name, path).imports if _top(other) == _top(name)]
    if not found:
        raise NoKeyError(f"{function!r} has no source, so its stage needs a fingerprint of its own.")
    return dict(sorted(found.items()))


def _source(name: str) -> Path | None:
    module = sys.modules.get(name)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    origin = spec.origin if spec else getattr(module, "__file__", None)
    path = Path(origin) if origin else None
    return path if path and path.suffix == ".py" and path.is_file() else None


@dataclass(frozen=True)
class _Module:
    digest: str
    imports: tuple[str, ...]


def _module(name: str, path: Path) -> _Module:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _module_of(package, path.read_bytes())


@cache
def _module_of(package: str, content: bytes) -> _Module:
    tree = ast.parse(content)
    return _Module(digest(_code(tree)), tuple(_imports(package, tree)))


def _imports(package: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _code(node: ast.AST) -> list[Any]:
    """A syntax tree as type names and fields, without what is not code or differs between Pythons."""
    fields: dict[str, Any] = {}
    for name in node._fields:
        if name not in ("ctx", "kind", "type_comment", "type_ignores"):
            fields[name] = getattr(node, name, None)
    match node:
        case ast.Constant():
            return ["Constant", type(node.value).__name__, repr(node.value)]
        case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            fields["body"] = [one for one in node.body if not _is_docstring(one)]
        case ast.JoinedStr():
            fields["values"] = _joined(node.values)
    dumped = {name: _code_field(item) for name, item in fields.items() if item not in (None, [])}
    return [type(node).__name__, dumped]


def _is_docstring(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(ast.Constant(str())):
            return True
        case _:
            return False


def _code_field(item: object) -> Any:
    match item:
        case ast.AST():
            return _code(item)
        case list():
            return [_code_field(one) for one in item]
        case _:
            return item


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts merged: Pythons differ in where they split them."""
    merged: list[ast.expr] = []
    for value in values:
        match merged, value:
            case _, ast.Constant(value=""):
                pass
            case [*_, ast.Constant(value=str(before))], ast.Constant(value=str(after)):
                merged[-1] = ast.Constant(before + after)
            case _:
                merged.append(value)
    return merged
