"""The laws that distances between two empirical distribution functions have in the limit, and their quantiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_NODES = 64  # of a half period; the integrand left after its ends are taken out is smooth there
_PERIODS = 48  # beyond them, each law's terms are below 1e-17 wherever its own function does not answer 1 at once
_Y = np.cos((2 * np.arange(_NODES) + 1) * np.pi / (2 * _NODES))
_K = np.arange(1, _PERIODS + 1)[:, None]


def squared_bridge_survival(x: Numbers) -> Numbers:
    """The chance that the integral of a squared Brownian bridge exceeds x: Cramer and von Mises' law.

    To 12 digits, in the tail too: nine are left at a chance of 1e-100.

    Sources: Smirnov, "On the distribution of the omega-squared criterion", 1937; Anderson and Darling, "Asymptotic theory of
    certain goodness of fit criteria based on stochastic processes", 1952.

    >>> squared_bridge_survival(np.array([0.46136, 0.74346, 1.16786])).round(4).tolist()
    [0.05, 0.01, 0.001]
    """
    w = 4 * _K - 1 + _Y

    def integrand(value: float) -> Numbers:
        return np.exp(-value * (np.pi * w) ** 2 / 8) / np.sqrt(np.pi * w / 2)

    return _alternating(x, integrand, least=1.4e-3)


def weighted_bridge_survival(x: Numbers) -> Numbers:
    """The same of a squared bridge over its variance, t(1 - t): Anderson and Darling's law.

    To 12 digits, in the tail too, as above.

    Marsaglia and Marsaglia, "Evaluating the Anderson-Darling distribution", 2004, compute the same function by another series and
    give a short form of it that is good to 2e-6, everywhere but in the tail.

    >>> weighted_bridge_survival(np.array([1.9330, 2.4924, 3.8781])).round(4).tolist()
    [0.1, 0.05, 0.01]
    """
    w = 4 * _K + _Y

    def integrand(value: float) -> Numbers:
        return np.exp(-value * (w * w - 1) / 8) * w / np.sqrt(np.pi * (w * w - 1))  # type: ignore[no-any-return]

    return _alternating(x, integrand, least=0.03)


def bridge_range_survival(x: Numbers) -> Numbers:
    """The chance that a Brownian bridge's highest less its lowest value exceeds x: Kuiper's law.

    Source: Kuiper, "Tests concerning random points on a circle", 1960.

    >>> bridge_range_survival(np.array([1.620, 1.747, 2.001])).round(3).tolist()
    [0.1, 0.05, 0.01]
    """
    j = np.arange(1, 41)
    squares = (j * np.asarray(x, float)[..., None]) ** 2
    survival: Numbers = 2 * ((4 * squares - 1) * np.exp(-2 * squares)).sum(axis=-1)
    survival = np.where(np.asarray(x) < 0.2, 1.0, np.clip(survival, 0.0, 1.0))
    return np.where(np.isnan(x), np.nan, survival)


@cache
def quantile(survival: Callable[[Numbers], Numbers], chance: float) -> float:
    """The x that is exceeded with that chance.

    >>> round(quantile(squared_bridge_survival, 0.05), 5)
    0.46136
    """
    low, high = 0.0, 1.0
    while survival(np.array([high]))[0] > chance:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if survival(np.array([middle]))[0] > chance else (low, middle)
    return high


def _alternating(x: Numbers, integrand: Callable[[float], Numbers], least: float) -> Numbers:
    """Smirnov's formula for a sum of independent squared normal variables, weighted.

    The characteristic function's square root is real and imaginary in turns; the chance is an alternating sum of integrals over
    the imaginary turns, each of which begins and ends in an inverse root, as Chebyshev's weight does. Below `least` it is 1.
    """
    x = np.asarray(x, float)
    weights = np.pi / _NODES * np.sqrt((1 - _Y * _Y) / np.cos(np.pi * _Y / 2)) * np.where(_K % 2, 1.0, -1.0)
    chances = [(integrand(value) * weights).sum() if value > least else 1.0 for value in x.ravel().tolist()]
    known = np.where(np.isnan(x), np.nan, np.reshape(chances, x.shape))
    return np.clip(known, 0.0, 1.0)
