"""The verbs by which a person decides: about versions, windows, and whether the stream goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from engine import completion as completing
from engine.configuration import ConfigurationError, resolve, unknown
from engine.opening import at_work, open_ledger, releases_of
from engine.person import user
from engine.verbs import OK, OVERRIDES, code_of

if TYPE_CHECKING:
    from engine.ledger import Ledger
    from engine.ledger.rows import Cycle

MOST_NAMED = 5  # windows

WAITING = click.option(
    "--version", "number", type=int, shell_complete=completing.waiting, help="Which, when more than one waits."
)


@click.command()
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
        done = releases.rollback(version, user())
    if done.state == "failed":
        raise click.ClickException(f"{done.reason}; the stream is held: `warmstart resume` lets it go on")
    click.echo(f"{done.reason}; version {done.previous} is out, the stream is held: `warmstart resume` lets it go on")


@click.command()
@OVERRIDES
def resume(overrides: tuple[str, ...]) -> None:
    """Let a held stream go on.

    \b
    Examples:
      warmstart resume stream=demand
    """
    config = resolve(overrides)
    name = config["stream"]["name"]
    with open_ledger(config) as ledger:
        held = ledger.held(name)
        kept = _kept_meanwhile(ledger, name) if held else []
        ledger.hold(name, None)
    click.echo(f"released the hold ({held})" if held else "the stream was not held")
    if kept:
        some = ", ".join(kept) if len(kept) <= MOST_NAMED else f"{', '.join(kept[: MOST_NAMED - 1])}, … {kept[-1]}"
        click.echo(
            f"kept because of it: {some}; the next training has their rows, "
            f"`warmstart retry {kept[-1]} stream={name}` decides about one anew now"
        )


@click.command()
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
        ledger.hold(name, f"paused by {user()}" + (f": {reason.strip()}" if reason.strip() else ""))
    click.echo("the stream is held: `warmstart resume` lets it go on")


@click.command()
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
        done = releases.approve(cycle, _judged_against(releases.ledger, cycle), user())
        if done.state == "stale":
            raise ConfigurationError(f"{done.reason}; `warmstart retry {cycle.window.id}` trains and judges anew")
        if done.state == "failed":
            raise click.ClickException(done.reason)
    click.echo(f"{done.reason}, approved by {user()}")


@click.command()
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
        reason = f"rejected by {user()}"
        releases.turn_away(cycle, reason)
    click.echo(f"version {cycle.version} {reason}")


@click.command()
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
            ledger.again(latest.window, Acceptance(user(), reason.strip() or "no reason given") if accept else None)
    try:
        with at_work(config, "retry") as (loop, _):
            closings = list(loop.carry_pending())
    except Busy as busy:
        click.echo(f"queued: {busy}, and takes it up now")
        sys.exit(OK)
    sys.exit(code_of(closings))


@click.command()
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
        ledger.announce(name, reason.strip(), user())
        held = ledger.held(name)
    click.echo(f"the next window of {name} retrains" + (f" once the stream goes on; it is held ({held})" if held else ""))


def _kept_meanwhile(ledger: Ledger, stream: str) -> list[str]:
    """The windows since the hold about which nothing was decided because of it, oldest first."""
    from engine.nouns import HELD, Outcome

    kept: dict[str, None] = {}
    for cycle in reversed(ledger.cycles(stream)):
        if cycle.outcome == Outcome.KEPT and (cycle.reason or "").startswith(HELD):
            kept[cycle.window.id] = None
        elif cycle.outcome not in (Outcome.QUARANTINED, None):
            break
    return list(kept)[::-1]


def _acceptable(ledger: Ledger, cycle: Cycle) -> None:
    """Refuse to accept what is not quarantined, or what nothing could be trained on."""
    from engine.ledger.codec import decode
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


def _judged_against(ledger: Ledger, cycle: Cycle) -> int | None:
    from engine.ledger.codec import decode
    from engine.nouns import Scorecard

    judged = [step for step in ledger.steps(cycle.id) if step.name.startswith("judge.")]
    last = max(judged, key=lambda step: int(step.name.removeprefix("judge.")))
    card: Scorecard = decode(Scorecard, last.result)
    return card.champion_version
