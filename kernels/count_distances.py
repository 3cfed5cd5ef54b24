"""Five distances between two rows of counts, of all columns at once."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.arrays import Array


@dataclass(frozen=True, slots=True, eq=False)
class CountDistances:
    """[d] float64 each, where the counts are; NaN where a side has none. Each is told in its own file of `kernels.statistics`.

    psi, kl          nats, with half a row added to each filled bin
    jensen_shannon   the distance, base 2, from 0 to 1
    hellinger, total_variation  from 0 to 1
    """

    psi: Array
    jensen_shannon: Array
    kl: Array
    hellinger: Array
    total_variation: Array
