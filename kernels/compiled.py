"""How the functions that pass over data on the CPU are compiled: on first use, and kept on disk.

They release the interpreter's lock, and plain threads run them: numba's own thread pools are neither safe to enter from two
threads nor to fork. Division by zero follows NumPy: Python's way would put a branch into each loop, and leave no vector lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered into vector lanes. NaN and infinity stay what they are: without the flags "nnan" and "ninf" a comparison
# with NaN is false, which is what keeps NaN out of every bin.
IN_LANES = {"reassoc", "nsz"}


def compiled(fastmath: bool | set[str] = False) -> Callable[[Function], Function]:
    """Machine code of a function of arrays and numbers, with the liberties that are named."""
    return cast("Callable[[Function], Function]", numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath))
