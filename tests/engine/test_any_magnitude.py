"""Numbers of any size: a statistic may be infinite or NaN of them, but it neither warns nor fails."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import drift, profiling
from engine.drift import DriftLimits
from engine.nouns import Column, Schema
from engine.profile import Profile
from kernels import suite
from kernels.measured import Measured

SCHEMA = Schema((Column("speed", "number"),), target="minutes")
GREATEST = float(np.finfo(np.float64).max)
KINDS = ("plain", "spikes", "scaled", "ends", "constant", "missing", "infinite", "one", "two")

sides = st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1))


def column(kind: str, seed: int) -> NDArray[np.float64]:
    """A few hundred values of one kind, seeded."""
    random = np.random.default_rng(seed)
    values = random.normal(10, 2, 400)
    some = random.integers(0, 400, 30)
    if kind == "spikes":
        values[some] = random.normal(size=30) * 10.0 ** random.integers(-300, 308, 30)
    elif kind == "scaled":
        values *= 10.0 ** int(random.integers(-320, 307))
    elif kind == "ends":
        values[some] = random.choice([GREATEST, -GREATEST, np.inf, -np.inf, 5e-324], 30)
    elif kind == "constant":
        values[:] = random.choice([0.0, 1e308, -1e-310, 5e-324, 1e160])
    elif kind == "missing":
        values[:] = np.nan
    elif kind == "infinite":
        values[:] = np.inf
    elif kind in ("one", "two"):
        values = values[: KINDS.index(kind) - KINDS.index("one") + 1] * 10.0 ** int(random.integers(-300, 306))
    return values


def profiles(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[Profile, Profile]:
    reference, current = (pl.DataFrame({"speed": side, "minutes": np.arange(float(len(side)))}) for side in (before, after))
    first = profiling.build(reference, SCHEMA)
    return first, profiling.build(current, SCHEMA, first.edges)


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.sampled_from(sorted(suite.NUMBERS)))
def test_every_statistic_is_had_of_columns_of_any_magnitude(before: tuple[str, int], after: tuple[str, int], effect: str) -> None:
    """Warnings are errors here, and an effect that is known lies in its interval."""
    found = drift.compare(*profiles(column(*before), column(*after)), DriftLimits(effect=effect), "w", 1)
    speed = next(each for each in found.columns if each.column == "speed")
    assert set(speed.statistics) >= {"ks", "missing", effect}
    assert not speed.low > speed.high


@pytest.mark.parametrize("power", [-400, 400])
def test_effects_do_not_depend_on_the_unit(power: int) -> None:
    """Scaled by a power of two that keeps the squares of values in float64, every effect stays what it was."""
    before, after = column("plain", 0), column("plain", 1) * 1.5 + 1
    one, other = (_suite(before * scale, after * scale) for scale in (1.0, 2.0**power))
    for name, plain in one.items():
        for side in ("effect", "low", "high"):
            np.testing.assert_allclose(getattr(other[name], side), getattr(plain, side), rtol=1e-9, err_msg=f"{name} {side}")


def _suite(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, Measured]:
    reference, current = profiles(before, after)
    return suite.numbers(drift._side(reference, reference.samples), drift._side(current, current.samples))
