"""How much of the current falls into categories that the reference never had."""

from __future__ import annotations

import numpy as np

from kernels.arrays import Array, host, namespace
from kernels.measured import Measured
from kernels.statistics.exchangeable import log_all_current
from kernels.statistics.placement import beside
from kernels.statistics.two_proportions import clopper_pearson

STEPS = 40  # of the search for the sharpest bound, by golden sections; any would be a bound


def new_category_rate(reference: Array, current: Array) -> Array:
    """The share of the current's rows whose category has no row in the reference. [..., k] counts to [...]; NaN without rows.

    >>> import numpy as np
    >>> new_category_rate(np.array([[90, 10, 0], [0, 0, 0]]), np.array([[40, 5, 5], [1, 0, 0]])).tolist()
    [0.1, nan]
    """
    xp = namespace(reference)
    n, m = reference.sum(axis=-1), current.sum(axis=-1)
    new = xp.where(reference == 0, current, 0).sum(axis=-1)
    return xp.where((n > 0) & (m > 0), new / xp.maximum(m, 1), xp.nan)  # type: ignore[no-any-return]


def measure(reference: Array, current: Array, confidence: float = 0.95) -> Measured:
    """The rate, a bound on its chance, and its size: effect, low and high are the rate of the current's population.

    Given the categories that the reference shows, each current row is new with one chance: the interval is Clopper and
    Pearson's, never too narrow. New categories turn up without any change where many are rare; the p-value allows for that.
    Given how often each category occurs on both sides together, every deal of the rows onto the sides is as likely as any other
    if nothing changed, so all c rows of a category lie in the current with a known chance, and these events are negatively
    associated: the number of new rows has at most the exponential moments of a sum of independent ones. The p-value is
    Chernoff's bound from these: valid for any number of rows and categories, a few times larger than the chance itself where
    that is small.

    Source: Chernoff, "A measure of asymptotic efficiency for tests ...", 1952; Joag-Dev and Proschan, "Negative association of
    random variables, with applications", 1983, where permutations are shown to be so associated.

    >>> import numpy as np
    >>> found = measure(np.array([[900, 100, 0]] * 2), np.array([[450, 48, 2], [440, 50, 10]]))
    >>> found.value.tolist(), found.p_value.round(6).tolist()
    ([0.004, 0.02], [0.196513, 2.3e-05])
    """
    value = host(new_category_rate(reference, current))
    before, after = (np.asarray(host(counts), np.float64) for counts in (reference, current))
    n, m = before.sum(axis=-1), after.sum(axis=-1)
    seen = np.where((n > 0) & (m > 0), m, 0)
    low, high = clopper_pearson(np.where(before == 0, after, 0).sum(axis=-1), seen, confidence)
    p_value = np.where(seen > 0, _bound(before, after), np.nan)
    return Measured(*beside(reference, value, p_value, value, low, high))


def _bound(before: Array, after: Array) -> Array:
    """Chernoff's bound of so many new rows or more: the least over t of exp(Σ log(1 - π + π exp(t c)) - t · new)."""
    both = before + after
    n, m = before.sum(axis=-1, keepdims=True), after.sum(axis=-1, keepdims=True)
    new = np.where(before == 0, after, 0).sum(axis=-1)
    log_all = log_all_current(both, m, n)
    with np.errstate(divide="ignore"):
        log_rest = np.log1p(-np.exp(log_all))

    def exponent(t: Array) -> Array:
        moments = np.logaddexp(log_rest, log_all + t[..., None] * both)
        return moments.sum(axis=-1) - t * new  # type: ignore[no-any-return]

    # Convex in t, so sections find the least; in log t, from a bound of nothing to one in which the rarest event decides.
    left, right = np.full(new.shape, -25.0), np.full(new.shape, 5.0)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(STEPS):
        inner, outer = right - golden * (right - left), left + golden * (right - left)
        leftwards = exponent(np.exp(inner)) < exponent(np.exp(outer))
        left, right = np.where(leftwards, left, inner), np.where(leftwards, outer, right)
    return np.exp(np.minimum(exponent(np.exp((left + right) / 2)), 0.0))
