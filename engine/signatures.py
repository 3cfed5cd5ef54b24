"""What the class or function behind a `_target_` takes, read from its source: nothing is imported, and torch stays asleep.

A misspelt setting of a model or a strategy should be told by every verb at once, not by a training job minutes later. What cannot
be told from the source alone (compiled modules, `**kwargs`, names made at run time) is left to the moment of building it.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

Parameters = dict[str, str]
"""Name → its annotation as it is written, "" where there is none."""


class NoSuchTarget(LookupError):
    """A `_target_` names no module, or nothing that is in it. `name` is what is not there, `known` what is there instead."""

    def __init__(self, what: str, name: str, known: list[str]):
        super().__init__(f"there is no {what} {name!r}")
        self.what, self.name, self.known = what, name, known


class NamesModule(NoSuchTarget):
    """A `_target_` names a module, where a class or function in it is wanted."""

    def __init__(self, name: str):
        LookupError.__init__(self, f"it is a module; say which class in it: {name}.NAME")
        self.what, self.name, self.known = "class", name, []


@dataclass(frozen=True)
class _Module:
    """One module by its files. `source` is None for a namespace package and for what is compiled; `inside` are its folders."""

    name: str
    source: Path | None
    inside: tuple[Path, ...] = ()

    @property
    def package(self) -> str:
        """What `from .` means in it."""
        return self.name if self.inside else self.name.rpartition(".")[0]

    def child(self, name: str) -> _Module | None:
        """The module of that name in this package."""
        for folder in self.inside:
            if (folder / name / "__init__.py").exists():
                return _Module(f"{self.name}.{name}", folder / name / "__init__.py", (folder / name,))
            if (folder / f"{name}.py").exists():
                return _Module(f"{self.name}.{name}", folder / f"{name}.py")
        spaces = tuple(folder / name for folder in self.inside if (folder / name).is_dir())
        return _Module(f"{self.name}.{name}", None, spaces) if spaces else None

    def children(self) -> list[str]:
        """The names of the modules in this package, with its own before them."""
        found = {path.stem for folder in self.inside for path in folder.glob("[a-z]*") if path.is_dir() or path.suffix == ".py"}
        return [f"{self.name}.{name}" for name in sorted(found)]


@functools.cache
def parameters(target: str) -> Parameters | None:
    """What `target` (`package.module.Name`) can be given by name; None when its source does not tell.

    Raises NoSuchTarget.

    >>> parameters("engine.nouns.Slices")
    {'stop': 'float', 'judge': 'float', 'min_stop_rows': 'int'}
    >>> parameters("engine.windows.ParquetFoldr")
    Traceback (most recent call last):
    engine.signatures.NoSuchTarget: there is no name in engine.windows 'ParquetFoldr'
    """
    module, rest = _module(target)
    if not rest:
        raise NamesModule(module.name)
    if len(rest) > 1 and _compiled(module, rest[0]):
        return None
    found = _named(module, rest[0])
    return found if len(rest) == 1 else None


def _module(target: str) -> tuple[_Module, list[str]]:
    """The deepest module on the way to `target`, and the names after it."""
    first, *rest = target.split(".")
    module = _first(first)
    while rest and module.inside:
        inner = module.child(rest[0])
        if inner is None:
            if len(rest) > 1 and not _compiled(module, rest[0]):
                raise NoSuchTarget("module", f"{module.name}.{rest[0]}", module.children())
            break
        module, rest = inner, rest[1:]
    return module, rest


def _first(name: str) -> _Module:
    # The meta path knows editable installs; the project's own modules lie in the current folder.
    if name in sys.builtin_module_names:
        return _Module(name, None)
    spec = importlib.util.find_spec(name) or PathFinder.find_spec(name, [str(Path.cwd())])
    if spec is None:
        raise NoSuchTarget("module", name, [])
    source = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    return _Module(name, source, tuple(map(Path, spec.submodule_search_locations or ())))


def _compiled(module: _Module, name: str) -> bool:
    return any(path for folder in module.inside for path in folder.glob(f"{name}.*.so"))


@functools.cache
def _source(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def _named(module: _Module, name: str) -> Parameters | None:
    if module.source is None:
        return None
    tree = _source(module.source)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(module, node)
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _of_function(node, bound=False)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _imported(module, node, alias.name)
    if name in _bound(tree):
        return None
    known = [node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != "_"]
    raise NoSuchTarget(f"name in {module.name}", name, known)


def _imported(module: _Module, node: ast.ImportFrom, name: str) -> Parameters | None:
    upwards = module.package.rsplit(".", node.level - 1)[0] if node.level else ""
    try:
        return parameters(".".join(part for part in (upwards, node.module, name) if part))
    except (NoSuchTarget, SyntaxError):
        return None


def _bound(tree: ast.Module) -> set[str]:
    """Every name that the module may have in the end; all that is asked for where a star or a function makes names."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            if node.name == "*":
                return _Everything()
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name == "__getattr__":
                return _Everything()
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


class _Everything(set[str]):
    def __contains__(self, name: object) -> bool:
        return True


def _of_function(node: ast.FunctionDef, bound: bool) -> Parameters | None:
    if node.args.kwarg is not None:
        return None
    positional = [*node.args.posonlyargs, *node.args.args][1 if bound else 0 :]
    return {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in (*positional, *node.args.kwonlyargs)}


def _of_class(module: _Module, node: ast.ClassDef) -> Parameters | None:
    methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    if "__init__" in methods:
        return _of_function(methods["__init__"], bound=True)
    if "__new__" in methods or node.keywords:
        return None
    decorators = [ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in node.decorator_list]
    inherited: Parameters = {}
    for base in reversed(node.bases):
        if not isinstance(base, ast.Name) or hasattr(builtins, base.id) or (found := _named(module, base.id)) is None:
            return None
        inherited |= found
    if not decorators:
        return inherited if node.bases else {}
    return inherited | _fields(node) if decorators == ["dataclass"] else None


def _fields(node: ast.ClassDef) -> Parameters:
    fields = {}
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            annotation = ast.unparse(each.annotation)
            made = ast.unparse(each.value) if each.value else ""
            if not annotation.startswith(("ClassVar", "KW_ONLY")) and "init=False" not in made:
                fields[each.target.id] = annotation
    return fields
