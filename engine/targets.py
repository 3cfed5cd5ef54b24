"""What a `_target_` in a configuration names, looked up without importing it: the parent process never imports torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from engine.configuration import ConfigurationError, unknown


def check(node: Any, where: str) -> None:
    """Complain about every `_target_` in a node that names nothing. Raises ConfigurationError naming the setting `where`."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check(str(node["_target_"]), where)
        for name, value in node.items():
            check(value, f"{where}.{name}")
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            check(value, f"{where}[{number}]")


@functools.cache
def _check(target: str, where: str) -> None:
    module, rest, spec = _module(target, where)
    if not rest:
        raise ConfigurationError(f"{where}: `_target_: {target}` names a module; say which class in it: {module}.NAME")
    names = _names(spec, where)
    if names is not None and rest[0] not in names:
        known = sorted(f"{module}.{name}" for name in names if not name.startswith("_"))
        raise ConfigurationError(f"{where}: {unknown('class', f'{module}.{rest[0]}', known)}")


def _module(target: str, where: str) -> tuple[str, list[str], ModuleSpec]:
    """The longest beginning of a dotted path that is a module, and what follows it."""
    parts = target.split(".")
    spec = importlib.util.find_spec(parts[0]) if parts[0] else None
    if spec is None:
        here = Path.cwd()
        known = sorted({path.stem for path in here.glob("*.py")} | {path.parent.name for path in here.glob("*/__init__.py")})
        said = unknown("module", parts[0], known or ["none"])
        raise ConfigurationError(f"{where}: {said} (in {here}; `_target_: {target}` is neither there nor installed)")
    depth = 1
    while depth < len(parts) and spec.submodule_search_locations:
        inner = PathFinder.find_spec(".".join(parts[: depth + 1]), list(spec.submodule_search_locations))
        if inner is None:
            break
        spec, depth = inner, depth + 1
    if spec.origin is None and depth < len(parts):  # a folder without __init__.py holds nothing but modules
        known = [".".join([*parts[:depth], module.name]) for module in pkgutil.iter_modules(spec.submodule_search_locations)]
        raise ConfigurationError(f"{where}: {unknown('module', '.'.join(parts[: depth + 1]), known)}")
    return ".".join(parts[:depth]), parts[depth:], spec


def _names(spec: ModuleSpec, where: str) -> set[str] | None:
    """What a module defines or imports, and the modules in it; None where only running it would tell."""
    if not (spec.origin and spec.origin.endswith(".py")):
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except SyntaxError as error:
        raise ConfigurationError(f"{where}: {spec.origin}, line {error.lineno}: {error.msg}") from error
    inside = {module.name for module in pkgutil.iter_modules(spec.submodule_search_locations or [])}
    names = set(_bound(tree.body)) | inside
    return None if names & {"*", "__getattr__"} else names


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that these statements bind; "*" for all of another module."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        else:  # if, try, with
            for block in ("body", "orelse", "finalbody"):
                yield from _bound(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from _bound(handler.body)
