"""The two-sample Kolmogorov-Smirnov test: how far apart two distribution functions get."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernels.arrays import Array, namespace
from kernels.measured import Measured
from kernels.sorted_gaps import SortedGaps


def measure(gaps: SortedGaps, confidence: float = 0.95) -> Measured:
    """The largest |F - G|, for all columns at once; the p-value is `kolmogorov_smirnov`'s.

    effect  the statistic itself: the largest difference in the share of rows at or below any one value. Of n and m rows of one
            distribution it is about 0.87 sqrt(1/n + 1/m) on average, so a limit means the same everywhere only well above that;
            `low` is above a limit only where the populations are, too.
    low, high  by the Dvoretzky-Kiefer-Wolfowitz inequality for each side, half of the error to each. Holds for any populations
            and any number of rows, ties included; it is wide rather than sharp: about 1.5 times as wide as it had to be.

    Source: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", 1990.

    >>> import numpy as np
    >>> from kernels import sorted_gaps
    >>> found = measure(sorted_gaps([np.arange(1000.0)], [np.arange(1000.0) + 200]))
    >>> found.effect.round(3).tolist(), found.low.round(3).tolist(), found.high.round(3).tolist()
    ([0.2], [0.106], [0.294])
    """
    xp = namespace(gaps.above)
    p_value = kolmogorov_smirnov(gaps.widest, gaps.reference_rows, gaps.current_rows)
    margin = uncertainty(gaps, confidence)
    return Measured(
        gaps.widest, p_value, gaps.widest, xp.maximum(gaps.widest - margin, 0.0), xp.minimum(gaps.widest + margin, 1.0)
    )


def uncertainty(gaps: SortedGaps, confidence: float) -> Array:
    """[d]: with that confidence, F - G is nowhere farther than this from the difference of the populations."""
    xp = namespace(gaps.above)
    one_side = math.log(4 / (1 - confidence)) / 2
    n, m = xp.maximum(gaps.reference_rows, 1), xp.maximum(gaps.current_rows, 1)
    return xp.sqrt(one_side / n) + xp.sqrt(one_side / m)  # type: ignore[no-any-return]


def kolmogorov_smirnov(statistic: Array, reference_rows: Array, current_rows: Array) -> Array:
    """The chance of a statistic at least this large if both samples came from one distribution. [d], [d], [d] to [d].

    The statistics are `kernels.ks_wasserstein`'s, the rows the values that each was over. The two samples n and m count as one of
    nm / (n + m), rounded, for which the distribution is known: scipy's `ks_2samp(method="asymp")`. Ties make it conservative.
    (Past a million rows scipy's own tail is an approximation, good to a few parts in a million; this one stays exact.)
    NaN where the statistic is NaN or a side has no rows.

    Source: Simard and L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution", 2011.

    >>> import numpy as np
    >>> kolmogorov_smirnov(np.array([0.1, 0.1]), np.array([100, 1000]), np.array([100, 1000])).round(6).tolist()
    [0.662311, 8.3e-05]
    """
    xp = namespace(statistic)
    columns = zip(statistic.tolist(), reference_rows.tolist(), current_rows.tolist(), strict=True)
    return xp.asarray([_two_samples(*column) for column in columns], dtype=xp.float64)  # type: ignore[no-any-return]


def _two_samples(x: float, n: int, m: int) -> float:
    if math.isnan(x) or n == 0 or m == 0:
        return math.nan
    return survival(x, max(round(n * m / (n + m)), 1))


def survival(x: float, n: int) -> float:
    """The chance that the two-sided one-sample statistic of n rows is `x` or more; each method where it is the precise one.

    >>> round(survival(0.5, 10), 12)
    0.00777741
    """
    if x >= 1 or n * x <= 0.5:
        return float(x < 1)
    if n * x * x >= (4.0 if n <= 140 else 2.2):
        return min(2 * one_sided(x, n), 1.0)
    exact = n <= 140 or (n <= 100_000 and n * x**1.5 <= 1.4)
    return min(max(1 - (durbin(x, n) if exact else pelz_good(x, n)), 0.0), 1.0)


def one_sided(x: float, n: int) -> float:
    """Smirnov's exact sum for the one-sided statistic. Twice it is the two-sided chance, but for both sides exceeding at once.

    The terms are binomial probabilities, in Loader's form so that a million rows cost no digits. As a function of j / n they are
    smooth and vanish at both ends, where the trapezoid rule is exact to rounding: a few thousand of them give the sum of all.
    """
    stride = max(n // 4096, 1)
    j = np.arange(stride, n * (1 - x), stride)
    k, step = n - j, n * x
    with np.errstate(divide="ignore"):  # the last term may be (n - j)·log(0): a chance of zero
        log_power = j * np.log1p(step / j) + k * np.log1p(-np.minimum(step / k, 1.0))
    log_choice = 0.5 * np.log(n / (2 * np.pi * j * k)) + _stirling_error(np.array([n])) - _stirling_error(j) - _stirling_error(k)
    return (1 - x) ** n + stride * float(np.sum(np.exp(log_choice + log_power) * step / (step + j)))


def _stirling_error(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """log k! less Stirling's formula, for whole k of at least 1."""
    table = [math.lgamma(i + 1) - (i + 0.5) * math.log(i) + i - 0.5 * math.log(2 * math.pi) for i in range(1, 16)]
    s = 1 / np.maximum(k, 16.0)
    series = s * (1 / 12 - s**2 * (1 / 360 - s**2 * (1 / 1260 - s**2 * (1 / 1680 - s**2 / 1188))))
    return np.where(k < 16, np.take(table, np.minimum(k, 15).astype(int) - 1), series)


def durbin(x: float, n: int) -> float:
    """The exact distribution function, by a power of Durbin's matrix: Marsaglia, Tsang and Wang, 2003. Cost n·x cubed."""
    k = math.ceil(n * x)
    h, size = k - n * x, 2 * k - 1
    i = np.arange(1, size + 1)
    inverse_factorials = np.cumprod(1 / np.maximum(np.arange(size + 1), 1))
    rows, columns = np.indices((size, size))
    matrix = np.where(rows + 1 >= columns, inverse_factorials[np.maximum(rows - columns + 1, 0)], 0.0)
    edge = (1 - h**i) * inverse_factorials[1:]
    edge[-1] = (1 - 2 * h**size + max(2 * h - 1, 0) ** size) * inverse_factorials[-1]
    matrix[:, 0], matrix[-1] = edge, edge[::-1]
    # log(n! / n^n), and the logarithm of what was divided out to keep the powers in range.
    log_scale, log_matrix = math.lgamma(n + 1) - n * math.log(n), 0.0
    power = np.eye(size)
    while n:
        if n & 1:
            power, log_scale = power @ matrix, log_scale + log_matrix
            largest = power.max()
            power, log_scale = power / largest, log_scale + math.log(largest)
        matrix, log_matrix = matrix @ matrix, 2 * log_matrix
        largest = matrix.max()
        matrix, log_matrix = matrix / largest, log_matrix + math.log(largest)
        n >>= 1
    return float(power[k - 1, k - 1]) * math.exp(log_scale)


def pelz_good(x: float, n: int) -> float:
    """The distribution function to the order n^-3/2, in the form that converges for small z: Pelz and Good, 1976."""
    z, pi = math.sqrt(n) * x, math.pi
    k = np.arange(1, math.ceil(16 * z / pi) + 1)
    odd = pi * pi * (2 * k - 1) ** 2 / 4
    all_ = (pi * k) ** 2
    q, r = np.exp(-odd / (2 * z * z)), np.exp(-all_ / (2 * z * z))
    k0 = np.sum(q) / z
    k1 = np.sum(q * (odd - z**2)) / (6 * z**4)
    k2 = np.sum(q * (6 * z**6 + 2 * z**4 + (2 * z**4 - 5 * z**2) * odd + (1 - 2 * z**2) * odd**2)) / (72 * z**7)
    k2 -= np.sum(r * all_) / (36 * z**3)
    cubic = -30 * z**6 - 90 * z**8 + (135 * z**4 - 96 * z**6) * odd + (212 * z**4 - 60 * z**2) * odd**2 + (5 - 30 * z**2) * odd**3
    k3 = np.sum(q * cubic) / (6480 * z**10) + np.sum(r * all_ * (3 * z * z - all_)) / (216 * z**6)
    return float(math.sqrt(2 * pi) * (k0 + k1 / math.sqrt(n) + k2 / n + k3 / n**1.5))
