"""The verbs of the command `warmstart`, by subject; `engine.app` puts them together. Here: what they have in common.

Each verb is a plain function that imports what it needs when it runs: `status` waits for neither torch nor MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from engine import completion as completing

if TYPE_CHECKING:
    from engine.nouns import Closing

OK = 0
USAGE = 2  # the command, the configuration or the environment is wrong: trying again changes nothing
ATTENTION = 3  # done, but a window was quarantined or a version waits for a person
BUSY = 4  # another process works on the stream
OUTAGE = 75  # something did not answer (sysexits.h EX_TEMPFAIL): try again later

OVERRIDES = click.argument("overrides", nargs=-1, shell_complete=completing.overrides)


def code_of(closings: Sequence[Closing]) -> int:
    """How a verb that carried windows ends."""
    from engine.nouns import Outcome

    return ATTENTION if any(c.outcome in (Outcome.QUARANTINED, Outcome.WAITING) for c in closings) else OK
