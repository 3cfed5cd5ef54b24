"""What one pass over two sorted samples leaves behind: everything that the exact statistics are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.arrays import Array, namespace

# What the pass adds up for a column, in this order, on the CPU and on the GPU. It visits the distinct values of both samples in
# ascending order; at each, a and b of the n and m rows lie on it, A and B at or below it, A' and B' below it; F = A/n, G = B/m,
# and w is the width to the next value. The potentials are sums over the values before: p of sign(F - G) w, q of (F - G) w, r of
# (1 - 2G) w.
SUMS = (
    "largest of Am - Bn",
    "largest of Bn - Am",
    "|F - G| w",
    "(F - G)^2 w",
    "(F(1 - G) + G(1 - F)) w",
    "F(1 - F) w",
    "G(1 - G) w",
    "sqrt(F(1 - F)/n + G(1 - G)/m) w",
    "(a + b) e^2, where e = ((A + A')/n - (B + B')/m) / 2",
    "(a + b) e^2 / (s(2(n + m) - s) - (n + m)(a + b)), where s = A + A' + B + B'",
    "a^3",
    "b^3",
    "ab(a + b)",
    "a(B + B')",
    "a(B + B')^2",
    "b(A + A')^2",
    *("a p", "a p^2", "a q", "a q^2", "a r", "a r^2", "a q r"),
    *("b p", "b p^2", "b q", "b q^2", "b r", "b r^2", "b q r"),
)


@dataclass(frozen=True, slots=True, eq=False)
class SortedGaps:
    """How the distribution functions F of the reference and G of the current rows differ, exactly, for d columns: [d] each.

    Ties count as they are: F and G jump at each distinct value once. Integrals are over the values, in their unit; infinite where
    the two hold different shares of an infinity. NaN where a side has no rows.

    reference_rows, current_rows  n and m, int64; the others are float64
    above, below        the largest F - G and the largest G - F, at least 0
    area                the integral of |F - G|
    squared_area        of (F - G)^2
    mean_distance       of F(1 - G) + G(1 - F): the mean |x - y| over all pairs of a reference and a current row
    reference_spread, current_spread  of F(1 - F) and of G(1 - G): half the mean |x - x'| over all pairs of one side's rows
    noise               of sqrt(F(1 - F)/n + G(1 - G)/m): the standard error of F - G, integrated
    mean_square         the mean of (F - G)^2 over the rows of both sides, F and G taken halfway up their jumps
    weighted_square     the same over H(1 - H), where H belongs to both sides' rows together (less a fourth of its jump)
    reference_cubes, current_cubes, mixed_cubes
                        over the distinct values, of which a and b rows are: the sums of a^3, b^3 and ab(a + b)
    wins                pairs in which the reference row is the larger one, and half of those where the two are equal
    wins_variance       the variance of wins / nm: DeLong's
    area_variance, squared_area_variance, mean_distance_variance
                        of area, squared_area and mean_distance, by the delta method; infinite where a side has one row
    energy_covariance   of squared_area with mean_distance; 0 where a variance is infinite
    """

    reference_rows: Array
    current_rows: Array
    above: Array
    below: Array
    area: Array
    squared_area: Array
    mean_distance: Array
    reference_spread: Array
    current_spread: Array
    noise: Array
    mean_square: Array
    weighted_square: Array
    reference_cubes: Array
    current_cubes: Array
    mixed_cubes: Array
    wins: Array
    wins_variance: Array
    area_variance: Array
    squared_area_variance: Array
    mean_distance_variance: Array
    energy_covariance: Array

    @property
    def widest(self) -> Array:
        """[d]: the largest |F - G|."""
        return namespace(self.above).maximum(self.above, self.below)  # type: ignore[no-any-return]

    @property
    def effective_rows(self) -> Array:
        """[d]: nm / (n + m), the size of the one sample that says as much about a distribution as the two about a difference."""
        n, m = self.reference_rows.astype(float), self.current_rows.astype(float)
        return n * m / namespace(n).maximum(n + m, 1.0)  # type: ignore[no-any-return]


def from_sums(sums: Array, reference_rows: Array, current_rows: Array) -> SortedGaps:
    """The gaps of d columns from what the pass added up: [d, SUMS], [d] and [d] int64.

    The delta method: area, squared area and mean distance are smooth functions of F and G wherever F differs from G, and a row at
    x moves them by a potential of x, whose variance over the rows, divided by them, is that of the estimate. The derivative of
    the potential is sign(G - F) for the area (Kantorovich's dual of the transport problem), 2(G - F) for the squared area, and
    2G - 1 for the mean distance; for a row of the current sample the two distribution functions change places.
    DeLong's variance is the same for pairs won, where a row's placement among the rows of the other side is its potential.

    Sources: del Barrio, Gine and Matran, "Central limit theorems for the Wasserstein distance between the empirical and the true
    distributions", 1999; DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", 1988.
    """
    xp = namespace(sums)
    n, m = reference_rows.astype(xp.float64), current_rows.astype(xp.float64)
    known = (n > 0) & (m > 0)
    n, m, sums = xp.where(known, n, xp.nan), xp.where(known, m, xp.nan), xp.where(known[:, None], sums, xp.nan).T
    above, below, area, squared_area, distance, spread_a, spread_b, noise = sums[:8]
    squares, weighted, cubes_a, cubes_b, mixed, twice_wins, placed_a, placed_b = sums[8:16]
    p_a, pp_a, q_a, qq_a, r_a, rr_a, qr_a, p_b, pp_b, q_b, qq_b, r_b, rr_b, qr_b = sums[16:]
    twice_lost = 2 * n * m - twice_wins

    def spread(rows: Array, products: Array, x: Array, y: Array) -> Array:
        """The covariance of the means of x and y over one side's rows, from their sums."""
        return (products - x * (y / rows)) / (rows * xp.where(rows == 1, 0.0, rows - 1))  # type: ignore[no-any-return]

    def variance(total: Array) -> Array:
        return xp.where(known, xp.where(xp.isfinite(total), xp.maximum(total, 0.0), xp.inf), xp.nan)  # type: ignore[no-any-return]

    with np.errstate(all="ignore"):  # of one row, and of potentials that are infinite where the integrals are
        q_on_both, q_on_r = spread(m, qq_b, q_b, q_b), spread(m, qr_b, q_b, r_b)
        of_wins = spread(n, placed_a, twice_wins, twice_wins) / m**2 + spread(m, placed_b, twice_lost, twice_lost) / n**2
        of_area = spread(n, pp_a, p_a, p_a) + spread(m, pp_b, p_b, p_b)
        of_squared = spread(n, qq_a, q_a, q_a) + q_on_both
        of_distance = spread(n, rr_a, r_a, r_a) + spread(m, rr_b, r_b, r_b) + 4 * (q_on_both - q_on_r)
        covariance = 2 * spread(n, qr_a, q_a, r_a) + 4 * q_on_both - 2 * q_on_r
    return SortedGaps(
        reference_rows,
        current_rows,
        above / (n * m),
        below / (n * m),
        area,
        squared_area,
        distance,
        spread_a,
        spread_b,
        noise,
        squares / (n + m),
        weighted * 4 * (n + m),
        cubes_a,
        cubes_b,
        mixed,
        twice_wins / 2,
        variance(of_wins / 4),
        variance(of_area),
        variance(4 * of_squared),
        variance(of_distance),
        xp.where(known, xp.where(xp.isfinite(covariance), covariance, 0.0), xp.nan),
    )
