"""`kernels.category_counts` on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import kernels


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_unknown_codes_are_counted_nowhere(dtype: str) -> None:
    codes = np.random.default_rng(0).integers(-1, 50, 10_000).astype(dtype)
    counts = kernels.category_counts(codes, 60)
    assert (counts.dtype, counts.tolist()) == (np.int64, np.bincount(codes[codes >= 0], minlength=60).tolist())
    assert len(codes) - counts.sum() == np.count_nonzero(codes < 0)


def test_no_codes_and_no_vocabulary_are_counts_too() -> None:
    assert kernels.category_counts(np.array([], np.int32), 3).tolist() == [0, 0, 0]
    assert kernels.category_counts(np.array([-1, -7], np.int32), 0).tolist() == []


def test_codes_of_a_newer_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="2 codes are 3 or more: pass the size of the vocabulary"):
        kernels.category_counts(np.array([0, 3, 2**40]), 3)


@pytest.mark.parametrize("codes", [np.ones((2, 2), int), np.ones(2), np.ones(2, np.uint8)])
def test_codes_are_one_dimension_of_signed_integers(codes: np.ndarray) -> None:
    with pytest.raises(TypeError, match="pass one dimension of signed integers"):
        kernels.category_counts(codes, 3)
