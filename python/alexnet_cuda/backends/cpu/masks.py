"""Zeros where a mask says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import scratch

Array = npt.NDArray[Any]


def keep(values: Array, chosen: npt.NDArray[np.bool_]) -> None:
    """Make `values` zero, in place, where they are not `chosen`: infinities and NaN too, which a product would leave.

    By their bits: to assign where a mask says so is up to ten times slower.
    """
    integers = np.dtype(f"i{values.itemsize}")
    ones = scratch("keep", values.shape, integers)
    np.negative(chosen.view(np.int8), out=ones, dtype=integers)
    bits = values.view(integers)
    np.bitwise_and(bits, ones, out=bits)
