"""One profile by a given copy of profile.cu, in a process of its own: a bug may abort it or hang it.

    python -m cuda_on_cpu.run_profile path/to/profile.cu MODE ORDER

Exit status 0 if the counts and moments are right, 1 if they are wrong; a sanitizer or a deadlock ends it with another.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cuda_on_cpu import CpuRawModule, Mode
from kernels import gpu


def main(path: str, mode: str, order: str) -> int:
    """Profile 203 x 40 values, of which one in 19 is missing, and compare with NumPy."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((203, 40), dtype=np.float32)
    x.flat[::19] = np.nan
    edges = np.tile(np.linspace(-3, 3, 31, dtype=np.float32), (40, 1))
    found = gpu.profile(x, edges, lambda _, options: CpuRawModule(Path(path).read_text(), options, Mode[mode], int(order)))
    bins = [np.searchsorted(edges[j], x[~np.isnan(x[:, j]), j], side="right") for j in range(40)]
    counts = np.array([np.bincount(column, minlength=32) for column in bins])
    right = np.array_equal(found.counts, counts) and np.array_equal(found.missing, np.isnan(x).sum(axis=0))
    right = right and np.allclose(found.variance, np.nanvar(x.astype(np.float64), axis=0), rtol=1e-12)
    print("right" if right else "wrong")
    return not right


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
