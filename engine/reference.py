"""What a table is compared with where the data itself is not at hand: a Profile that was kept of it, ours or whylogs'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.profile import Profile, rank_error


@dataclass(frozen=True)
class Reference:
    """A Profile, and what it says less of than one of ours would.

    estimated: column → how far the sketch that its counts and sample come from may be off in rank, at 99% confidence.
    left_out: column → why it cannot be compared.
    """

    profile: Profile
    estimated: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """What a person should know of it."""
        said = [f"left out: column {name}, {why}" for name, why in self.left_out.items()]
        if self.estimated:
            worst = max(self.estimated.values())
            off = f"off in rank by {worst:.2g} at most (99%)"
            said.append(f"estimated: {', '.join(self.estimated)}; their distribution is a sketch's, {off}")
        profile = self.profile
        sampled = [each.size for each, n in zip(profile.samples, profile.counts.finite.tolist(), strict=True) if each.size < n]
        if sampled:
            off = f"off in rank by {rank_error(min(sampled)):.2g} at most (99.9%)"
            said.append(
                f"statistics over sorted values read {min(sampled):,} values of the reference, {off}; none reads whole rows"
            )
        return said
