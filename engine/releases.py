"""Change the live version so that a kill at any point is made good at the next start: written down, served, verified, then named.

A release is a row in the ledger before anything happens. The order is always: Triton answers with the version → its answers were
verified → the alias `champion` moves, last. So the registry never names a champion that nobody serves, and whoever finds a
row that was intended but not done does the rest. A rollback is a release of an earlier version.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.ledger import Ledger
from engine.ledger.rows import Cycle, ReleaseRow
from engine.locks import Locks
from engine.nouns import Closing, Outcome, Release
from engine.registry import Registry, RegistryUnreachable
from serving.config import ModelConfig
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

    def stage(self, version: int, files: Mapping[str, Path], config: ModelConfig) -> None:
        """Publish a version and load it under the staging name, which whoever approves another one in this moment clears away."""
        with self.locks.release(self.stream):
            self.deployment.stage(self.stream, version, files, config)

    def release(self, version: int, expects: int | None, cycle: str) -> Release:
        """Make a staged version live. `expects` is the champion that it was judged against; another one makes it stale."""
        with self.locks.release(self.stream):
            return self._release(version, expects, cycle, "promotion")

    def approve(self, cycle: Cycle, expects: int | None, who: str) -> Release:
        """Make the version of a waiting cycle live, though the stream be held; the cycle ends with it, promoted or rejected."""
        with self.locks.release(self.stream):
            version = self._waiting(cycle)
            return self._release(version, expects, cycle.id, "approval", f"approved by {who}")

    def turn_away(self, cycle: Cycle, reason: str) -> None:
        """End a waiting cycle as rejected; its version is kept aside. Raises CannotRelease when it does not wait any more."""
        with self.locks.release(self.stream):
            self._finish_begun()
            version = self._waiting(cycle)
            self.discard(version, reason)
            self.ledger.settle(cycle.id, Closing(Outcome.REJECTED, reason, version))

    def discard(self, version: int, reason: str) -> None:
        """Take a version that will not be released out of the way, kept for inspection."""
        self.deployment.discard(self.stream, version)
        self.registry.annotate(version, {"verdict": reason})

    def _release(self, version: int, expects: int | None, cycle: str, cause: str, why: str = "approved") -> Release:
        row = self._of_cycle(cycle, version)
        self._finish_begun(but=row)
        if row is None or row.state == "superseded":
            live = self._live()
            if live != expects:
                words = f"version {version} was judged against {_name(expects)}, but {_name(live)} is champion now"
                return Release("stale", version, live, words)
            if cause == "promotion" and (held := self.ledger.held(self.stream)):
                return Release("held", version, live, f"the stream is held ({held})")
            row = self.ledger.intend(self.stream, version, expects, cause, cycle)
        return self._perform(row, why)

    def rollback(self, to: int | None, who: str) -> Release:
        """Put an earlier version back and hold the stream, so that nothing is released by itself until `warmstart resume`.

        Without `to` it is the version that was champion before this one. Raises CannotRelease when there is none.
        """
        with self.locks.release(self.stream):
            live = self._live()
            before = self._before(live) if live is not None else None
            if (begun := self._begun()) and begun.cause != "rollback":
                # Whoever was killed in it may have gone as far as the world being told this version.
                live, before = begun.version, begun.expects
            if live is None:
                raise CannotRelease(f"stream {self.stream!r} has no released version yet; there is nothing to roll back")
            target = before if to is None else to
            if target is None:
                raise CannotRelease(f"version {live} is the first one released; there is nothing to roll back to")
            if target == live:
                raise CannotRelease(f"version {live} is live already")
            if target not in self._released():
                versions = ", ".join(map(str, self._released()))
                raise CannotRelease(f"version {target} was never released; these were: {versions}")
            kept = self.deployment.repository.versions(self.stream)
            if target not in kept:
                raise CannotRelease(self._not_kept(target, kept))
            hold = f"rolled back from version {live} to {target} by {who}; `warmstart resume` lets it go on"
            done = self._perform(self.ledger.intend(self.stream, target, live, "rollback", None, hold))
            if done.state == "failed":
                self.ledger.hold(self.stream, f"{who} wanted version {target} back, which failed: {done.reason}")
            return done

    def recover(self) -> Release | None:
        """Finish what a killed process had begun; None when nothing was."""
        with self.locks.release(self.stream):
            return self._finish_begun()

    def _begun(self) -> ReleaseRow | None:
        """The release that somebody was killed in; there is one at most."""
        begun = [row for row in self.ledger.releases(self.stream) if row.state == "intended"]
        return begun[-1] if begun else None

    def _finish_begun(self, but: ReleaseRow | None = None) -> Release | None:
        begun = self._begun()
        return self._perform(begun) if begun and begun != but else None

    def _waiting(self, cycle: Cycle) -> int:
        now = self.ledger.cycle(cycle.id) or cycle
        if now.outcome != Outcome.WAITING or now.version is None:
            raise CannotRelease(f"version {cycle.version} does not wait any more: {now.outcome} ({now.reason})")
        return now.version

    def _perform(self, row: ReleaseRow, why: str = "approved") -> Release:
        if row.state == "failed":
            return Release("failed", row.version, row.expects, f"version {row.version} did not answer as it should once live")
        if row.state == "intended":
            try:
                if row.cause == "rollback":
                    self.deployment.rollback(self.stream, row.version)
                else:
                    self.deployment.switch(self.stream, row.version, row.expects)
            except Refused as error:
                reason = f"{error}; {_name(row.expects)} answers again"
                if row.cause == "approval":
                    self.discard(row.version, reason)
                self.ledger.finish(row, "failed", Closing(Outcome.REJECTED, reason, row.version))
                return Release("failed", row.version, row.expects, reason)
            previous = self._before(row.version) if row.cause == "rollback" else row.expects
            self.registry.promote(row.version, previous)
            self.ledger.finish(row, "done", Closing(Outcome.PROMOTED, why, row.version))
        return Release("released", row.version, row.expects, f"version {row.version} is live")

    def _not_kept(self, version: int, kept: Collection[int]) -> str:
        """Why a version cannot be put back, and which ones can."""
        where = "the model repository (`retention.releases`)"
        with contextlib.suppress(RegistryUnreachable):
            if version not in self.registry.stored():
                where += " nor in MLflow (`retention.checkpoints`)"
        back = ", ".join(str(v) for v in self._released() if v in kept)
        return f"version {version} cannot be put back: its files are no longer in {where}; these can be: {back}"

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
