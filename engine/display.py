"""What a person sees while the engine works: a line per window, and with a terminal the step it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from engine.nouns import Closing, Outcome, Window

if TYPE_CHECKING:
    from rich.status import Status

STYLES: dict[str, str] = {
    Outcome.PROMOTED: "bold green",
    Outcome.KEPT: "cyan",
    Outcome.REJECTED: "yellow",
    Outcome.QUARANTINED: "bold red",
    Outcome.WAITING: "bold magenta",
}


def outcome_line(window: str, outcome: str | None, version: int | None, seconds: float | None, reason: str | None) -> Text:
    """How a window ended, in one line: here and in `status`."""
    line = Text(f"{window:<12} ")
    line.append(f"{outcome or 'unfinished':<12}", STYLES.get(outcome or "", ""))
    took = "" if seconds is None else f"{seconds:5.1f} s" if seconds < 3600 else f"{seconds / 3600:5.1f} h"
    return line.append(f"{f'v{version}' if version is not None else '–':<5} {took:>7}  {reason or ''}")


class Display:
    """The Listener of `run` and `update`. Without a terminal: plain lines, no colours, nothing that moves."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None

    def say(self, text: str, style: str = "") -> None:
        """One line."""
        self.console.print(Text(text, style))

    def step(self, window: Window, step: str) -> None:
        """Show the step that begins."""
        if not self.console.is_terminal:
            return
        if self._status is None:
            self._status = self.console.status("")
            self._status.start()
        self._status.update(f"{window.id}  {step}")

    def idle(self, text: str) -> None:
        """Show that nothing is to be done."""
        if self.console.is_terminal and self._status:
            self._status.update(text)

    def closed(self, window: Window, closing: Closing, seconds: float) -> None:
        """A line for the Outcome."""
        self.console.print(outcome_line(window.id, closing.outcome, closing.version, seconds, closing.reason))

    def outage(self, error: Exception, wait: float) -> None:
        """A line for an outage."""
        self.say(f"{error}; next try in {wait:g} s", "yellow")

    def waits(self, window: Window, why: str) -> None:
        """A line for a window that goes on later."""
        self.console.print(outcome_line(window.id, "unlabelled", None, None, why))

    def close(self) -> None:
        """Stop what moves."""
        if self._status:
            self._status.stop()
            self._status = None
