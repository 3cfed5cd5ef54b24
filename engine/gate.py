"""The challenger must beat the champion. Every rule gives its number and its limit, whether it passed or not."""

from __future__ import annotations

from dataclasses import dataclass

from engine import evaluate
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

    metric: what is compared; `auto` is rmse for a regression and log_loss for a classification.
    margin: the lower confidence bound of its gain over the champion must be at least this; -0.01 lets a challenger pass that is
        surely not more than 1% worse. Of rmse, mae and log_loss that is a share, of every other metric (accuracy, auroc, r2, …)
        it is points: 0.01 asks for an accuracy of .91 after .90.
    confidence: of that one-sided bound.
    min_rows: fewest judge rows to decide on.
    max_difference: largest deviation of served answers from the checkpoint's, relative to their spread.
    max_latency_ratio: largest median latency relative to the champion's.
    """

    metric: str = "auto"
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
        name, mine = card.metric, card.challenger.metrics[card.metric]
        if card.champion is None or card.gain is None or card.low is None:
            return Rule("quality", mine == mine, mine, None, f"{name} {mine:.4g}, no champion to beat")
        theirs = card.champion.metrics[name]
        passed = card.low >= self.margin
        word = "beats" if passed else "does not beat"
        message = (
            f"{name} {mine:.4g} {word} version {card.champion_version}'s {theirs:.4g} "
            f"(gain {amount(name, card.gain)}, surely at least {amount(name, card.low)}, {amount(name, self.margin)} needed)"
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


def amount(metric: str, gain: float) -> str:
    """A gain in the metric's own way: a share of a loss, points of anything else.

    >>> amount("rmse", 0.031), amount("accuracy", 0.031)
    ('+3.1%', '+3.1 points')
    """
    return f"{gain:+.1%}" if evaluate.named(metric).relative else f"{100 * gain:+.1f} points"
