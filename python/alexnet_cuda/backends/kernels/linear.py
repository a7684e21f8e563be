"""Fully connected layer: ``y = activation(x w^T + b)``; x [N, in], w [out, in].

It is the convolution of 1 x 1 images with 1 x 1 filters; for few rows the splits of the reduction fill a GPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...base.array import Array
from ...base.params import Conv2dShape
from . import conv2d


def fprop(x: Array, weight: Array, bias: Array | None, activation: str, out: Array, **options: Any) -> None:
    """Write the product, plus addend and bias, through activation and dropout, to `out` [N, out]."""
    conv2d.fprop(x, weight, bias, as_conv2d(*x.shape, weight.shape[0]), activation, out, **options)


def dgrad(dy: Array, weight: Array, out: Array, **options: Any) -> None:
    """Write the gradient by the input, ``dy w`` plus addend, through the mask, to `out` [N, in]."""
    conv2d.dgrad(dy, weight, as_conv2d(*out.shape, weight.shape[0]), out, **options)


def wgrad(x: Array, dy: Array, dweight: Array | None, dbias: Array | None, **options: Any) -> None:
    """Write the gradients by weights, ``dy^T x`` [out, in], and bias [out], or update the weights by the former."""
    conv2d.wgrad(x, dy, as_conv2d(*x.shape, dy.shape[1]), dweight, dbias, **options)


@lru_cache
def as_conv2d(rows: int, inputs: int, outputs: int) -> Conv2dShape:
    """The sizes of a layer as those of a convolution."""
    return Conv2dShape(rows, 1, 1, inputs, outputs, 1, 1, 1, 1, (1, 1), (0, 0), 1)
