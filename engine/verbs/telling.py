"""The verbs that tell what is and what was. They change nothing, and make nothing where nothing is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from engine import completion as completing
from engine.configuration import ConfigurationError, resolve, resolve_outside, unknown
from engine.opening import open_ledger
from engine.served import server_record, whereabouts
from engine.state import state_of
from engine.verbs import OVERRIDES

FILES = click.Path(path_type=Path)


@click.command()
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
    with open_ledger(config, reading=True) as ledger:
        small, untaken = reporting.small(state_of(config)), reporting.untaken(state_of(config))
        names = sorted({*ledger.stream_names(), *small, *untaken})
        if named and named[0] not in names:
            raise ConfigurationError(unknown("stream with history", named[0], names or ["none yet"]))
        found = [reporting.stream_status(ledger, name, small.get(name), untaken.get(name)) for name in named or names]
    if as_json:
        click.echo(json.dumps({"streams": found, "server": server_record(config)}, indent=2))
    else:
        reporting.print_status(found, lambda live: whereabouts(config, live))


@click.command()
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
    with open_ledger(config, reading=True) as ledger:
        cycle = explaining.find(ledger, config["stream"]["name"], what)
        for heading, lines in explaining.story(ledger, cycle):
            click.secho(heading, bold=True)
            for line in lines or ["none"]:
                click.echo(f"  {line}")


@click.command()
@click.argument("what", nargs=-1, metavar="[WINDOW] [OVERRIDES]...", shell_complete=completing.windows)
@click.option("--reference", type=FILES, help="A Parquet file, a folder of them or a profile; with --current, no stream.")
@click.option("--current", type=FILES, help="The Parquet file or folder that is compared with --reference.")
@click.option("--column", "columns", multiple=True, help="Of the files, only this column; may be given again. All without it.")
@click.option("--segments", help="Of the files, a column whose values are compared by themselves too.")
@click.option("--effect", default="psi", show_default=True, help="The statistic that --limit is for.")
@click.option("--limit", default=0.2, show_default=True, help="A column drifted when its effect is over this, and significant.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Of the files, a page with every column drawn.")
def drift(
    what: tuple[str, ...],
    reference: Path | None,
    current: Path | None,
    columns: tuple[str, ...],
    segments: str | None,
    effect: str,
    limit: float,
    as_json: bool,
    html: Path | None,
) -> None:
    """Show how far a window is from what the live model was trained on, column by column; or one Parquet file from another.

    \b
    Examples:
      warmstart drift week-2 stream=demand
      warmstart drift --reference data/demand/week-1.parquet --current data/demand/week-2.parquet --json
      warmstart drift --reference data/demand/week-1.parquet --current data/demand/week-2.parquet --html drift.html
    """
    if (reference is None) != (current is None):
        raise click.UsageError("--reference and --current belong together: the one is compared with the other")
    if reference is not None and current is not None:
        if what:
            raise click.UsageError(f"{what[0]!r}: two files are compared without a stream; set --effect, --limit and --segments")
        _compare(reference, current, columns, {"effect": effect, "limit": limit, "segments": segments}, as_json, html)
        return
    names = [word for word in what if "=" not in word and not word.startswith("~")]
    if len(names) != 1:
        raise click.UsageError("say which window of the stream, or two files: --reference A --current B")
    _of_window(names[0], [word for word in what if word != names[0]], as_json)


def _of_window(window: str, overrides: Sequence[str], as_json: bool) -> None:
    import dataclasses

    from engine import explain as explaining

    config = resolve(overrides)
    with open_ledger(config, reading=True) as ledger:
        found = explaining.drift_of(ledger, explaining.find(ledger, config["stream"]["name"], window))
    if as_json:
        click.echo(json.dumps(_finite(dataclasses.asdict(found)), indent=2))
    else:
        click.echo("\n".join(explaining.drift_lines(found)))


def _compare(
    reference: Path, current: Path, columns: Sequence[str], asked: Mapping[str, Any], as_json: bool, html: Path | None
) -> None:
    import dataclasses

    from engine import comparison
    from engine.drift import DriftLimits
    from engine.page import comparison as drawn
    from engine.page.written import whole

    try:
        found = comparison.of_files(reference, current, DriftLimits(**asked), columns or None)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigurationError(str(error)) from error
    if html:
        whole(html, drawn.page(found))
    if as_json:
        told = dataclasses.asdict(found.report) | {"whole": {name: dataclasses.asdict(one) for name, one in found.whole.items()}}
        del told["window"], told["version"]
        sides = [dataclasses.asdict(side) for side in found.drawn or ()]
        told |= {"notes": [*found.notes, *found.report.notes], "left_out_of_whole": [*found.before.categories, *found.ids]}
        told |= {"drawn": dict(zip(("reference", "current"), sides, strict=False))}
        told |= {"vectors": {name: dataclasses.asdict(each) for name, each in found.vectors.items()}}
        click.echo(json.dumps(_finite({"reference": found.reference, "current": found.current} | told), indent=2))
        return
    click.echo("\n".join([*comparison.lines(found), *([str(html)] if html else [])]))


@click.command()
@click.argument("data", type=FILES)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="NAME.arrow, or NAME.bin for whylogs."
)
@click.option("--column", "columns", multiple=True, help="Only this column; may be given again. All without it.")
def profile(data: Path, output: Path, columns: tuple[str, ...]) -> None:
    """Keep the profile of a Parquet file or a folder of them: the --reference of `drift` when the data itself is gone.

    \b
    Examples:
      warmstart profile data/demand/week-1.parquet --output week-1.arrow
    """
    if output.suffix not in (".arrow", ".bin"):
        raise click.BadParameter("name it .arrow, or .bin for whylogs to read", param_hint="--output")
    from engine import profile_file, whylogs_file
    from engine.comparison import files_of
    from engine.parquet import profile_of

    lost: list[str] = []
    try:
        made = profile_of(files_of(data), None, columns or None)
        if output.suffix == ".bin":
            lost = whylogs_file.write(made, output)
        else:
            profile_file.write(made, output)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigurationError(str(error)) from error
    click.echo("\n".join([f"{output}: {made.rows:,} rows, {len(made.kinds)} columns", *lost]))


@click.command()
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
    with open_ledger(config, reading=True) as ledger:
        if not ledger.cycles(name, limit=1):
            raise ConfigurationError(f"stream {name!r} has no history yet: `warmstart run stream={name}` begins one")
        path = output or state_of(config) / "reports" / f"{name}.html"
        written.write(ledger, name, Path(config["serving"]["repository"]).absolute(), path, last)
    click.echo(path)


@click.group()
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
    with open_ledger(config, reading=True) as ledger:
        lessons = learning.remembered(ledger, parts.name, parts.contract.learn)
    limits = shown.limits(parts.contract, parts.schema, lessons)
    if as_json:
        click.echo(json.dumps({"stream": parts.name, "limits": limits}, indent=2, ensure_ascii=False))
    else:
        click.echo(shown.as_yaml(limits) if as_yaml else "\n".join(shown.lines(limits, parts.contract, lessons)))


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: None in their place."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
