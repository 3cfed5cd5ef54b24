"""The challenger must beat the champion. Every rule gives its number and its limit, whether it passed or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from engine import metrics
from engine.nouns import Gap, Rule, Scorecard, Verdict


class GateRule(Protocol):
    """A rule of one's own: one method; Hydra builds the implementation by `_target_`, listed in `gate.rules`."""

    def judge(self, card: Scorecard) -> Rule:
        """Whether the challenger passes, with the number, its limit and a message. An exception counts as not passed."""
        ...


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
    worst_slice: no slice of `stream.slice_by` may be surely worse than this: the upper confidence bound of its gain must reach
        it. The bounds of all slices hold together at `confidence`. None looks at no slice.
    max_gap: largest difference of the metric between two slices of a column, as it was measured; or by name, such as
        {accuracy: 0.1, demographic_parity_difference: 0.2, equal_opportunity_difference: 0.2}. None looks at no gap.
    max_difference: largest deviation of served answers from the checkpoint's, relative to their spread.
    max_latency_ratio: largest median latency relative to the champion's.
    rules: further rules about the Scorecard, all of which must pass too.
    """

    metric: str = "auto"
    margin: float = 0.0
    confidence: float = 0.9
    min_rows: int = 200
    max_difference: float = 1e-4
    max_latency_ratio: float = 1.5
    worst_slice: float | None = -0.1
    max_gap: float | Mapping[str, float] | None = None
    rules: tuple[GateRule, ...] = ()

    def judge(self, card: Scorecard) -> Verdict:
        """Quality on the judge slice: overall, on every slice of it, and by the rules of one's own."""
        own = (_asked(rule, card) for rule in self.rules)
        return Verdict((self._rows(card), self._quality(card), *self._worst_slice(card), *self._gaps(card), *own))

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

    def _worst_slice(self, card: Scorecard) -> Iterator[Rule]:
        if self.worst_slice is None or card.champion is None or not card.challenger.slices:
            return
        limit, worst = self.worst_slice, card.worst
        if worst is None:
            yield Rule("worst_slice", True, None, limit, "no slice has rows enough to judge (`min_rows` in `stream.slice_by`)")
            return
        surely = [s for s in card.slices if not s.high >= limit]
        shown = min(surely, key=lambda s: s.gain, default=worst)
        message = (
            f"{card.metric} on {shown.rows:,} rows with {shown.column}={shown.value} is {shown.challenger:.4g} against version "
            f"{card.champion_version}'s {shown.champion:.4g} (gain {amount(card.metric, shown.gain)}, surely at most "
            f"{amount(card.metric, shown.high)}, {amount(card.metric, limit)} allowed)"
        )
        if len(surely) > 1:
            message += f"; {len(surely)} of {len(card.slices)} slices are surely worse than that"
        yield Rule("worst_slice", not surely, shown.high, limit, message)

    def _gaps(self, card: Scorecard) -> Iterator[Rule]:
        limits = self.max_gap if isinstance(self.max_gap, Mapping) else {card.metric: self.max_gap}
        for name, limit in limits.items():
            found = [gap for gap in card.gaps if gap.name == name]
            if limit is None or not found:
                continue
            widest = max(found, key=lambda gap: gap.value)
            yield Rule("max_gap", widest.value <= limit, widest.value, limit, f"{gap_words(widest)}, {limit:g} allowed")

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


def _asked(rule: GateRule, card: Scorecard) -> Rule:
    """What a rule of one's own says. Whatever goes wrong in it counts as not passed: a mistake must not promote anything."""
    name = f"{type(rule).__module__}.{type(rule).__qualname__}"
    try:
        said = rule.judge(card)
        if not isinstance(said, Rule):
            raise TypeError(f"it returned {said!r:.80}, where an engine.nouns.Rule is wanted")
        if said.passed not in (True, False):
            raise TypeError(f"`passed` is {said.passed!r:.80}, where True or False is wanted")
        value, limit = (None if number is None else float(number) for number in (said.value, said.limit))
        return Rule(str(said.name), bool(said.passed), value, limit, str(said.message))
    except Exception as error:
        message = f"the rule {name} failed with {type(error).__name__}: {error}; mend it, then `warmstart retry` the window"
        return Rule(name, False, None, None, message)


def gap_words(gap: Gap) -> str:
    """A gap between groups in words."""
    theirs = f" (the champion's {gap.champion:.4g})" if gap.champion is not None else ""
    return f"{gap.name} is {gap.value:.4g} apart over {gap.column}, from {gap.lowest} to {gap.highest}{theirs}"


def no_better(card: Scorecard) -> str:
    """A first model that has learnt nothing, in words: by the gate's metric, or by the accuracy. "" of any other."""
    if card.constant is None:
        return ""
    mine, theirs = card.challenger.metrics, card.constant.metrics
    found = []
    for name in dict.fromkeys((card.metric, *({"accuracy"} & mine.keys()))):
        if mine[name] <= theirs[name] if metrics.named(name).higher else mine[name] >= theirs[name]:
            always = (
                "the most frequent class" if name == "accuracy" else "each class's share" if "accuracy" in mine else "the mean"
            )
            found.append(f"{always} ({name} {mine[name]:.4g} against {theirs[name]:.4g})")
    return f"no better than always answering {' or '.join(found)}" if found else ""


def amount(metric: str, gain: float) -> str:
    """A gain in the metric's own way: a share of a loss, points of anything else.

    >>> amount("rmse", 0.031), amount("accuracy", 0.031)
    ('+3.1%', '+3.1 points')
    """
    return f"{gain:+.1%}" if metrics.named(metric).relative else f"{100 * gain:+.1f} points"
