"""Copies of ranges of the last dimension on the CPU, with or without an addition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def cast(x: Array, out: Array, addend: Array | None) -> None:
    """Write `x` (+ `addend`), rounded to `out`'s dtype, to `out`."""
    if addend is None:
        np.copyto(out, x, casting="unsafe")
    else:
        wide = np.float32 if x.itemsize == 2 else x.dtype
        np.copyto(out, np.add(x, addend, dtype=wide), casting="unsafe")
