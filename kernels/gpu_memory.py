"""What does not fit into the GPU's memory is done in parts: the same answer, later, and said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def in_parts(work: Callable[[slice], T], things: int, least: int, what: str, xp: Any) -> list[T]:
    """What `work` makes of all things at once; where memory ends, of halves of them, and of halves of these.

    CuPy's OutOfMemoryError is a MemoryError: CuPy need not be imported to catch it. `least` is the number of things that no part
    is cut below, `what` their name, `xp` the library whose memory it is. Warns once of a call that fell to parts, with their
    size. Raises MemoryError when the least is too much.

    >>> in_parts(lambda part: part.stop - part.start, 5, least=1, what="rows", xp=None)
    [5]
    """
    made: list[T] = []
    start, size = 0, max(things, 1)
    while start < things or not made:
        try:
            made.append(work(slice(start, min(start + size, things))))
        except MemoryError as error:
            if size <= least:
                raise too_little(f"{least:,} {what}") from error
        else:
            start += size
            continue
        # Not inside the handler: there the error still holds what the attempt had allocated.
        free(xp)
        size = max(-(-size // 2 // least) * least, least)
    if size < things:
        fell(f"{what}, {size:,} of {things:,} at a time")
    return made


def too_little(what: str) -> MemoryError:
    """The error of who cannot go on with less."""
    return MemoryError(
        f"the GPU has no memory left for {what}: free arrays that are not needed, or pass the data from host memory (`.get()`)"
    )


def fell(how: str) -> None:
    """Warn that something was done in parts; Python shows each such line once."""
    warnings.warn(f"the GPU's memory does not hold all at once: it took {how}", RuntimeWarning, stacklevel=5)


def free(xp: Any) -> None:
    """Give back what the pool of a GPU library keeps for later."""
    if hasattr(xp, "get_default_memory_pool"):
        xp.get_default_memory_pool().free_all_blocks()
