"""The verbs of the first hour: a stream drafted, the server installed, the shell told what completes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine import completion as completing
from engine.configuration import ConfigurationError, resolve_outside
from engine.verbs import OVERRIDES


@click.command()
@click.argument("folder", shell_complete=completing.folders)
@click.option("--target", required=True, help="The column to predict.")
@click.option("--time", "time_column", help="The column that orders rows; without it, the only date or time there is.")
@click.option("--name", help="Of the stream; without it, the folder's.")
@click.option("--labels", help="The folder where the target lands, when it comes later than the window.")
@click.option("--key", help="The column that names a row in the windows and in the label files.")
def init(folder: str, target: str, time_column: str | None, name: str | None, labels: str | None, key: str | None) -> None:
    """Draft stream/NAME.yaml for a folder of Parquet files, each one window, from a look at them.

    \b
    Examples:
      warmstart init data/demand --target units
      warmstart init data/demand --target units --time sold_at --name demand
    """
    from engine.draft import draft

    drafted = draft(folder, target, time_column, name, labels, key)
    drafted.write()
    click.echo("\n".join([f"{drafted.path}: {drafted.summary}", *drafted.notes]))
    click.echo(f"now look at it, then: warmstart run stream={drafted.path.stem}")


@click.command()
@click.option("--python", default=sys.executable, help="The interpreter to make it of; without it, the one that runs this.")
@OVERRIDES
def setup(python: str, overrides: tuple[str, ...]) -> None:
    """Install the embedded Triton, once for all projects of this user: about 440 MB, no root. Again: complete it.

    It goes where `serving.runtime` (WARMSTART_TRITON) says; without that where one is already, else to ~/.local/share/warmstart.

    \b
    Examples:
      warmstart setup
    """
    from serving import wheel
    from serving.runtime import holds_environment, places

    serving = resolve_outside(overrides)["serving"]
    if serving["mode"] == "external":
        raise ConfigurationError("with `serving=external` the servers are yours to install")
    looked = places()
    folder = Path(serving["runtime"]).absolute() if serving["runtime"] else next(filter(holds_environment, looked), looked[-1])
    wheel.install(folder, python)
    elsewhere = "" if folder in looked[1:] else f"; WARMSTART_TRITON={folder} lets other folders use it too"
    click.echo(f"the embedded Triton is in {folder}{elsewhere}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell reads once to complete verbs, settings and their values, windows and versions.

    \b
    Examples:
      warmstart completion bash >> ~/.bashrc
      warmstart completion zsh >> ~/.zshrc
      warmstart completion fish > ~/.config/fish/completions/warmstart.fish
    """
    whole = click.get_current_context().find_root().command
    assert isinstance(whole, click.Group)
    click.echo(completing.script(shell, whole), nl=False)
