"""Change the live version so that a kill at any point is made good at the next start: written down, served, verified, then named.

A release is a row in the ledger before anything happens. The order is always: Triton answers with the version → its answers were
verified → the alias `champion` moves, last. So the registry never names a champion that nobody serves, and whoever finds a
row that was intended but not done does the rest. A rollback is a release of an earlier version.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.ledger import Ledger, ReleaseRow
from engine.locks import Locks
from engine.nouns import Release
from engine.registry import Registry
from serving.errors import Refused
from serving.release import Deployment


class CannotRelease(Exception):
    """The release that was asked for makes no sense; the message says why and what would."""


@dataclass(frozen=True)
class Releases:
    """All that changes which version of one stream is live."""

    stream: str
    ledger: Ledger
    locks: Locks
    registry: Registry
    deployment: Deployment

    def release(self, version: int, expects: int | None, cycle: str, cause: str = "promotion") -> Release:
        """Make a staged version live. `expects` is the champion that it was judged against; another one makes it stale."""
        with self.locks.release(self.stream):
            row = self._of_cycle(cycle, version)
            if row is None or row.state == "superseded":
                live = self._live()
                if live != expects:
                    words = f"version {version} was judged against {_name(expects)}, but {_name(live)} is champion now"
                    return Release("stale", version, live, words)
                if cause == "promotion" and (held := self.ledger.held(self.stream)):
                    return Release("held", version, live, f"the stream is held ({held})")
                row = self.ledger.intend(self.stream, version, expects, cause, cycle)
            return self._perform(row)

    def rollback(self, to: int | None, who: str) -> Release:
        """Put an earlier version back and hold the stream, so that nothing is released by itself until `warmstart resume`.

        Without `to` it is the version that was champion before this one. Raises CannotRelease when there is none.
        """
        with self.locks.release(self.stream):
            live = self._live()
            if live is None:
                raise CannotRelease(f"stream {self.stream!r} has no released version yet; there is nothing to roll back")
            target = self._before(live) if to is None else to
            if target is None:
                raise CannotRelease(f"version {live} is the first one released; there is nothing to roll back to")
            if target == live:
                raise CannotRelease(f"version {live} is live already")
            if target not in self._released():
                versions = ", ".join(map(str, self._released()))
                raise CannotRelease(f"version {target} was never released; these were: {versions}")
            hold = f"rolled back from version {live} to {target} by {who}; `warmstart resume` lets it go on"
            return self._perform(self.ledger.intend(self.stream, target, live, "rollback", None, hold))

    def recover(self) -> Release | None:
        """Finish what a killed process had begun; None when nothing was."""
        with self.locks.release(self.stream):
            pending = [row for row in self.ledger.releases(self.stream) if row.state == "intended"]
            return self._perform(pending[-1]) if pending else None

    def _perform(self, row: ReleaseRow) -> Release:
        if row.state == "failed":
            return Release("failed", row.version, row.expects, f"version {row.version} did not answer as it should once live")
        if row.state == "intended":
            try:
                if row.cause == "rollback":
                    self.deployment.rollback(self.stream, row.version)
                else:
                    self.deployment.switch(self.stream, row.version, row.expects)
            except Refused as error:
                self.ledger.finish(row.id, "failed")
                return Release("failed", row.version, row.expects, f"{error}; {_name(row.expects)} answers again")
            previous = self._before(row.version) if row.cause == "rollback" else row.expects
            self.registry.promote(row.version, previous)
            self.ledger.finish(row.id, "done")
        return Release("released", row.version, row.expects, f"version {row.version} is live")

    def _of_cycle(self, cycle: str, version: int) -> ReleaseRow | None:
        rows = [r for r in self.ledger.releases(self.stream) if r.cycle == cycle and r.version == version]
        return rows[-1] if rows else None

    def _live(self) -> int | None:
        """The champion by the ledger, which needs no registry: the last release that was done."""
        done = [row for row in self.ledger.releases(self.stream) if row.state == "done"]
        return done[-1].version if done else None

    def _before(self, version: int) -> int | None:
        """The champion that a version took over from."""
        rows = [
            r for r in self.ledger.releases(self.stream) if r.version == version and r.cause != "rollback" and r.state == "done"
        ]
        return rows[-1].expects if rows else None

    def _released(self) -> list[int]:
        return sorted({row.version for row in self.ledger.releases(self.stream) if row.state == "done"})


def _name(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
