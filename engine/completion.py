"""What a shell offers on TAB: verbs and options (Click's part), settings and their values, windows, versions.

Every press of the key starts the command anew, so nothing heavy is imported: settings come from the YAML files and from the
source behind each `_target_`, windows and versions from the ledger's SQLite file itself. A ledger elsewhere offers none.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from click.shell_completion import CompletionItem, ShellComplete, ZshComplete, add_completion_class, split_arg_string

from engine import settings

MOST = 200  # windows that are offered, the newest first

# what is offered


def overrides(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`trigger=`, then `trigger=drift`; `gate.`, then `gate.margin=`: one step at a time."""
    key, is_one, _ = incomplete.partition("=")
    given = _given(context)
    root = "outside" if context.info_name in ("serve", "status") else "config"
    if is_one:
        offered = [f"{key}={value}" for value in _values(key, given, root)]
    else:
        every = [f"{name}=" for name in (*_groups(root), *settings.names(_tree(given, root)))]
        ends = [name.find(".", len(incomplete)) + 1 for name in every]
        offered = sorted({name[:end] if end else name for name, end in zip(every, ends, strict=True)})
    return [each for each in offered if each.startswith(incomplete)]


def windows(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The windows that the stream has worked on."""
    return _asked(context, incomplete, "select window_id from cycle where {stream} order by opened desc")


def released(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The versions that were live once."""
    return _asked(context, incomplete, "select version from release where {stream} and state = 'done' order by id desc")


def waiting(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The versions that wait for a person."""
    return _asked(context, incomplete, "select version from cycle where {stream} and outcome = 'waiting' order by opened desc")


def versions_and_windows(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What can be explained."""
    made = "select version from cycle where {stream} and version is not null and outcome != 'kept' order by opened desc"
    return [*_asked(context, incomplete, made), *windows(context, parameter, incomplete)]


def folders(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Folders, which the shell knows best."""
    return [CompletionItem(incomplete, type="dir")]


def _given(context: click.Context) -> dict[str, str]:
    """The settings that stand before the cursor."""
    return dict(each.split("=", 1) for each in context.params.get("overrides") or () if "=" in each)


def _groups(root: str) -> list[str]:
    return [group for group in settings.groups() if group == "stream" or group in settings.shipped(root)]


def _tree(given: Mapping[str, str], root: str) -> dict[str, Any]:
    """Roughly what the configuration will hold: enough to name its settings."""
    tree = settings.shipped(root)
    for group in tree:
        if tree[group] is None:
            tree[group] = _chosen(group, given.get(group) or settings.default(root, group))
    if root == "config" and (stream := _stream(given)):
        tree = _over(tree, _chosen("stream", stream))
    return tree


def _chosen(group: str, name: str) -> dict[str, Any]:
    from yaml import YAMLError

    try:
        return settings.chosen(group, name)
    except (YAMLError, ValueError):  # it is being edited
        return {}


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{name: _over(below.get(name), value) for name, value in above.items() if name != "defaults"}}


def _stream(given: Mapping[str, str]) -> str | None:
    own = settings.choices_here("stream")
    return given.get("stream") or (own[0] if len(own) == 1 else None)


def _values(key: str, given: Mapping[str, str], root: str) -> list[str]:
    if key in settings.groups():
        return settings.choices(key)
    path = tuple(key.lstrip("+~").split("."))
    if path in settings.ONE_OF:
        return list(settings.ONE_OF[path])
    node: Any = _tree(given, root)
    for name in path[:-1]:
        node = node.get(name) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping):
        return []
    said = settings.annotation(node, path[-1])
    if words := settings.literal(said):
        return list(map(str, words))
    return ["false", "true"] if "bool" in said or isinstance(node.get(path[-1]), bool) else []


def _asked(context: click.Context, incomplete: str, query: str) -> list[str]:
    """What the ledger's file answers, each once. `{stream}` in the query becomes the condition on the stream."""
    given = _given(context)
    path = _ledger(given)
    if path is None or not path.exists():
        return []
    stream = _stream(given)
    condition = "stream = ?" if stream else "1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0.2)) as ledger:
            rows = ledger.execute(query.format(stream=condition), [stream] if stream else []).fetchall()
    except sqlite3.Error:  # somebody works on it, or it is none: nothing is offered
        return []
    found = dict.fromkeys(str(value) for (value,) in rows)
    return [each for each in found if each.startswith(incomplete)][:MOST]


def _ledger(given: Mapping[str, str]) -> Path | None:
    if "platform.ledger" in given or given.get("platform", "laptop") != "laptop":
        prefix, _, path = given.get("platform.ledger", "").partition(":///")
        return Path(path) if prefix == "sqlite" else None
    return Path(given.get("platform.state") or os.environ.get("WARMSTART_STATE") or ".warmstart") / "ledger.db"


# how it is told to a shell


def script(shell: str, command: click.Command) -> str:
    """What the shell has to read once."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    return kind(command, {}, "warmstart", "_WARMSTART_COMPLETE").source()


def _plain(items: Sequence[CompletionItem[Any]]) -> Iterator[str]:
    return (str(item.value) for item in items if item.type == "plain")


@add_completion_class
class Bash(ShellComplete):
    """Bash breaks words at `=` and `:` and wants to be told what comes after the last break only. Without an offer: files."""

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:$COMP_POINT}"
    mapfile -t COMPREPLY < <(_LINE="$line" _BREAKS="$COMP_WORDBREAKS" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    [[ "${COMPREPLY[0]}" ]] || COMPREPLY=()
    if [[ "${#COMPREPLY[@]}" -eq 1 && "${COMPREPLY[0]}" == *[=.] ]]; then compopt -o nospace; fi
}
complete -o nosort -o default -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, and that one."""
        line = os.environ["_LINE"]
        words = split_arg_string(line)
        if line[-1:].isspace():
            words.append("")
        return words[1:-1], words[-1]

    def complete(self) -> str:
        """One offer a line."""
        arguments, incomplete = self.get_completion_args()
        broken = max(incomplete.rfind(each) for each in "=:") + 1 if "=" in os.environ.get("_BREAKS", "") else 0
        return "\n".join(each[broken:] for each in _plain(self.get_completions(arguments, incomplete)))


@add_completion_class
class Zsh(ZshComplete):
    """No blank after `gate.` and `gate.margin=`. Without an offer: files."""

    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a whole begun
    local each
    local -x COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1))
    for each in "${(@f)$(%(complete_var)s=zsh_complete $words[1] 2>/dev/null)}"; do
        if [[ "$each" == *[=.] ]]; then begun+=("$each"); elif [[ -n "$each" ]]; then whole+=("$each"); fi
    done
    (( $#begun )) && compadd -S '' -a begun
    (( $#whole )) && compadd -a whole
    (( $#begun + $#whole )) || _files
}

if [[ "$zsh_eval_context[-1]" == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

    def complete(self) -> str:
        """One offer a line."""
        return "\n".join(_plain(self.get_completions(*self.get_completion_args())))
