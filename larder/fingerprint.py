"""The digest of a stage's code, as it was when the process imported it."""

import functools
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from larder import keys
from larder.artifacts import Frozen
from larder.keys import NoKeyError
from larder.syntax import Code, read_module, read_part

_reading_code = threading.RLock()
_imported: dict[str, tuple[object, "Source | None"]] = {}


class Fingerprint(Frozen):
    """The digest of a stage's code, and of what it is made of."""

    digest: str
    modules: dict[str, str] = {}
    """Digest of each module, by its name."""
    libraries: dict[str, str] = {}
    """Version of each library that the definition names."""


@dataclass(frozen=True)
class Source:
    """A module's text, as it was when the module was imported."""

    package: str
    content: bytes


def remember_code(function: Callable[..., object]) -> None:
    """Keep the text of the function's module, and of all that is imported from its top-level package.

    A file that is saved later changes nothing in this process, which runs the code that it imported.
    """
    top = _top(getattr(function, "__module__", None) or "")
    if top:
        for name in [name for name in sys.modules if _top(name) == top]:
            _source(name)


def fingerprint_of(
    function: Callable[..., object],
    libraries: tuple[str, ...] = (),
    uncounted: tuple[str, ...] = (),
    *,
    by_function: bool = False,
) -> Fingerprint:
    """The fingerprint of a function's module, and of what it imports from its own top-level package.

    Args:
        libraries: distributions whose versions count
        uncounted: modules that decide nothing of what the function computes
        by_function: whether of its module only the function counts, and what it uses of it

    Raises:
        NoKeyError: if the code is not all in an importable module, or a library is not installed.
    """
    # Many threads compute one at once, and Python 3.11 fails with a SystemError where two make syntax trees.
    with _reading_code:
        return _fingerprint(function, libraries, uncounted, by_function)


def given_fingerprint(text: str) -> Fingerprint:
    """The fingerprint of code without source, as its definition gives it."""
    return Fingerprint(digest=text)


@functools.cache
def _fingerprint(
    function: Callable[..., object], libraries: tuple[str, ...], uncounted: tuple[str, ...], by_function: bool
) -> Fingerprint:
    _require_importable(function)
    modules = _modules(function.__module__, function.__qualname__ if by_function else None, uncounted)
    if not modules:
        raise NoKeyError(f"{function!r} has no source: give its definition a fingerprint of its own.")
    versions = {name: _library_version(name) for name in libraries}
    counted = {"modules": modules, "libraries": versions}
    return Fingerprint(digest=keys.digest(counted), modules=modules, libraries=versions)


def _require_importable(function: Callable[..., object]) -> None:
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    remedy = "Define it with `def` at the top level of a module that can be imported."
    if name is None or module is None or isinstance(function, functools.partial):
        raise NoKeyError(
            f"{function!r} is a {type(function).__name__}, whose code is not all in it. {remedy}"
        )
    if "<locals>" in name or "<lambda>" in name:
        raise NoKeyError(
            f"{module}.{name} is made within a function: what it encloses is not counted. {remedy}"
        )
    if module == "__main__":
        raise NoKeyError(
            f"{name} is a function of __main__, which has another name where it is imported. {remedy}"
        )
    if _source(module) is None and module in sys.modules and _is_bare(module):
        raise NoKeyError(
            f"{module}.{name} was loaded from a bare file: its helpers would not count. Deploy it by its "
            "module, as flows.build.flow:build."
        )


def _is_bare(module: str) -> bool:
    file = getattr(sys.modules[module], "__file__", None)
    return bool(file and file.endswith(".py"))


def _library_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise NoKeyError(f"Library {name!r} counts in a stage's fingerprint and is not installed.") from error


def _modules(start: str, function: str | None, uncounted: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    pending = [start]
    while pending:
        name = pending.pop()
        source = _source(name)
        if name in found or name in uncounted or source is None:
            continue
        code = _code(source, function if name == start else None)
        found[name] = code.digest
        pending += [other for other in code.imports if _top(other) == _top(start)]
    return dict(sorted(found.items()))


def _code(source: Source, function: str | None) -> Code:
    if function is None:
        return read_module(source.package, source.content)
    return read_part(source.package, source.content, function)


def _source(name: str) -> Source | None:
    module = sys.modules.get(name)
    remembered = _imported.get(name)
    if module is None:
        return _read(name)
    if remembered is None or remembered[0] is not module:
        remembered = _imported[name] = (module, _read(name))
    return remembered[1]


def _read(name: str) -> Source | None:
    module = sys.modules.get(name)
    try:
        spec = getattr(module, "__spec__", None) or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    path = Path(spec.origin) if spec and spec.origin and spec.name == name else None
    if path is None or path.suffix != ".py" or not path.is_file():
        return None
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return Source(package, path.read_bytes())


def _top(name: str) -> str:
    return name.partition(".")[0]
