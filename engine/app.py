"""The verbs of the command `warmstart`. Each imports what it needs when it runs: `status` waits for neither torch nor MLflow."""

from __future__ import annotations

import contextlib
import getpass
import json
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine import completion as completing
from engine.configuration import ConfigurationError, resolve, resolve_outside, unknown
from engine.disk import NotPermitted, refusal
from engine.opening import at_work, open_ledger, place_of, registry_of, releases_of, server_record, start_server, state_of

if TYPE_CHECKING:
    from engine.ledger import Cycle, Ledger
    from engine.nouns import Closing

OK = 0
USAGE = 2  # the command, the configuration or the environment is wrong: trying again changes nothing
ATTENTION = 3  # done, but a window was quarantined or a version waits for a person
BUSY = 4  # another process works on the stream
OUTAGE = 75  # something did not answer (sysexits.h EX_TEMPFAIL): try again later

OVERRIDES = click.argument("overrides", nargs=-1, shell_complete=completing.overrides)

WAITING = click.option(
    "--version", "number", type=int, shell_complete=completing.waiting, help="Which, when more than one waits."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="warmstart")
def cli() -> None:
    """Keep models fresh: windows of data in, verified versions in Triton out.

    \b
    Every verb takes Hydra overrides after it, the stream first of all:
      warmstart run stream=flights
      warmstart update stream=flights gate.margin=-0.01
      warmstart status

    \b
    Exit codes: 0 done; 2 wrong command, configuration or set-up; 3 done, but a person should look (a window was
    quarantined or a version waits for approval); 4 another process works on the stream; 75 something did not
    answer, try again later; 130 stopped, the next start goes on.
    """
    project = str(Path.cwd())
    if project not in sys.path:  # own models, sources and triggers lie there; last, so that they hide nothing
        sys.path.append(project)


@cli.command()
@click.option("--until-idle", is_flag=True, help="Exit when no window is pending.")
@OVERRIDES
def run(until_idle: bool, overrides: tuple[str, ...]) -> None:
    """Work on a stream until Ctrl-C: carry every window that lands to its Outcome.

    \b
    Examples:
      warmstart run stream=demand
      warmstart run --until-idle stream=demand gate.margin=0.01
    """
    config = resolve(overrides)
    with at_work(config, "run") as (loop, display):
        closings: list[Closing] = []
        while True:
            closings += loop.carry_pending()
            if until_idle:
                break
            display.idle(str(loop.gathering.small or "waiting for windows"))
            time.sleep(config["platform"]["poll"])
        if loop.gathering.small:
            display.say(str(loop.gathering.small))
    sys.exit(_code(closings))


@cli.command()
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
            display.say("nothing is pending")
    sys.exit(_code(closings))


@cli.command()
@OVERRIDES
def serve(overrides: tuple[str, ...]) -> None:
    """Serve the released versions with an embedded Triton until Ctrl-C.

    \b
    Examples:
      warmstart serve
    """
    from serving.repository import Repository

    config = resolve_outside(overrides)
    if config["serving"]["mode"] != "embedded":
        raise ConfigurationError("`serve` starts the embedded server; with `serving=external` the servers are yours to start")
    server = start_server(config, "serve")
    click.echo(f"serving {', '.join(Repository(Path(config['serving']['repository'])).names()) or 'nothing yet'}")
    click.echo(f"gRPC {server.address}\nHTTP {server.http}\nmetrics {server.metrics}\nlog {server.log}")
    try:
        while server.answers():
            time.sleep(1.0)
        raise click.ClickException(f"the server ended by itself; its log: {server.log}")
    finally:
        server.stop()


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@OVERRIDES
def status(as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show what is live, what happened last and what waits for a person.

    \b
    Examples:
      warmstart status
      warmstart status --json stream=demand
    """
    from engine import report as reporting

    config = resolve_outside(overrides)
    named = [o.partition("=")[2] for o in overrides if o.startswith("stream=")]
    with open_ledger(config) as ledger:
        small = reporting.small(state_of(config))
        names = sorted({*ledger.stream_names(), *small})
        if named and named[0] not in names:
            raise ConfigurationError(unknown("stream with history", named[0], names or ["none yet"]))
        found = [reporting.stream_status(ledger, name, small.get(name)) for name in named or names]
    found_server = server_record(config)
    if as_json:
        click.echo(json.dumps({"streams": found, "server": found_server}, indent=2))
    else:
        reporting.print_status(found, found_server)


@cli.command()
@click.option(
    "--to",
    "version",
    type=int,
    shell_complete=completing.released,
    help="The version to put back; without it, the one that was champion before.",
)
@OVERRIDES
def rollback(version: int | None, overrides: tuple[str, ...]) -> None:
    """Put an earlier version back at once and hold the stream.

    \b
    Examples:
      warmstart rollback stream=demand
      warmstart rollback --to 1 stream=demand
    """
    config = resolve(overrides)
    with releases_of(config, "rollback") as releases:
        done = releases.rollback(version, getpass.getuser())
    if done.state == "failed":
        raise click.ClickException(f"{done.reason}; the stream is held: `warmstart resume` lets it go on")
    click.echo(f"{done.reason}; version {done.previous} is out, the stream is held: `warmstart resume` lets it go on")


@cli.command()
@OVERRIDES
def resume(overrides: tuple[str, ...]) -> None:
    """Let a held stream go on.

    \b
    Examples:
      warmstart resume stream=demand
    """
    config = resolve(overrides)
    with open_ledger(config) as ledger:
        held = ledger.held(config["stream"]["name"])
        ledger.hold(config["stream"]["name"], None)
    click.echo(f"released the hold ({held})" if held else "the stream was not held")


@cli.command()
@WAITING
@OVERRIDES
def approve(number: int | None, overrides: tuple[str, ...]) -> None:
    """Release the version that waits for a person.

    \b
    Examples:
      warmstart approve stream=demand
    """
    config = resolve(overrides)
    with releases_of(config, "approve") as releases:
        cycle = _waiting(releases.ledger, config["stream"]["name"], number)
        done = releases.approve(cycle, _judged_against(releases.ledger, cycle), getpass.getuser())
        if done.state == "stale":
            raise ConfigurationError(f"{done.reason}; `warmstart retry {cycle.window.id}` trains and judges anew")
        if done.state == "failed":
            raise click.ClickException(done.reason)
    click.echo(f"{done.reason}, approved by {getpass.getuser()}")


@cli.command()
@WAITING
@OVERRIDES
def reject(number: int | None, overrides: tuple[str, ...]) -> None:
    """Turn the version that waits for a person away.

    \b
    Examples:
      warmstart reject stream=demand
    """
    config = resolve(overrides)
    with releases_of(config, "reject") as releases:
        cycle = _waiting(releases.ledger, config["stream"]["name"], number)
        reason = f"rejected by {getpass.getuser()}"
        releases.turn_away(cycle, reason)
    click.echo(f"version {cycle.version} {reason}")


@cli.command()
@click.argument("window", shell_complete=completing.windows)
@click.option("--accept", is_flag=True, help="Let a quarantined window pass although it breaks limits of its contract.")
@click.option("--reason", default="", help="Why it is accepted, in words; `explain` tells it.")
@OVERRIDES
def retry(window: str, accept: bool, reason: str, overrides: tuple[str, ...]) -> None:
    """Try a window again that was quarantined, rejected or kept, or waits for labels: a new attempt from the start.

    \b
    Examples:
      warmstart retry week-4 stream=demand
    """
    from engine.locks import Busy
    from engine.nouns import Acceptance, Outcome

    if reason and not accept:
        raise click.UsageError("--reason says why a window is accepted: it goes with --accept")

    config = resolve(overrides)
    name = config["stream"]["name"]
    with open_ledger(config) as ledger:
        cycles = {cycle.window.id: cycle for cycle in ledger.cycles(name)}
        if window not in cycles:
            raise ConfigurationError(unknown("window", window, list(cycles)))
        latest = cycles[window]
        if latest.outcome == Outcome.PROMOTED:
            raise ConfigurationError(f"window {window} was promoted as version {latest.version}; there is nothing to try again")
        if accept:
            _acceptable(ledger, latest)
        if latest.closed is not None or latest in ledger.awaiting_labels(name):
            ledger.again(latest.window, Acceptance(getpass.getuser(), reason.strip() or "no reason given") if accept else None)
    try:
        with at_work(config, "retry") as (loop, _):
            closings = list(loop.carry_pending())
    except Busy as busy:
        click.echo(f"queued: {busy}, and takes it up now")
        sys.exit(OK)
    sys.exit(_code(closings))


@cli.command()
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
    click.echo(f"{drafted.path}: {drafted.summary}\nnow look at it, then: warmstart run stream={drafted.path.stem}")


@cli.command()
@click.argument("what", metavar="VERSION|WINDOW", shell_complete=completing.versions_and_windows)
@OVERRIDES
def explain(what: str, overrides: tuple[str, ...]) -> None:
    """Tell the whole story of a version or a window: data, drift, decision, training, judgement, release, parents.

    \b
    Examples:
      warmstart explain 2 stream=demand
      warmstart explain week-2 stream=demand
    """
    from engine import explain as explaining

    config = resolve(overrides)
    with open_ledger(config) as ledger:
        cycle = explaining.find(ledger, config["stream"]["name"], what)
        for heading, lines in explaining.story(ledger, cycle):
            click.secho(heading, bold=True)
            for line in lines or ["none"]:
                click.echo(f"  {line}")


@cli.command()
@click.argument("window", shell_complete=completing.windows)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@OVERRIDES
def drift(window: str, as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show how far a window is from what the live model was trained on, column by column.

    \b
    Examples:
      warmstart drift week-2 stream=demand
      warmstart drift week-2 stream=demand --json
    """
    import dataclasses

    from engine import explain as explaining

    config = resolve(overrides)
    with open_ledger(config) as ledger:
        found = explaining.drift_of(ledger, explaining.find(ledger, config["stream"]["name"], window))
    if as_json:
        click.echo(json.dumps(_finite(dataclasses.asdict(found)), indent=2))
    else:
        click.echo("\n".join(explaining.drift_lines(found)))


@cli.command()
@click.option("--reason", required=True, help="What happened, in words; it is the reason of the version that comes of it.")
@OVERRIDES
def trigger(reason: str, overrides: tuple[str, ...]) -> None:
    """Tell of an event that the data cannot know of: the next window retrains, once, whatever the triggers say.

    \b
    Examples:
      warmstart trigger --reason "a new tariff" stream=demand
    """
    if not reason.strip():
        raise click.BadParameter("say what happened", param_hint="--reason")
    config = resolve(overrides)
    name = config["stream"]["name"]
    with open_ledger(config) as ledger:
        ledger.announce(name, reason.strip(), getpass.getuser())
        held = ledger.held(name)
    click.echo(f"the next window of {name} retrains" + (f" once the stream goes on; it is held ({held})" if held else ""))


@cli.command()
@click.option("--reason", default="", help="Why, in words; shown by `status`.")
@OVERRIDES
def pause(reason: str, overrides: tuple[str, ...]) -> None:
    """Hold the stream: windows are still checked and scored, nothing is trained or released until `resume`.

    \b
    Examples:
      warmstart pause --reason "an audit until Friday" stream=demand
    """
    config = resolve(overrides)
    name = config["stream"]["name"]
    with open_ledger(config) as ledger:
        if held := ledger.held(name):
            raise ConfigurationError(f"the stream is held already ({held}); `warmstart resume` lets it go on")
        ledger.hold(name, f"paused by {getpass.getuser()}" + (f": {reason.strip()}" if reason.strip() else ""))
    click.echo("the stream is held: `warmstart resume` lets it go on")


@cli.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to; without it, NAME.html in the state.")
@click.option("--last", type=click.IntRange(1), default=400, show_default=True, help="How many of the newest cycles.")
@OVERRIDES
def report(output: Path | None, last: int, overrides: tuple[str, ...]) -> None:
    """Write the stream's history as one HTML file: quality, drift, versions and their reasons, latency, times.

    \b
    Examples:
      warmstart report stream=demand
      warmstart report stream=demand --output demand.html --last 52
    """
    from engine.page import written

    config = resolve(overrides)
    name = config["stream"]["name"]
    with open_ledger(config) as ledger:
        if not ledger.cycles(name, limit=1):
            raise ConfigurationError(f"stream {name!r} has no history yet: `warmstart run stream={name}` begins one")
        path = output or state_of(config) / "reports" / f"{name}.html"
        written.write(ledger, name, Path(config["serving"]["repository"]).absolute(), path, last)
    click.echo(path)


@cli.command()
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
    with open_ledger(config) as ledger:
        freed = retention.tidy(kept, place_of(config, ledger), registry_of(config), whole=True, dry_run=dry_run)
    for each in freed:
        names = ", ".join(each.names[:3]) + (f" to {each.names[-1]}" if len(each.names) > 3 else "")
        click.echo(f"{each.kind:<11}  {len(each.names):>6,}  {each.bytes:>15,} bytes  {names}")
    word = "would free" if dry_run else "freed"
    click.echo(f"{word} {sum(each.bytes for each in freed):,} bytes" if freed else "nothing is too much")


@cli.command()
@click.option("--python", default=sys.executable, help="The interpreter to make it of; without it, the one that runs this.")
@OVERRIDES
def setup(python: str, overrides: tuple[str, ...]) -> None:
    """Install the embedded Triton in `serving.runtime` (`.triton`): once, about 440 MB, no root. Again: complete it.

    \b
    Examples:
      warmstart setup
    """
    from serving import wheel

    runtime = resolve_outside(overrides)["serving"]["runtime"]
    if runtime is None:
        raise ConfigurationError("with `serving=external` the servers are yours to install")
    folder = Path(runtime).absolute()
    wheel.install(folder, python)
    click.echo(f"the embedded Triton is in {folder}; WARMSTART_TRITON={folder} lets other folders use it too")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell reads once to complete verbs, settings and their values, windows and versions.

    \b
    Examples:
      warmstart completion bash >> ~/.bashrc
      warmstart completion zsh >> ~/.zshrc
      warmstart completion fish > ~/.config/fish/completions/warmstart.fish
    """
    click.echo(completing.script(shell, cli), nl=False)


@cli.group()
def contract() -> None:
    """What the windows of a stream must meet."""


@contract.command("show")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--yaml", "as_yaml", is_flag=True, help="To be pasted into the stream's YAML and changed there.")
@OVERRIDES
def show_contract(as_json: bool, as_yaml: bool, overrides: tuple[str, ...]) -> None:
    """Show every limit that holds now, and where it comes from: declared, learnt from the first windows, or default."""
    from engine import wiring
    from engine.contracts import learning, shown

    config = resolve(overrides)
    parts = wiring.parts(config)
    with open_ledger(config) as ledger:
        lessons = learning.remembered(ledger, parts.name, parts.contract.learn)
    limits = shown.limits(parts.contract, parts.schema, lessons)
    if as_json:
        click.echo(json.dumps({"stream": parts.name, "limits": limits}, indent=2, ensure_ascii=False))
    else:
        click.echo(shown.as_yaml(limits) if as_yaml else "\n".join(shown.lines(limits, parts.contract, lessons)))


# what the verbs share


def _acceptable(ledger: Ledger, cycle: Cycle) -> None:
    """Refuse to accept what is not quarantined, or what nothing could be trained on."""
    from engine.ledger import decode
    from engine.nouns import Breach, Outcome

    if cycle.outcome != Outcome.QUARANTINED:
        raise ConfigurationError(f"window {cycle.window.id} is {cycle.outcome or 'unfinished'}; quarantined ones can be accepted")
    step = ledger.step(cycle.id, "validate")
    breaches: tuple[Breach, ...] = decode(tuple[Breach, ...], step.result) if step else ()
    if hard := [b for b in breaches if not b.limit]:
        named = "; ".join(f"{b.column}: {b.message}" if b.column else b.message for b in hard[:5])
        raise ConfigurationError(f"window {cycle.window.id} cannot be accepted, nothing could be trained on it: {named}")


def _waiting(ledger: Ledger, stream: str, number: int | None) -> Cycle:
    from engine.nouns import Outcome

    everything = [c for c in ledger.cycles(stream) if c.outcome == Outcome.WAITING]
    waiting = [c for c in everything if number in (None, c.version)]
    if not waiting:
        others = f"; these do: {', '.join(str(c.version) for c in everything)}" if everything else ""
        raise ConfigurationError(
            f"no version of {stream!r} waits for a person" if number is None else f"version {number} does not wait{others}"
        )
    return waiting[-1]


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: None in their place."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _judged_against(ledger: Ledger, cycle: Cycle) -> int | None:
    from engine.ledger import decode
    from engine.nouns import Scorecard

    judged = [step for step in ledger.steps(cycle.id) if step.name.startswith("judge.")]
    last = max(judged, key=lambda step: int(step.name.removeprefix("judge.")))
    card: Scorecard = decode(Scorecard, last.result)
    return card.champion_version


def _code(closings: Sequence[Closing]) -> int:
    from engine.nouns import Outcome

    return ATTENTION if any(c.outcome in (Outcome.QUARANTINED, Outcome.WAITING) for c in closings) else OK


def main() -> None:
    """The command: a verb, or one clear line on what is wrong."""
    # A shell starts its background jobs with SIGINT ignored; SIGTERM must end them all the same.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = _again
    try:
        _verb()
    finally:
        # All is let go of. A second Ctrl-C would only make the interpreter's own end look like an accident.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)


def _again(unraisable: Any) -> None:
    """A Ctrl-C that arrives in a callback of the interpreter would be shown there and forgotten: it comes again in a moment."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(unraisable)


def _verb() -> None:
    try:
        cli(prog_name="warmstart", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):  # click turns the one into the other
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo("stopped; the next start goes on from here", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE if isinstance(error, click.UsageError) else 1)
    except Exception as error:
        code = _known(error)
        if code in (None, OUTAGE) and (refused := refusal(error)):
            error, code = refused, USAGE if isinstance(refused, NotPermitted) else OUTAGE
        if code is None:
            raise
        click.echo(f"warmstart: {error}", err=True)
        sys.exit(code)


def _known(error: Exception) -> int | None:
    """The exit code for an error that is not a bug of ours, None for one that is."""
    from engine.explain import NothingToExplain
    from engine.ledger import FencedOut, LedgerError, LedgerUnreachable
    from engine.locks import Busy

    if isinstance(error, (Busy, FencedOut)):
        return BUSY
    if isinstance(error, LedgerUnreachable):
        return OUTAGE
    if isinstance(error, (ConfigurationError, LedgerError, NothingToExplain)):
        return USAGE
    from engine.loop import OUTAGES, Interrupted
    from engine.places import SourceError
    from engine.registry import FilesRemoved
    from engine.releases import CannotRelease
    from serving.errors import CannotStart

    if isinstance(error, (Interrupted, *OUTAGES)):
        return OUTAGE
    return USAGE if isinstance(error, (CannotRelease, SourceError, CannotStart, FilesRemoved)) else None


if __name__ == "__main__":
    main()
