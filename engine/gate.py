"""The challenger must beat the champion. Every rule gives its number and its limit, whether it passed or not."""

from __future__ import annotations

from dataclasses import dataclass

from engine.nouns import Rule, Scorecard, Verdict


@dataclass(frozen=True)
class Served:
    """What the staged version did when Triton was asked.

    difference: largest deviation from the checkpoint's own answers, relative to their size.
    not_finite: NaN and infinities where the checkpoint gave a number.
    mismatched: strings and booleans that differ.
    latency_ratio: its median latency over the live version's, asked in turn; None without a live one.
    refused: what Triton said when it could not load the version at all.
    """

    difference: float
    not_finite: int
    mismatched: int
    latency_ratio: float | None
    refused: str | None = None


@dataclass(frozen=True)
class Gate:
    """The limits a challenger must keep.

    metric: what is compared.
    margin: the lower confidence bound of its relative gain over the champion must be at least this; -0.01 lets a challenger pass
        that is surely not more than 1% worse.
    confidence: of that one-sided bound.
    min_rows: fewest judge rows to decide on.
    max_difference: largest deviation of served answers from the checkpoint's, relative to their spread.
    max_latency_ratio: largest median latency relative to the champion's.
    """

    metric: str = "rmse"
    margin: float = 0.0
    confidence: float = 0.9
    min_rows: int = 200
    max_difference: float = 1e-4
    max_latency_ratio: float = 1.5

    def judge(self, card: Scorecard) -> Verdict:
        """Quality on the judge slice."""
        return Verdict((self._rows(card), self._quality(card)))

    def verify(self, served: Served) -> Verdict:
        """The staged version, asked where it will be served."""
        if served.refused:
            return Verdict((Rule("load", False, None, None, served.refused),))
        return Verdict((self._parity(served), self._finite(served), self._latency(served)))

    def _rows(self, card: Scorecard) -> Rule:
        passed = card.rows >= self.min_rows
        message = f"judged on {card.rows:,} rows" + ("" if passed else f", {self.min_rows:,} needed (`gate.min_rows`)")
        return Rule("rows", passed, card.rows, self.min_rows, message)

    def _quality(self, card: Scorecard) -> Rule:
        mine = card.challenger.metrics[self.metric]
        if card.champion is None or card.gain is None or card.low is None:
            return Rule("quality", mine == mine, mine, None, f"{self.metric} {mine:.4g}, no champion to beat")
        theirs = card.champion.metrics[self.metric]
        passed = card.low >= self.margin
        word = "beats" if passed else "does not beat"
        message = (
            f"{self.metric} {mine:.4g} {word} version {card.champion_version}'s {theirs:.4g} "
            f"(gain {card.gain:+.1%}, surely at least {card.low:+.1%}, {self.margin:+.1%} needed)"
        )
        return Rule("quality", passed, card.low, self.margin, message)

    def _parity(self, served: Served) -> Rule:
        passed = served.difference <= self.max_difference and served.mismatched == 0
        message = f"served answers differ from the checkpoint's by {served.difference:.1e}, {self.max_difference:.0e} allowed"
        return Rule("parity", passed, served.difference, self.max_difference, message)

    def _finite(self, served: Served) -> Rule:
        return Rule("finite", served.not_finite == 0, served.not_finite, 0, f"{served.not_finite} answers are NaN or infinite")

    def _latency(self, served: Served) -> Rule:
        ratio = served.latency_ratio
        if ratio is None:
            return Rule("latency", True, None, self.max_latency_ratio, "no champion to compare latency with")
        message = f"median latency is {ratio:.2f}× the champion's, {self.max_latency_ratio:.2f}× allowed"
        return Rule("latency", ratio <= self.max_latency_ratio, ratio, self.max_latency_ratio, message)
