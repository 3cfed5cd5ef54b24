"""What can be set, as the shipped YAML files and the source behind every `_target_` say it.

For messages about what cannot be set, and for completion: neither Hydra nor anything that is configured is imported. Hydra itself
would take a key that nobody knows without a word, and leave a type that does not fit to whoever stumbles over it.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.signatures import NoSuchTarget, parameters

SHIPPED = Path(__file__).resolve().parent.parent / "configs"
WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text: put it in quotes"}
ONE_OF: dict[tuple[str, ...], tuple[str, ...]] = {
    ("stream", "catch_up"): ("latest", "each"),
    ("serving", "mode"): ("embedded", "external"),
}
OF_HYDRA = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")
MOST_NAMED = 20  # settings in a message

Node = Any  # what YAML knows: mappings, lists, numbers, text, booleans, null


@dataclass(frozen=True)
class Wrong:
    """A setting that cannot be as it is, what is wrong, and what can be. `lost`: nothing beside it has a name like it."""

    path: tuple[str, ...]
    message: str
    instead: str = ""
    lost: bool = False


def groups() -> list[str]:
    """The groups of the shipped configuration: `stream`, `trigger`, …"""
    return sorted({path.parent.name for path in SHIPPED.glob("*/*.yaml")})


def choices(group: str) -> list[str]:
    """What `group=` can be: the shipped files and those in a folder of that name here."""
    return sorted({path.stem for path in (SHIPPED / group).glob("*.yaml")} | set(choices_here(group)))


def choices_here(group: str) -> list[str]:
    """Those in a folder of that name here alone."""
    return sorted(path.stem for path in (Path.cwd() / group).glob("*.yaml"))


def default(root: str, group: str) -> str:
    """What the group is without being chosen."""
    listed = _read(SHIPPED / f"{root}.yaml")["defaults"]
    return str(next(each[group] for each in listed if isinstance(each, dict) and group in each))


def shipped(root: str) -> dict[str, Node]:
    """Every setting of `configs/ROOT.yaml` and of the groups in its defaults, with its shipped value.

    A group whose choices name a `_target_` is None: what it takes is read from the target. The others (`platform`, `serving`)
    hold the settings of all their choices.
    """
    tree = dict(_read(SHIPPED / f"{root}.yaml"))
    for each in tree.pop("defaults"):
        for group in each if isinstance(each, dict) else ():
            if group not in tree:
                files = [_read(path) for path in sorted((SHIPPED / group).glob("*.yaml"))]
                merged = {name: value for file in files for name, value in file.items() if name != "defaults"}
                tree[group] = None if "_target_" in merged else merged
    return tree


def chosen(group: str, name: str) -> dict[str, Node]:
    """The settings of one choice as its file has them, the project's own before the shipped one; empty where there is none."""
    found = (path for folder in (Path.cwd(), SHIPPED) if (path := folder / group / f"{name}.yaml").is_file())
    return next(map(_loaded, found), {})


@functools.cache
def _read(path: Path) -> dict[str, Node]:
    return _loaded(path)


def _loaded(path: Path) -> dict[str, Node]:
    import yaml

    return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


# what is wrong


def wrong(node: Node, known: Node, path: tuple[str, ...] = ()) -> Iterator[Wrong]:
    """Every setting in `node` that does not exist or has a value of another type, by what is `known` of it (None: nothing)."""
    if node == known or node == "???":
        return
    if known == "???":
        known = None
    if isinstance(node, list):
        for index, each in enumerate(node):
            yield from wrong(each, None, (*path, str(index)))
    elif isinstance(node, Mapping) and "_target_" in node:
        yield from _wrong_arguments(node, path, known if isinstance(known, Mapping) else {})
    elif isinstance(node, Mapping):
        takes = known if isinstance(known, Mapping) else {}
        for name, value in node.items():
            if takes and name not in takes:
                yield _no_setting((*path, str(name)), list(map(str, takes)))
            else:
                yield from wrong(value, takes.get(name), (*path, str(name)))
    elif isinstance(known, Mapping):
        some = f": {', '.join(list(known)[:MOST_NAMED])}" if known else ""
        yield Wrong(path, f"`{'.'.join(path)}` is {_shown(node)}, where settings belong{some}")
    elif isinstance(known, list):
        yield Wrong(path, f"`{'.'.join(path)}` is {_shown(node)}; it must be a list: [a, b]")
    elif (words := ONE_OF.get(path)) and node not in words:
        yield _not_one_of(path, node, words)
    elif known is not None:
        yield from _mistyped(node, type(known).__name__, path)


def _wrong_arguments(node: Mapping[str, Node], path: tuple[str, ...], known: Mapping[str, Node]) -> Iterator[Wrong]:
    target = str(node["_target_"])
    if why := _names_nothing(target):
        yield Wrong((*path, "_target_"), why)
        return
    takes = parameters(target)
    for name, value in node.items():
        if name in OF_HYDRA or (name in known and known[name] == value):
            continue
        if takes is not None and name not in takes:
            found = _no_setting((*path, str(name)), list(takes), f"{target} takes")
            yield replace(found, instead=found.instead + _left_over(path[0])) if len(path) == 1 and found.lost else found
        else:
            yield from _mistyped(value, (takes or {}).get(name, ""), (*path, name))
            yield from wrong(value, None, (*path, name)) if isinstance(value, (list, Mapping)) else ()


def wrong_targets(node: Node, path: tuple[str, ...]) -> Iterator[Wrong]:
    """Every `_target_` in `node` that names nothing. All else that may be wrong is left alone."""
    if isinstance(node, Mapping):
        if "_target_" in node and (why := _names_nothing(str(node["_target_"]))):
            yield Wrong((*path, "_target_"), why)
        for name, value in node.items():
            yield from wrong_targets(value, (*path, str(name)))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from wrong_targets(value, (*path, str(index)))


def _names_nothing(target: str) -> str:
    """Why a `_target_` cannot be built; "" where it can, or where only running it would tell."""
    try:
        parameters(target)
    except NoSuchTarget as error:
        return f"`{target}`: {error}{meant(error.name, error.known)}"
    except SyntaxError as error:
        return f"`{target}`: {error.filename}, line {error.lineno}: {error.msg}"
    return ""


def _left_over(group: str) -> str:
    return (
        f"; a default's settings stay where only `_target_` is replaced: put yours into {group}/NAME.yaml and choose it with "
        f"`override /{group}: NAME` under `defaults`"
    )


def _no_setting(path: tuple[str, ...], siblings: list[str], takes: str = "") -> Wrong:
    *parents, name = path
    near = meant(name, siblings, ".".join(parents))
    takes = takes or (f"`{'.'.join(parents)}` takes" if parents else "There are")
    named = f" {takes} {', '.join(siblings[:MOST_NAMED])}{', …' if len(siblings) > MOST_NAMED else ''}"
    return Wrong(path, f"there is no setting {'.'.join(path)!r}{near}", named if siblings else f" {takes} none", lost=not near)


def meant(name: str, known: Sequence[str], inside: str = "") -> str:
    """`; did you mean 'INSIDE.NEAREST'?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {'.'.join(filter(None, (inside, near[0])))!r}?" if near else ""


def _mistyped(value: Node, annotation: str, path: tuple[str, ...]) -> Iterator[Wrong]:
    if isinstance(value, str) and (value == "???" or "${" in value):  # missing, or not resolved yet
        return
    name = ".".join(path)
    kinds = [kind.strip() for kind in annotation.split("|")]
    if words := literal(annotation):
        if value not in words:
            yield _not_one_of(path, value, words)
    elif all(kind in (*WORDS, "None") for kind in kinds) and not any(_is(value, kind) for kind in kinds):
        wanted = " or ".join(WORDS.get(kind, "null") for kind in kinds)
        yield Wrong(path, f"`{name}` is {_shown(value)}; it must be {wanted}")


def literal(annotation: str) -> tuple[Node, ...]:
    """The values that a `Literal[…]` allows; none for any other annotation."""
    return tuple(ast.literal_eval(f"({annotation[8:-1]},)")) if annotation.startswith("Literal[") else ()


def _not_one_of(path: tuple[str, ...], value: Node, words: Sequence[Node]) -> Wrong:
    near = meant(str(value), list(map(str, words))) or "."
    return Wrong(path, f"`{'.'.join(path)}` is {_shown(value)}{near}", f" It can be {', '.join(map(str, words))}")


def _is(value: Node, kind: str) -> bool:
    if kind == "None":
        return value is None
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "bool" else str)


def _shown(value: Node) -> str:
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "a group of settings"
    return "empty" if value is None else repr(value).lower() if isinstance(value, bool) else repr(value)


# where it was written


def place(path: Sequence[str], overrides: Sequence[str], stream: str | None) -> str:
    """Where a setting was given: an override, or a line of a YAML file in this project. "" where neither is known."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].split(".")
        choice = len(key) == 1 and key[0] in groups()
        if not choice and all(one == other for one, other in zip(key, path, strict=False)):
            return f"{override}: "
    for file in own_files(stream):
        if line := _line(file, path):
            return f"{file.relative_to(Path.cwd())}, line {line}: "
    return ""


def own_files(stream: str | None) -> list[Path]:
    """The YAML files of this project that a configuration may be made of, the stream's first."""
    here = Path.cwd()
    shared = [path for group in groups() if group != "stream" for path in sorted((here / group).glob("*.yaml"))]
    return [path for path in (here / "stream" / f"{stream}.yaml", *shared) if path.is_file()]


def _line(file: Path, path: Sequence[str]) -> int | None:
    import yaml

    text = file.read_text(encoding="utf-8")
    inside = () if re.search(r"^#\s*@package\s+_global_", text, re.MULTILINE) else (file.parent.name,)
    if list(path[: len(inside)]) != list(inside):
        return None
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for name in path[len(inside) :]:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == name), None)
            if found is None:
                return None
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
            node = node.value[int(name)]
            line = node.start_mark.line + 1
        else:
            return None
    return line


# what there is


def annotation(node: Mapping[str, Node], name: str) -> str:
    """How the target of a node annotates one of its parameters; "" where it does not."""
    try:
        return (parameters(str(node.get("_target_", ""))) or {}).get(name, "")
    except (NoSuchTarget, SyntaxError):
        return ""


def names(tree: Mapping[str, Node], inside: tuple[str, ...] = ()) -> Iterator[str]:
    """Every setting in a tree as `group.name`, those that a `_target_` takes and nobody has set yet among them."""
    takes: dict[str, Node] = {}
    if "_target_" in tree:
        takes = dict.fromkeys(_taken(str(tree["_target_"])))
    for name, value in {**takes, **tree}.items():
        if isinstance(value, Mapping) and value:
            yield from names(value, (*inside, name))
        elif name != "_target_":
            yield ".".join((*inside, str(name)))


def _taken(target: str) -> list[str]:
    try:
        return [name for name in parameters(target) or () if name != "schema"]  # the schema is the engine's to give
    except (NoSuchTarget, SyntaxError):
        return []
