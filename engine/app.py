"""The command `warmstart`: its verbs put together, and how every one of them ends: in words and an exit code."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import click

from engine.configuration import ConfigurationError
from engine.disk import NotPermitted, refusal
from engine.verbs import BUSY, OUTAGE, USAGE, beginning, deciding, telling, working


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


VERBS: tuple[click.Command, ...] = (
    *(beginning.init, beginning.setup, beginning.completion),
    *(working.run, working.update, working.serve, working.gc),
    *(telling.status, telling.explain, telling.drift, telling.profile, telling.report, telling.contract),
    *(deciding.rollback, deciding.resume, deciding.pause, deciding.approve, deciding.reject, deciding.retry, deciding.trigger),
)
for verb in VERBS:
    cli.add_command(verb)


def main() -> None:
    """The command: a verb, or one clear line on what is wrong."""
    # A shell starts its background jobs with SIGINT ignored; SIGTERM must end them all the same.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = _again
    if logging.lastResort:  # who holds a connection while Ctrl-C comes logs it, with its traceback, before passing it on
        logging.lastResort.addFilter(_no_interrupt)
    try:
        _verb()
    finally:
        # All is let go of. A second Ctrl-C would only make the interpreter's own end look like an accident.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        # CPython remembers a KeyboardInterrupt that left a text that was executed (some modules make classes so), though it was
        # handled, and kills itself by SIGINT in the end. Executing a text forgets it.
        exec("")


def _again(unraisable: Any) -> None:
    """A Ctrl-C that arrives in a callback of the interpreter would be shown there and forgotten: it comes again in a moment."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(unraisable)


def _no_interrupt(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt))


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
    from engine.ledger.database import FencedOut, LedgerError, LedgerUnreachable
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
