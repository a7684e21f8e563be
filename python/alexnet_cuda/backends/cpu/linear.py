"""Fully connected layer on the CPU: ``y = x w^T + b``; x [N, in], w [out, in], b [out], y [N, out]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for
from ...base.params import DropoutParams, SgdParams
from . import dropout as dropouts
from .conv2d import activate, finish_wgrad, require_own_precision, through_mask

Array = npt.NDArray[Any]

# Columns of the result that one BLAS call computes; a fixed number, so that no sum depends on the number of threads.
_COLUMNS = 512


def _blocks(size: int) -> list[slice]:
    step = max(16, min(_COLUMNS, -(-size // 4)))
    return [slice(i, min(size, i + step)) for i in range(0, size, step)]


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
) -> None:
    """Write the product, plus addend and bias, through activation and dropout, to `out` [N, out]."""
    require_own_precision(x, precision)
    blocks = _blocks(len(weight))

    def block(i: int) -> None:
        y = out[:, blocks[i]]
        if addend is None:
            np.matmul(x, weight[blocks[i]].T, out=y)
        else:  # which may be `out`
            np.add(addend[:, blocks[i]], np.matmul(x, weight[blocks[i]].T), out=y)
        if bias is not None:
            np.add(y, bias[blocks[i]], out=y)
        activate(y, activation)

    parallel_for(block, len(blocks))
    if dropout is not None:
        dropouts.apply(out, dropout, out)


def dgrad(
    dy: Array,
    weight: Array,
    out: Array,
    *,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, ``dy w`` plus addend, through the mask, to `out` [N, in]."""
    require_own_precision(dy, precision)
    blocks = _blocks(weight.shape[1])

    def block(i: int) -> None:
        dx = np.matmul(dy, weight[:, blocks[i]])
        if addend is not None:
            np.add(dx, addend[:, blocks[i]], out=dx)
        through_mask(dx, None if mask is None else mask[:, blocks[i]], mask_scale)
        out[:, blocks[i]] = dx

    parallel_for(block, len(blocks))


def wgrad(
    x: Array,
    dy: Array,
    dweight: Array | None,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradients by weights, ``dy^T x`` [out, in], and bias [out], or update the weights by the former."""
    require_own_precision(x, precision)
    in_place = dweight is not None and not accumulate and dweight.flags.c_contiguous
    gradient = dweight if dweight is not None and in_place else np.empty((dy.shape[1], x.shape[1]), x.dtype)
    blocks = _blocks(len(gradient))
    ones = np.ones(len(dy), dy.dtype)

    def block(i: int) -> None:
        part = dy[:, blocks[i]]
        np.matmul(part.T, x, out=gradient[blocks[i]])
        if dbias is not None:
            np.matmul(ones, part, out=dbias[blocks[i]])

    parallel_for(block, len(blocks))
    finish_wgrad(gradient, None if in_place else dweight, accumulate, sgd)
