"""The verbs that do the work: windows carried, versions served, the past tidied up."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine import heap
from engine.configuration import ConfigurationError, resolve, resolve_outside
from engine.opening import at_work, open_ledger, place_of, registry_of, start_server
from engine.served import goes_on, joined, server_record, whereabouts
from engine.state import server_folder
from engine.verbs import OVERRIDES, code_of

if TYPE_CHECKING:
    from engine.nouns import Closing


@click.command()
@click.option("--until-idle", is_flag=True, help="Exit when no window is pending.")
@OVERRIDES
def run(until_idle: bool, overrides: tuple[str, ...]) -> None:
    """Work on a stream until Ctrl-C: carry every window that lands to its Outcome. Meanwhile Triton answers.

    \b
    Examples:
      warmstart run stream=demand
      warmstart run --until-idle stream=demand gate.margin=0.01
    """
    config = resolve(overrides)
    heap.bounded()
    source = config["stream"]["source"]
    with contextlib.ExitStack() as afterwards, at_work(config, "run") as (loop, display):
        afterwards.callback(_tell_who_stays, config)
        if said := joined(config):
            display.say(said)
        watched = source.get("folder", source["_target_"])
        display.say(f"stream {loop.stream}: watching {watched} until Ctrl-C\n{whereabouts(config)}")
        closings: list[Closing] = []
        while True:
            closings += loop.carry_pending()
            if until_idle:
                break
            display.idle(str(loop.gathering.small or "waiting for windows"))
            time.sleep(config["platform"]["poll"])
            if config["serving"]["mode"] == "embedded" and server_record(config) is None:
                display.say("Triton ended by itself; starting it again", "yellow")
                loop.serve_again()
        if loop.gathering.small:
            display.say(str(loop.gathering.small))
    sys.exit(code_of(closings))


@click.command()
@OVERRIDES
def update(overrides: tuple[str, ...]) -> None:
    """Do what is pending, then exit. Uses a running Triton, else starts one to verify and stops it.

    \b
    Examples:
      warmstart update stream=demand
      warmstart update stream=demand trigger=always strategy.half_life=2
    """
    with at_work(resolve(overrides), "update") as (loop, display):
        closings = list(loop.carry_pending())
        if loop.gathering.small:
            display.say(str(loop.gathering.small))
        elif not closings and not loop.waiting:
            display.say("nothing else is pending" if loop.untaken.unfinished else "nothing is pending")
    sys.exit(code_of(closings))


@click.command()
@OVERRIDES
def serve(overrides: tuple[str, ...]) -> None:
    """Serve the released versions with an embedded Triton until Ctrl-C. With `run` in the same folder it is the same Triton.

    \b
    Examples:
      warmstart serve
    """
    from serving.repository import Repository
    from serving.users import using

    config = resolve_outside(overrides)
    if config["serving"]["mode"] != "embedded":
        raise ConfigurationError("`serve` starts the embedded server; with `serving=external` the servers are yours to start")
    with contextlib.ExitStack() as afterwards, using(server_folder(config), "serve"):
        server = start_server(config, "serve")
        afterwards.callback(_tell_who_stays, config)
        if said := joined(config):
            click.echo(said)
        click.echo(f"serving {', '.join(Repository(Path(config['serving']['repository'])).names()) or 'nothing yet'}")
        click.echo(f"gRPC {server.address}\nHTTP {server.http}\nmetrics {server.metrics}\nlog {server.log}")
        while server.answers():
            time.sleep(1.0)
        raise click.ClickException(f"the server ended by itself; its log: {server.log}")


def _tell_who_stays(config: Mapping[str, Any]) -> None:
    if said := goes_on(config):
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo(said)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go, and how much it takes.")
@OVERRIDES
def gc(dry_run: bool, overrides: tuple[str, ...]) -> None:
    """Remove what `retention` does not keep. `run` and `update` do the same after every window.

    \b
    Examples:
      warmstart gc --dry-run stream=demand
      warmstart gc stream=demand retention.releases=3
    """
    from engine import retention, wiring

    config = resolve(overrides)
    kept = wiring.build(config["retention"], "retention")
    with open_ledger(config, reading=True) as ledger:
        known = config["stream"]["name"] in ledger.stream_names()  # where nothing was done nothing is made, not even a lock
        place, registry = place_of(config, ledger), registry_of(config)
        freed = retention.tidy(kept, place, registry, whole=True, dry_run=dry_run) if known else []
    for each in freed:
        names = ", ".join(each.names[:3]) + (f" to {each.names[-1]}" if len(each.names) > 3 else "")
        click.echo(f"{each.kind:<11}  {len(each.names):>6,}  {each.bytes:>15,} bytes  {names}")
    word = "would free" if dry_run else "freed"
    click.echo(f"{word} {sum(each.bytes for each in freed):,} bytes" if freed else "nothing is too much")
