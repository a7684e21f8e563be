"""All of the small set but the matrix products. Bounds are derived as in tests/ops, where the reasons stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tests.ops.tolerance import dot_terms

from alexnet_cuda import ops
from alexnet_cuda.base.params import Views

from .small_products import KEY, RATES
from .small_set import Array, Expected, SmallSet

Shape = tuple[int, ...]
ACTIVATIONS: dict[str, Shape] = {"lopsided": (3, 5, 7, 11), "vectors": (2, 6, 6, 256)}
# x, window, stride
POOLS: dict[str, tuple[Shape, int, int]] = {
    "lopsided": ((2, 8, 11, 5), 3, 2),
    "pool1": ((2, 15, 13, 96), 3, 2),
    "gaps": ((1, 7, 6, 16), 2, 3),
}
# x, groups, beta
NORMS: dict[str, tuple[Shape, int, float]] = {
    "lopsided": ((2, 7, 6, 10), 2, 0.75),
    "norm1": ((2, 9, 7, 96), 2, 0.75),
    "another beta": ((1, 7, 5, 32), 1, 0.6),
}
SOFTMAXES = {"lopsided": (3, 7), "fc8": (5, 1000)}
ROWS: dict[str, tuple[int, int]] = {"lopsided": (3, 7), "fc7": (4, 4096), "many": (700, 48)}
# images, height, width, crop
CROPS = {"lopsided": (3, 11, 9, 7), "227 of 256": (2, 256, 256, 227)}
LARGE_LOGITS = 1e4


def _double(*arrays: Array) -> list[Array]:
    return [a.astype(np.float64) for a in arrays]


def relu(s: SmallSet) -> None:
    """Exact in every precision."""
    for case, shape in ACTIVATIONS.items():
        x, dy = s.normal(*shape), s.normal(*shape)
        y = np.maximum(x, x.dtype.type(0))
        s.compare("relu.fprop", case, ops.relu.fprop, (x,), Expected(y))
        s.compare("relu.bprop", case, ops.relu.bprop, (dy, y), Expected(np.where(y > 0, dy, dy.dtype.type(0))))


def tanh(s: SmallSet) -> None:
    """Libraries document up to 4 units in the last place: 8 roundings."""
    for case, shape in ACTIVATIONS.items():
        x, dy = s.normal(*shape), s.normal(*shape)
        y = np.tanh(x.astype(np.float64))
        s.compare("tanh.fprop", case, ops.tanh.fprop, (x,), s.rounded(y, 8 * np.abs(y), 1))
        given = s.precision.array(y)
        y64, dy64 = _double(given, dy)
        s.compare("tanh.bprop", case, ops.tanh.bprop, (dy, given), s.rounded(dy64 * (1 - y64**2), 3 * np.abs(dy64)))


def max_pool(s: SmallSet) -> None:
    """Values and argmax exact; the gradient adds the windows that meet in an element."""
    for case, (shape, size, stride) in POOLS.items():
        window: dict[str, Any] = {"size": size, "stride": stride}
        x = s.normal(*shape)
        y, argmax = ops.max_pool.fprop(x.astype(np.float64), **window)
        exact = Expected(y.astype(x.dtype)), Expected(argmax)
        s.compare("max_pool.fprop", case, lambda x, w=window: ops.max_pool.fprop(x, **w), (x,), *exact)
        dy = s.normal(*y.shape)
        (dy64,) = _double(dy)
        terms = _overlap(size, stride) * ops.max_pool.bprop(np.abs(dy64), argmax, shape, **window)
        s.compare(
            "max_pool.bprop",
            case,
            lambda dy, at, shape=shape, w=window: ops.max_pool.bprop(dy, at, shape, **w),
            (dy, argmax),
            s.rounded(ops.max_pool.bprop(dy64, argmax, shape, **window), terms),
        )


def _overlap(size: int, stride: int) -> int:
    return int(min(size, -(-size // stride)) ** 2)


def avg_pool(s: SmallSet) -> None:
    """An addition an element of the window, the factor and its product."""
    for case, (shape, size, stride) in POOLS.items():
        window: dict[str, Any] = {"size": size, "stride": stride}
        x = s.normal(*shape)
        (x64,) = _double(x)
        y = ops.avg_pool.fprop(x64, **window)
        terms = (size**2 + 2) * ops.avg_pool.fprop(np.abs(x64), **window)
        s.compare("avg_pool.fprop", case, lambda x, w=window: ops.avg_pool.fprop(x, **w), (x,), s.rounded(y, terms, 1))
        dy = s.normal(*y.shape)
        (dy64,) = _double(dy)
        terms = (size**2 + 2) * ops.avg_pool.bprop(np.abs(dy64), shape, **window)
        s.compare(
            "avg_pool.bprop",
            case,
            lambda dy, shape=shape, w=window: ops.avg_pool.bprop(dy, shape, **w),
            (dy,),
            s.rounded(ops.avg_pool.bprop(dy64, shape, **window), terms, 1),
        )


def lrn(s: SmallSet) -> None:
    """Alone, with the ReLU before, and fused with the max-pool after it."""
    for case, (shape, groups, beta) in NORMS.items():
        p = ops.lrn.parameters(shape[3], beta=beta, groups=groups, alpha=0.05)
        x, dy = s.normal(*shape), s.normal(*shape)
        x64, dy64 = _double(x, dy)
        units, y = _lrn_units(p), ops.lrn.fprop(x64, p)
        s.compare("lrn.fprop", case, lambda x, p=p: ops.lrn.fprop(x, p), (x,), s.rounded(y, units * np.abs(y), units))
        for masked in (False, True):
            s.compare(
                "lrn.bprop",
                case + ", ReLU before" * masked,
                lambda dy, x, p=p, masked=masked: ops.lrn.bprop(dy, x, p, relu=masked),
                (dy, x),
                s.rounded(
                    ops.lrn.bprop(dy64, x64, p, relu=masked),
                    (2 * units + p.size + 5) * _lrn_gradient_size(dy64, x64, p),
                    units,
                ),
            )


def _lrn_units(p: Any) -> float:
    """The window's sum, which beta scales, 8 roundings of the power, 2 of alpha and the quotient."""
    return float(p.beta * (p.size + 3) + 10)


def _lrn_gradient_size(dy: Array, x: Array, p: Any) -> Array:
    # The gradient's two terms without sign: what is added, and so what rounding is relative to.
    x, dy = np.abs(x) + 1e-30, np.abs(dy)
    first = dy * ops.lrn.fprop(x, p) / x
    size: Array = 2 * first - ops.lrn.bprop(dy, x, p)
    return size


def lrn_max_pool(s: SmallSet) -> None:
    """Of the forward pass the values: which of two nearly equal ones is larger is up to rounding."""
    for case, (shape, groups, beta) in NORMS.items():
        p = ops.lrn.parameters(shape[3], beta=beta, groups=groups, alpha=0.05)
        x = s.normal(*shape)
        (x64,) = _double(x)
        units = _lrn_units(p)
        y, argmax = ops.lrn_max_pool.fprop(x64, p)
        s.compare(
            "lrn_max_pool.fprop",
            case,
            lambda x, p=p: ops.lrn_max_pool.fprop(x, p)[0],
            (x,),
            s.rounded(y, units * np.abs(y), units),
        )
        dy = s.normal(*y.shape)
        (dy64,) = _double(dy)
        pooled = ops.max_pool.bprop(np.abs(dy64), argmax, shape)
        terms = (2 * units + p.size + 5 + _overlap(3, 2)) * _lrn_gradient_size(pooled, x64, p)
        s.compare(
            "lrn_max_pool.bprop",
            case,
            lambda dy, at, x, p=p: ops.lrn_max_pool.bprop(dy, at, x, p, relu=True),
            (dy, argmax, x),
            s.rounded(ops.lrn_max_pool.bprop(dy64, argmax, x64, p, relu=True), terms, units),
        )


def softmax_cross_entropy(s: SmallSet) -> None:
    """Loss, correctness and gradient, also of large logits."""
    for case, (rows, classes) in SOFTMAXES.items():
        for scale, note in ((1.0, ""), (LARGE_LOGITS, ", large logits")):
            logits = s.precision.array(scale * s.normal(rows, classes).astype(np.float64))
            _softmax_cross_entropy(s, case + note, logits, np.arange(rows, dtype=np.int64) % classes)


def _softmax_cross_entropy(s: SmallSet, case: str, logits: Array, labels: Array) -> None:
    (wide,) = _double(logits)
    gradient = np.empty_like(wide)
    loss, correct = ops.softmax_cross_entropy.fprop(wide, labels, scale=0.25, dlogits=gradient)
    # A logit less the largest is off by as many units as it is large, and so is its exponential, relative to itself;
    # the sum of the exponentials adds less than 5 sqrt(classes), and 8 are for what follows.
    units = 5 * np.sqrt(logits.shape[1]) + 8
    away = wide.max(axis=1, keepdims=True) - wide
    at_label = labels[:, None] == np.arange(logits.shape[1])

    def call(logits: Any, labels: Any) -> tuple[Any, ...]:
        dlogits = s.backend.poisoned(logits.shape, s.precision.dtype)
        return (*ops.softmax_cross_entropy.fprop(logits, labels, scale=0.25, dlogits=dlogits), dlogits)

    terms = units + np.log(logits.shape[1]) + away[at_label] + np.abs(loss)
    gradient_terms = 0.25 * ((gradient / 0.25 + at_label) * (units + away) + at_label)
    s.compare(
        "softmax_cross_entropy.fprop and bprop",
        case,
        call,
        (logits, labels),
        s.sums(loss, terms, units),
        Expected(correct),
        s.rounded(gradient, gradient_terms, units),
    )


def dropout(s: SmallSet) -> None:
    """To the bit what NumPy draws."""
    for case, shape in ROWS.items():
        x = s.normal(*shape)
        # The product with the float32 scale is exact in float64, so it rounds once, as in a kernel.
        scale = np.float64(np.float32(1 / (1 - 0.3)))
        p = ops.dropout.parameters(0.3, start=8, row_stride=shape[1] + 3, **KEY)
        kept = ops.dropout.apply(np.ones(shape), p) != 0
        expected = np.where(kept, x.astype(np.float64) * scale, 0).astype(x.dtype)
        s.compare("dropout.apply", case, lambda x, p=p: ops.dropout.apply(x, p), (x,), Expected(expected))


def sgd(s: SmallSet) -> None:
    """Weights and velocity as the optimiser keeps them; gradient and copy in this precision."""
    for case, shape in ROWS.items():
        weight, velocity, gradient = s.parameters(*shape), s.parameters(*shape), s.normal(*shape)
        w, v, g = _double(weight, velocity, gradient)
        terms = 6 * (np.abs(w) + np.abs(v) + np.abs(g))
        ops.sgd.update(ops.sgd.SgdParams(w, v, **RATES), g)
        narrow = gradient.dtype.itemsize == 2

        def call(w: Any, v: Any, g: Any, narrow: bool = narrow) -> tuple[Any, ...]:
            copy = s.backend.poisoned(w.shape, g.dtype) if narrow else None
            ops.sgd.update(ops.sgd.SgdParams(w, v, copy=copy, **RATES), g)
            return (w, v, copy) if narrow else (w, v)

        copies = [s.rounded(w, terms, 6)] if narrow else []
        s.compare(
            "sgd.update", case, call, (weight, velocity, gradient), s.sums(w, terms, 6), s.sums(v, terms, 6), *copies
        )


def copy(s: SmallSet) -> None:
    """Ranges of columns, between this precision and that of sums, with an addition."""
    for case, (rows, columns) in ROWS.items():
        wide, addend = s.normal(rows, columns + 8), s.normal(rows, columns)
        wide64, addend64 = _double(wide[:, 8:], addend)
        dtype = s.precision.sums.dtype

        def widen(x: Any, shape: Shape = addend.shape, dtype: Any = dtype) -> Any:
            return ops.copy.cast(x[:, 8:], out=s.backend.poisoned(shape, dtype))

        def add(x: Any, addend: Any) -> Any:
            return ops.copy.cast(x[:, 8:], out=s.backend.poisoned(addend.shape, s.precision.dtype), addend=addend)

        s.compare("copy.cast", case, widen, (wide,), Expected(wide64.astype(dtype)))
        terms = np.abs(wide64) + np.abs(addend64)
        s.compare("copy.cast", f"{case}, added", add, (wide, addend), s.rounded(wide64 + addend64, terms))


def bias(s: SmallSet) -> None:
    """The kernels alone: on the CPU the bias is part of the products."""
    if not s.backend.kernels:
        return
    from alexnet_cuda.backends.kernels import bias as kernels

    for case, (rows, columns) in ROWS.items():
        x, values = s.normal(rows, columns), s.parameters(columns)
        x64, values64 = _double(x, values)

        def fprop(x: Any, values: Any) -> Any:
            out = s.backend.poisoned(x.shape, x.dtype)
            kernels.fprop(x, values, out)
            return out

        def bprop(dy: Any, dtype: Any = values.dtype) -> Any:
            out = s.backend.poisoned(dy.shape[-1:], dtype)
            kernels.bprop(dy, out)
            return out

        terms = np.abs(x64) + np.abs(values64)
        # In a column x lies on the result's grid or a finer one, so the roundings are largely those of one number.
        shared = 4 * s.precision.output / s.precision.accumulate / np.sqrt(columns)
        s.compare("bias.fprop", case, fprop, (x, values), s.rounded(x64 + values64, terms, shared))
        s.compare("bias.bprop", case, bprop, (x,), s.sums(x64.sum(axis=0), dot_terms(rows, (x64**2).sum(axis=0))))


def augment(s: SmallSet) -> None:
    """Crop, mirror and colour shift of bytes."""
    options: dict[str, Any] = {"mean": (123.0, 117.0, 104.0), "std": (58.0, 57.0, 56.0), "channel_order": "BGR"}
    for case, (n, height, width, size) in CROPS.items():
        images = s.random.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
        top, left = (s.random.integers(0, extent - size + 1, n) for extent in (height, width))
        shift = (20 * s.random.standard_normal((n, 3))).astype(np.float32)
        views = (top.astype(np.int64), left.astype(np.int64), np.arange(n) % 2 == 1, shift)
        expected = np.empty((n, size, size, 3))
        ops.augment.fprop(images, Views(*views), out=expected, **options)

        def call(images: Any, *views: Any, shape: Shape = expected.shape) -> Any:
            out = s.backend.poisoned(shape, s.precision.dtype)
            return ops.augment.fprop(images, Views(*views), out=out, **options)

        # The scale, two products and two sums, of numbers up to 255, the shift and the mean, over std.
        terms = 5 * (255 + float(np.abs(shift).max()) + 123) / 56
        # Only 256 values a channel and image: their roundings are the same ones again and again.
        shared = 2 + 4 * s.precision.output / s.precision.accumulate / np.sqrt(256 * 3 * n)
        s.compare("augment.fprop", case, call, (images, *views), s.rounded(expected, terms, shared))


CALLS: dict[str, Callable[[SmallSet], None]] = {
    "relu": relu,
    "tanh": tanh,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "lrn": lrn,
    "lrn_max_pool": lrn_max_pool,
    "softmax_cross_entropy": softmax_cross_entropy,
    "dropout": dropout,
    "sgd": sgd,
    "copy": copy,
    "bias": bias,
    "augment": augment,
}
