"""What a person sees while the engine works: a line per window, and with a terminal the step it is in."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.text import Text

from engine.nouns import Closing, Outcome, Window

STYLES = {
    Outcome.PROMOTED: "bold green",
    Outcome.KEPT: "cyan",
    Outcome.REJECTED: "yellow",
    Outcome.QUARANTINED: "bold red",
    Outcome.WAITING: "bold magenta",
}


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
        version = f"v{closing.version}" if closing.version is not None else "–"
        line = Text(f"{window.id:<12} ")
        line.append(f"{closing.outcome.value:<12}", STYLES[closing.outcome])
        line.append(f"{version:<5} {seconds:5.1f} s  {closing.reason}")
        self.console.print(line)

    def outage(self, error: Exception, wait: float) -> None:
        """A line for an outage."""
        self.say(f"{error}; next try in {wait:g} s", "yellow")

    def close(self) -> None:
        """Stop what moves."""
        if self._status:
            self._status.stop()
            self._status = None
