"""Python code as a canonical tree: equal code, equal digest, on every Python that Larder runs on."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from larder import keys

UNCOUNTED_FIELDS = ("ctx", "kind", "type_comment", "type_ignores")


@dataclass(frozen=True)
class Code:
    """What counts of a piece of code: its digest, and the modules that it imports."""

    digest: str
    imports: tuple[str, ...]


@cache
def read_module(package: str, content: bytes) -> Code:
    """A whole module. `package` is what its relative imports are relative to."""
    tree = ast.parse(content)
    return Code(keys.digest(_code(tree)), tuple(_imports(package, ast.walk(tree))))


@cache
def read_part(package: str, content: bytes, name: str) -> Code:
    """One function of a module, with all of the module that it uses, directly or through others."""
    tree = ast.parse(content)
    defined: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for bound in _bound(statement):
            defined.setdefault(bound, []).append(statement)
    used, pending = set[str](), [name]
    while pending:
        one = pending.pop()
        if one in used or one not in defined:
            continue
        used.add(one)
        pending += [found for statement in defined[one] for found in _names(statement)]
    counted = [one for one in tree.body if used & set(_bound(one)) or not set(_bound(one))]
    counted = [one for one in counted if not _is_docstring(one)]
    imports = _imports(package, (node for one in counted for node in ast.walk(one)))
    return Code(keys.digest([_code(one) for one in counted]), tuple(imports))


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.Assign() | ast.AnnAssign():
            yield from _stored(statement)


def _stored(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _names(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        match node:
            case ast.Name():
                yield node.id
            case ast.Constant(str(text)) if text.isidentifier():
                yield text


def _imports(package: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _code(node: ast.AST) -> list[Any]:
    """A syntax tree as type names and fields, without what is not code or differs between Pythons."""
    fields: dict[str, Any] = {
        name: getattr(node, name, None) for name in node._fields if name not in UNCOUNTED_FIELDS
    }
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
