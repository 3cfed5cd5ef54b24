"""The proof of category_counts.cu."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from cuda_on_cpu import Mode
from numpy.typing import NDArray

from kernels import gpu
from kernels.gpu import Compiler, category_options
from proofs.proof import DIVERGED, INDEX, OVERFLOW, RACE, WRONG, Bug, Case, Kind, Limits, Place, Proof

ON_CHIP = gpu.CATEGORY_CAPACITY - 1  # the largest vocabulary whose counters, and the one for the rest, fit in a block


def drawn(number: int, size: int, dtype: str = "int64") -> NDArray[Any]:
    """Codes from -1, unknown, to a few beyond the vocabulary, of which the last one occurs; a large one leaves most codes out."""
    codes = np.random.default_rng(number).integers(-1, min(size, 100), number).astype(dtype)
    codes[::50], codes[1::50] = size - 1, size + 3
    return codes


def counted(codes: NDArray[Any], size: int, blocks: int = gpu.CATEGORY_BLOCKS) -> Case:
    def launch(compiler: Compiler, place: Place) -> Any:
        with patch.object(gpu, "CATEGORY_BLOCKS", blocks):
            return gpu.category_counts(place(codes), size, compiler)

    def check(found: NDArray[Any]) -> None:
        known = np.minimum(codes[codes >= 0].astype(np.int64), size)
        np.testing.assert_array_equal(found, np.bincount(known, minlength=size + 1))

    return Case(launch, check)


SMALL = "600 codes, counted on chip"
OFF_CHIP = "a vocabulary just too large for the chip"

PROOF = Proof(
    file="category_counts.cu",
    variants={name: category_options(np.dtype(name)) for name in ("int32", "int64")},
    limits={"category_counts": Limits()},
    cases={
        SMALL: counted(drawn(600, 50), 50),
        OFF_CHIP: counted(drawn(600, ON_CHIP + 1, "int32"), ON_CHIP + 1),
        "the largest vocabulary on chip": counted(drawn(600, ON_CHIP, "int32"), ON_CHIP),
        "int8, which is widened": counted(drawn(600, 7, "int8"), 7),
        "int16, which is widened": counted(drawn(600, 7, "int16"), 7),
        "many codes for few blocks": counted(drawn(10_001, 50), 50, blocks=3),
        "many codes off chip": counted(drawn(10_001, 9000), 9000),
        "no codes": counted(drawn(0, 3), 3),
        "one code": counted(np.array([2]), 3),
        "no vocabulary": counted(np.array([0, -1, 5]), 0),
        "nothing known": counted(np.full(300, -1, np.int32), 3),
        "the smallest and the largest integers": counted(np.array([-(2**63), 2**63 - 1, 2**40, 1]), 3),
        "one code, over and over": counted(np.full(3000, 1, np.int32), 3),
        "the stride of a view": counted(drawn(900, 50)[::3], 50),
    },
    raced=(SMALL, OFF_CHIP, "no codes"),
    bugs=(
        Bug(
            Kind.MISSING_BARRIER,
            "after the counters are set to zero",
            "s_counts[c] = 0u;\n        __syncthreads();",
            "s_counts[c] = 0u;",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.MISSING_BARRIER,
            "before the counters are added up",
            "if (!fits) return;\n    __syncthreads();",
            "if (!fits) return;",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(
            Kind.DIVERGENT_BARRIER,
            "an unknown code skips it",
            "if (code < 0) return;",
            "if (code < 0) return;\n        __syncthreads();",
            SMALL,
            Mode.CHECK,
            DIVERGED,
        ),
        Bug(Kind.OUTSIDE_GLOBAL, "reads past the last code", "i < number; i", "i <= number; i", SMALL, Mode.ADDRESS, OVERFLOW),
        Bug(
            Kind.OUTSIDE_GLOBAL,
            "a code beyond the vocabulary is believed",
            "code < size ? int(code) : size",
            "int(code)",
            OFF_CHIP,
            Mode.ADDRESS,
            OVERFLOW,
        ),
        Bug(
            Kind.OUTSIDE_SHARED,
            "no counter left for the codes beyond",
            "fits = size < CAPACITY",
            "fits = size <= CAPACITY",
            OFF_CHIP,
            Mode.ADDRESS,
            INDEX,
        ),
        Bug(
            Kind.UNSYNCHRONISED,
            "on chip, not atomic",
            "atomicAdd(&s_counts[counter], 1u)",
            "++s_counts[counter]",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.UNSYNCHRONISED,
            "off chip, not atomic",
            "atomicAdd(&counts[counter], 1ull)",
            "++counts[counter]",
            OFF_CHIP,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.UNSYNCHRONISED,
            "two blocks add to one sum, not atomic",
            "atomicAdd(&counts[c], (unsigned long long)s_counts[c])",
            "counts[c] += s_counts[c]",
            SMALL,
            Mode.RACES,
            RACE,
        ),
        Bug(
            Kind.UNINITIALISED,
            "the last counter not set to zero",
            "c <= size; c += blockDim.x) s_counts[c] = 0u;",
            "c < size; c += blockDim.x) s_counts[c] = 0u;",
            SMALL,
            Mode.CHECK,
            WRONG,
        ),
        Bug(Kind.OUTSIDE_SHARED, "an unknown code is counted at -1", "if (code < 0) return;", "", SMALL, Mode.ADDRESS, INDEX),
        Bug(
            Kind.WRONG_ANSWER,
            "the grid does not stride",
            "stride = (long long)gridDim.x * blockDim.x",
            "stride = number",
            "many codes for few blocks",
            Mode.CHECK,
            WRONG,
        ),
    ),
    absent={},
)
