"""Grouped 2-D convolution on the GPU: implicit GEMM on tensor cores; x [N, H, W, C], weight [K, R, S, C / groups].

Bias and the gradients of weight and bias are float32 whatever the precision: they belong to the weights that the
optimiser keeps, of which `weight` is the copy in x's dtype.
"""

from __future__ import annotations

from typing import Any

from ..cpu.conv2d import Conv2dShape
from ._runtime import Array, addresses, empty, extension, stream


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    s: Conv2dShape,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the convolution, plus addend and bias, through the activation, to `out` [N, P, Q, K].

    Parameters
    ----------
    out : array of x's dtype, or float32
    addend : float32 array [N, P, Q, K], optional
        What an earlier call, on other channels, wrote to a float32 `out`.
    precision : {"float32", "tf32", "bfloat16", "float16"}, optional
        x's dtype by default; "tf32" takes float32 arrays.

    Raises
    ------
    TypeError
        A bias or addend that is not float32.
    """
    require_float32(bias=bias, addend=addend)
    options = _problem(s, precision or x.dtype.name)
    extension().conv2d_fprop(
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
    s: Conv2dShape,
    out: Array,
    *,
    mask: Array | None = None,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, plus addend, to `out` [N, H, W, C].

    Parameters
    ----------
    mask : array [N, H, W, C] of dy's dtype, optional
        The output of the ReLU before: the result is zero where it is not positive.
    addend, precision
        As in `fprop`.
    """
    require_float32(addend=addend)
    options = _problem(s, precision or dy.dtype.name)
    extension().conv2d_dgrad(
        **addresses(dy=dy, weight=weight, mask=mask, addend=addend, dx=out),
        **_workspace("dgrad", options),
        dx_float=out.dtype.name == "float32",
        **options,
        stream=stream(),
    )


def wgrad(
    x: Array,
    dy: Array,
    s: Conv2dShape,
    dweight: Array,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    precision: str | None = None,
) -> None:
    """Write the gradients by weights [K, R, S, C / groups] and bias [K], float32; `accumulate` adds to the former."""
    require_float32(dweight=dweight, dbias=dbias)
    options = _problem(s, precision or x.dtype.name)
    extension().conv2d_wgrad(
        **addresses(x=x, dy=dy, dweight=dweight, dbias=dbias),
        **_workspace("wgrad", options),
        accumulate=accumulate,
        **options,
        stream=stream(),
    )


def require_float32(**arrays: Array | None) -> None:
    """Raise TypeError for an array that is not float32; None is passed over."""
    for name, array in arrays.items():
        if array is not None and array.dtype.name != "float32":
            raise TypeError(f"{name} is {array.dtype}; expected float32 in every precision")


def _problem(s: Conv2dShape, precision: str) -> dict[str, Any]:
    return {
        "shape": (s.N, s.H, s.W, s.C, s.K, s.R, s.S),
        "stride": s.stride,
        "padding": s.padding,
        "groups": s.groups,
        "pitch": (0, 0, 0),
        "precision": precision,
    }


def _workspace(direction: str, options: dict[str, Any]) -> dict[str, int]:
    size = extension().conv2d_workspace_bytes(direction=direction, **options)
    # CuPy's pool hands the same memory out again in stream order, so it may be dropped before the kernels ran.
    return {**addresses(workspace=empty(size, "uint8")), "workspace_bytes": size}
