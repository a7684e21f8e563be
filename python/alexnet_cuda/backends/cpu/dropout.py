"""Dropout on the CPU, its mask recomputed from Philox whenever it is needed; paper section 4.2.

Element (row, column) of x [rows, columns] has the number ``start + row * row_stride + column``; it is dropped when its
32 random bits are less than ``round(rate * 2**32)``, else multiplied by `scale`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for
from ...base.params import DropoutParams
from ...base.philox import bits
from .masks import keep

Array = npt.NDArray[Any]


def apply(x: Array, p: DropoutParams, out: Array) -> None:
    """Write the masked and scaled `x` [rows, columns] to `out`, which may be `x`; the backward pass is the same."""
    rows, columns = x.shape
    threshold = round(p.rate * 2**32)
    scale = x.dtype.type(np.float32(p.scale))
    step = p.step if isinstance(p.step, int) else int(p.step.item())
    words = bits(p.seed, p.purpose, step, p.start, (rows - 1) * p.row_stride + columns) if x.size else None
    if words is None:
        return
    view = np.lib.stride_tricks.as_strided(words, (rows, columns), (4 * p.row_stride, 4), writeable=False)
    height = max(1, 65536 // columns)

    def block(i: int) -> None:
        part = slice(i * height, (i + 1) * height)
        np.multiply(x[part], scale, out=out[part])
        keep(out[part], view[part] >= threshold)

    parallel_for(block, -(-rows // height))
