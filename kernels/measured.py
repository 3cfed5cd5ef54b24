"""What a statistic says: a value, a chance, and an effect size with its confidence interval."""

from __future__ import annotations

from dataclasses import dataclass, field

from kernels.arrays import Array


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One statistic of d columns at once. All are float64 [d], where the inputs are; of a whole table they are of shape [].

    value    the statistic itself, in its own unit
    p_value  the chance of a value at least as extreme if nothing had changed; None where no such distribution is known
    effect   how large the change is, whatever the number of rows: it estimates a quantity of the two populations, so windows of
             different sizes compare, and a limit on it means the same everywhere
    low, high  the confidence interval of the effect, at the level that was asked for
    rows     of a whole table: how many rows of the reference and of the current one it is of, the drawn ones that have a value

    NaN where a side has no values to speak of: seeing nothing is not stability.
    """

    value: Array
    p_value: Array | None
    effect: Array
    low: Array
    high: Array
    rows: tuple[int, int] | None = field(default=None, kw_only=True)
