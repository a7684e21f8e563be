"""Fully connected layer on the CPU: ``y = x w^T + b``; x [N, in], w [out, in], b [out], y [N, out]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .conv2d import _activate
from .parallel import parallel_for

Array = npt.NDArray[Any]

# Columns of the result that one BLAS call computes; a fixed number, so that no sum depends on the number of threads.
_COLUMNS = 512


def _blocks(size: int) -> list[slice]:
    step = max(16, min(_COLUMNS, -(-size // 4)))
    return [slice(i, min(size, i + step)) for i in range(0, size, step)]


def fprop(x: Array, weight: Array, bias: Array | None, activation: str, out: Array) -> None:
    """Write the layer's output through the activation to `out` [N, out]."""
    blocks = _blocks(len(weight))

    def block(i: int) -> None:
        y = out[:, blocks[i]]
        np.matmul(x, weight[blocks[i]].T, out=y)
        if bias is not None:
            np.add(y, bias[blocks[i]], out=y)
        _activate(y, activation)

    parallel_for(block, len(blocks))


def dgrad(dy: Array, weight: Array, out: Array) -> None:
    """Write the gradient by the input, ``dy w``, to `out` [N, in]."""
    blocks = _blocks(weight.shape[1])
    parallel_for(lambda i: np.matmul(dy, weight[:, blocks[i]], out=out[:, blocks[i]]), len(blocks))


def wgrad(x: Array, dy: Array, dweight: Array, dbias: Array | None) -> None:
    """Write the gradients by weights, ``dy^T x`` [out, in], and bias [out]."""
    blocks = _blocks(len(dweight))
    ones = np.ones(len(dy), dy.dtype)

    def block(i: int) -> None:
        part = dy[:, blocks[i]]
        np.matmul(part.T, x, out=dweight[blocks[i]])
        if dbias is not None:
            np.matmul(ones, part, out=dbias[blocks[i]])

    parallel_for(block, len(blocks))
