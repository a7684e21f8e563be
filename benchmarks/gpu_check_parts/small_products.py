"""The matrix products of the small set: convolution and fully connected layer, plain and with what is fused into them.

Lopsided shapes: H and W, R and S differ, no extent is a multiple of a tile, channels are no whole 16-byte chunks. The
others are AlexNet's layers on fewer positions: tiles, chunks, folding and splits of the kernels are the layers' own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alexnet_cuda import ops

from .small_set import Array, SmallSet


@dataclass(frozen=True)
class Convolution:
    """Sizes of a convolution: x [N, H, W, C] and weight [K, R, S, C / groups]."""

    x: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @property
    def options(self) -> dict[str, Any]:
        """What every direction is told."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}


CONVOLUTIONS = {
    "lopsided": Convolution((3, 6, 7, 6), 4, (2, 3), (1, 2), (0, 1), 2),
    "conv1": Convolution((2, 23, 19, 3), 96, (11, 11), (4, 4)),
    "conv2": Convolution((2, 7, 6, 96), 256, (5, 5), (1, 1), (2, 2), 2),
    "conv3": Convolution((2, 5, 4, 256), 384, (3, 3), (1, 1), (1, 1)),
    "whole chunks": Convolution((3, 7, 8, 48), 272, (3, 2), (1, 1), (1, 0), 2),
}
# rows, in, out
LINEARS = {"lopsided": (5, 19, 11), "fc6": (3, 1152, 264), "full batch": (130, 264, 200)}
# Each pins a tile or the splits, where the operands are whole chunks, so that every variant of the kernels runs.
FORCED = ("tile=128x128", "tile=128x96", "tile=192x48", "tile=64x64", "tile=16x128", "splits=3")
FORCED_CASES = ("whole chunks", "fc6")
FUSED_CASES = ("lopsided", *FORCED_CASES)
KEY: dict[str, Any] = {"seed": 0x123456789ABCDEF0, "purpose": 77, "step": 2**33 + 5}
RATES: dict[str, float] = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}


@dataclass(frozen=True)
class Product:
    """A convolution or a fully connected layer: the three directions as functions of their arrays."""

    name: str
    fprop: Callable[..., Any]
    dgrad: Callable[..., Any]
    wgrad: Callable[..., Any]
    x: tuple[int, ...]
    weight: tuple[int, ...]
    forward_depth: int
    backward_depth: int


def conv2d(s: SmallSet) -> None:
    """Every layer's shape; every tile on one of them."""
    for case, sizes in CONVOLUTIONS.items():
        weight = (sizes.filters, *sizes.kernel, sizes.x[3] // sizes.groups)
        taps = sizes.kernel[0] * sizes.kernel[1]

        def fprop(x: Any, w: Any, bias: Any, options: Any = sizes.options, **more: Any) -> Any:
            return ops.conv2d.fprop(x, w, bias, **options, **more)

        def dgrad(dy: Any, w: Any, sizes: Convolution = sizes, **more: Any) -> Any:
            return ops.conv2d.dgrad(dy, w, sizes.x, **sizes.options, **more)

        def wgrad(x: Any, dy: Any, sizes: Convolution = sizes, **more: Any) -> Any:
            return ops.conv2d.wgrad(x, dy, sizes.kernel, **sizes.options, **more)

        depths = taps * sizes.x[3] // sizes.groups, taps * sizes.filters // sizes.groups
        _product(s, case, Product("conv2d", fprop, dgrad, wgrad, sizes.x, weight, *depths))


def linear(s: SmallSet) -> None:
    """As `conv2d`."""
    for case, (rows, inputs, outputs) in LINEARS.items():
        directions = (ops.linear.fprop, ops.linear.dgrad, ops.linear.wgrad)
        _product(s, case, Product("linear", *directions, (rows, inputs), (outputs, inputs), inputs, outputs))


def _product(s: SmallSet, case: str, p: Product) -> None:
    for choice in ("", *(FORCED if case in FORCED_CASES and s.backend.kernels else ())):
        with s.forced(choice):
            _plain(s, case, p)
    if case in FUSED_CASES:
        _fused_forward(s, case, p)
        _fused_backward(s, case, p)
        _fused_update(s, case, p)


def _double(*arrays: Array) -> list[Array]:
    return [a.astype(np.float64) for a in arrays]


def _draw(s: SmallSet, p: Product) -> tuple[Array, Array, Array, Array]:
    """x, weight, bias and dy."""
    x, weight, bias = s.normal(*p.x), s.normal(*p.weight), s.parameters(p.weight[0])
    return x, weight, bias, s.normal(*p.fprop(*_double(x, weight, bias)).shape)


def _plain(s: SmallSet, case: str, p: Product) -> None:
    x, weight, bias, dy = _draw(s, p)
    x64, w64, b64, dy64 = _double(x, weight, bias, dy)
    how = {"precision": s.precision.option}
    dot, cuts = s.precision.dot, s.precision.cuts
    s.compare(
        f"{p.name}.fprop",
        case,
        lambda x, w, b: p.fprop(x, w, b, activation="relu", **how),
        (x, weight, bias),
        s.rounded(
            p.fprop(x64, w64, b64, activation="relu"),
            dot(p.forward_depth + 1, p.fprop(x64**2, w64**2, b64**2)),
            cuts(p.forward_depth),
        ),
    )
    s.compare(
        f"{p.name}.dgrad",
        case,
        lambda dy, w: p.dgrad(dy, w, **how),
        (dy, weight),
        s.rounded(p.dgrad(dy64, w64), dot(p.backward_depth, p.dgrad(dy64**2, w64**2)), cuts(p.backward_depth)),
    )
    depth = dy[..., 0].size
    dweight, dbias = p.wgrad(x64, dy64)
    squares, bias_squares = p.wgrad(x64**2, dy64**2)[0], p.wgrad(x64, dy64**2)[1]
    s.compare(
        f"{p.name}.wgrad",
        case,
        lambda x, dy: p.wgrad(x, dy, **how),
        (x, dy),
        s.sums(dweight, dot(depth, squares), cuts(depth)),
        s.sums(dbias, dot(depth, bias_squares)),
    )


def _fused_forward(s: SmallSet, case: str, p: Product) -> None:
    """A sum that goes on from an addend, activation and dropout; stored as sums are. Rate 1/2: its scale is exact."""
    x, weight, bias, dy = _draw(s, p)
    addend = s.parameters(*dy.shape)
    x64, w64, b64, a64 = _double(x, weight, bias, addend)
    dropped = ops.dropout.parameters(0.5, row_stride=dy.shape[-1], **KEY)
    fused: dict[str, Any] = {"activation": "relu", "dropout": dropped}

    def call(x: Any, w: Any, b: Any, a: Any) -> Any:
        out = s.backend.poisoned(dy.shape, addend.dtype)
        return p.fprop(x, w, b, addend=a, out=out, precision=s.precision.option, **fused)

    squares = p.fprop(x64**2, w64**2, b64**2) + a64**2
    terms = 2 * s.precision.dot(p.forward_depth + 2, squares)
    expected = p.fprop(x64, w64, b64, addend=a64, **fused)
    shared = 2 * s.precision.cuts(p.forward_depth)
    inputs = (x, weight, bias, addend)
    s.compare(f"{p.name}.fprop", f"{case}, fused", call, inputs, s.sums(expected, terms, shared))


def _fused_backward(s: SmallSet, case: str, p: Product) -> None:
    """An addend, and the mask of a ReLU and a dropout before."""
    _, weight, _, dy = _draw(s, p)
    mask, addend = s.normal(*p.x), s.parameters(*p.x)
    w64, dy64, m64, a64 = _double(weight, dy, mask, addend)

    def call(dy: Any, w: Any, m: Any, a: Any) -> Any:
        return p.dgrad(dy, w, mask=m, mask_scale=2.0, addend=a, precision=s.precision.option)

    terms = 2 * s.precision.dot(p.backward_depth + 1, p.dgrad(dy64**2, w64**2) + a64**2)
    expected = p.dgrad(dy64, w64, mask=m64, mask_scale=2.0, addend=a64)
    shared = 2 * s.precision.cuts(p.backward_depth)
    inputs = (dy, weight, mask, addend)
    s.compare(f"{p.name}.dgrad", f"{case}, fused", call, inputs, s.rounded(expected, terms, shared))


def _fused_update(s: SmallSet, case: str, p: Product) -> None:
    """Adding to a gradient, and the update of weights, velocity and copy in the place of one."""
    x, _, _, dy = _draw(s, p)
    before, weight, velocity = (s.parameters(*p.weight) for _ in range(3))
    x64, dy64, before64, w, v = _double(x, dy, before, weight, velocity)
    dweight, dbias = p.wgrad(x64, dy64)
    depth, cuts = dy[..., 0].size, s.precision.cuts(dy[..., 0].size)
    squares, bias_squares = p.wgrad(x64**2, dy64**2)[0], p.wgrad(x64, dy64**2)[1]
    bias_terms = s.precision.dot(depth, bias_squares)
    s.compare(
        f"{p.name}.wgrad",
        f"{case}, accumulated",
        lambda x, dy, out: p.wgrad(x, dy, accumulate=True, out=out, precision=s.precision.option),
        (x, dy, before),
        s.sums(before64 + dweight, s.precision.dot(depth + 1, squares + before64**2), cuts),
        s.sums(dbias, bias_terms),
    )
    terms = RATES["learning_rate"] * s.precision.dot(depth, squares) + 6 * (np.abs(w) + np.abs(v) + np.abs(dweight))
    ops.sgd.update(ops.sgd.SgdParams(w, v, **RATES), dweight)
    narrow = x.dtype.itemsize == 2

    def call(x: Any, dy: Any, w: Any, v: Any) -> Any:
        copy = s.backend.poisoned(p.weight, x.dtype) if narrow else None
        params = ops.sgd.SgdParams(w, v, copy=copy, **RATES)
        _, dbias = p.wgrad(x, dy, sgd=params, precision=s.precision.option)
        return (w, v, dbias, copy) if narrow else (w, v, dbias)

    shared = cuts + 6  # rounded rates
    copies = [s.rounded(w, terms, shared)] if narrow else []
    after = (s.sums(w, terms, shared), s.sums(v, terms, shared), s.sums(dbias, bias_terms), *copies)
    s.compare(f"{p.name}.wgrad", f"{case}, updated", call, (x, dy, weight, velocity), *after)


PRODUCTS: dict[str, Callable[[SmallSet], None]] = {"conv2d": conv2d, "linear": linear}
