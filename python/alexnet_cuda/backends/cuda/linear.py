"""Fully connected layer on the GPU: ``y = activation(x w^T + b)``; x [N, in], w [out, in], on convolution's kernels.

Dtypes as there: bias and the gradients of weight and bias are float32 whatever the precision.
"""

from __future__ import annotations

from typing import Any

from ._runtime import Array, addresses, empty, extension, stream
from .conv2d import require_float32


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the output, plus addend, through the activation, to `out` [N, out]; options as in `conv2d.fprop`."""
    require_float32(bias=bias, addend=addend)
    options = _problem(x.shape[0], weight, precision or x.dtype.name)
    extension().linear_fprop(
        **addresses(x=x, weight=weight, bias=bias, addend=addend, y=out),
        **_workspace("fprop", options),
        y_float=out.dtype.name == "float32",
        activation=activation,
        **options,
        stream=stream(),
    )


def dgrad(
    dy: Array,
    weight: Array,
    out: Array,
    *,
    mask: Array | None = None,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, ``dy w`` plus addend, to `out` [N, in]; options as in `conv2d.dgrad`."""
    require_float32(addend=addend)
    options = _problem(dy.shape[0], weight, precision or dy.dtype.name)
    extension().linear_dgrad(
        **addresses(dy=dy, weight=weight, mask=mask, addend=addend, dx=out),
        **_workspace("dgrad", options),
        dx_float=out.dtype.name == "float32",
        **options,
        stream=stream(),
    )


def wgrad(
    x: Array,
    dy: Array,
    dweight: Array,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    precision: str | None = None,
) -> None:
    """Write the gradients by weights, ``dy^T x`` [out, in], and bias [out]; options as in `conv2d.wgrad`."""
    require_float32(dweight=dweight, dbias=dbias)
    options = _problem(x.shape[0], dweight, precision or x.dtype.name)
    extension().linear_wgrad(
        **addresses(x=x, dy=dy, dweight=dweight, dbias=dbias),
        **_workspace("wgrad", options),
        accumulate=accumulate,
        **options,
        stream=stream(),
    )


def _problem(rows: int, weight: Array, precision: str) -> dict[str, Any]:
    return {"shape": (rows, weight.shape[1], weight.shape[0]), "pitch": (0, 0, 0), "precision": precision}


def _workspace(direction: str, options: dict[str, Any]) -> dict[str, int]:
    size = extension().linear_workspace_bytes(direction=direction, **options)
    return {**addresses(workspace=empty(size, "uint8")), "workspace_bytes": size}
