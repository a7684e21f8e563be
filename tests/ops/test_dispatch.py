"""What every operation refuses alike: things that are no arrays, other dtypes, arrays that are not contiguous."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import ops

from .backends import Backend
from .tolerance import Precision

Array = npt.NDArray[Any]
POOLED = (2, 2, 3, 4)
NORM = ops.lrn.parameters(4)
DROPOUT = ops.dropout.parameters(0.5, seed=1, purpose=2, step=3, row_stride=4)
# Name: the arrays' shapes in order, and the call. All arrays are of one precision but for those named in INTEGERS.
CALLS: dict[str, tuple[dict[str, tuple[int, ...]], Callable[..., Any]]] = {
    "conv2d.fprop": (
        {"x": (2, 5, 6, 4), "weight": (6, 3, 2, 4), "bias": (6,), "out": (2, 3, 5, 6)},
        lambda x, weight, bias, out: ops.conv2d.fprop(x, weight, bias, out=out),
    ),
    "conv2d.dgrad": (
        {"dy": (2, 3, 5, 6), "weight": (6, 3, 2, 4), "out": (2, 5, 6, 4)},
        lambda dy, weight, out: ops.conv2d.dgrad(dy, weight, (2, 5, 6, 4), out=out),
    ),
    "conv2d.wgrad": (
        {"x": (2, 5, 6, 4), "dy": (2, 3, 5, 6), "out": (6, 3, 2, 4), "bias_out": (6,)},
        lambda x, dy, out, bias_out: ops.conv2d.wgrad(x, dy, (3, 2), out=out, bias_out=bias_out),
    ),
    "linear.fprop": (
        {"x": (2, 7), "weight": (5, 7), "bias": (5,), "out": (2, 5)},
        lambda x, weight, bias, out: ops.linear.fprop(x, weight, bias, out=out),
    ),
    "linear.dgrad": (
        {"dy": (2, 5), "weight": (5, 7), "out": (2, 7)},
        lambda dy, weight, out: ops.linear.dgrad(dy, weight, out=out),
    ),
    "linear.wgrad": (
        {"x": (2, 7), "dy": (2, 5), "out": (5, 7), "bias_out": (5,)},
        lambda x, dy, out, bias_out: ops.linear.wgrad(x, dy, out=out, bias_out=bias_out),
    ),
    "relu.fprop": ({"x": (3, 4), "out": (3, 4)}, lambda x, out: ops.relu.fprop(x, out=out)),
    "relu.bprop": ({"dy": (3, 4), "y": (3, 4), "out": (3, 4)}, lambda dy, y, out: ops.relu.bprop(dy, y, out=out)),
    "tanh.fprop": ({"x": (3, 4), "out": (3, 4)}, lambda x, out: ops.tanh.fprop(x, out=out)),
    "tanh.bprop": ({"dy": (3, 4), "y": (3, 4), "out": (3, 4)}, lambda dy, y, out: ops.tanh.bprop(dy, y, out=out)),
    "logistic.fprop": ({"x": (3, 4), "out": (3, 4)}, lambda x, out: ops.logistic.fprop(x, out=out)),
    "logistic.bprop": (
        {"dy": (3, 4), "y": (3, 4), "out": (3, 4)},
        lambda dy, y, out: ops.logistic.bprop(dy, y, out=out),
    ),
    "lrn.fprop": ({"x": (2, 5, 7, 4), "out": (2, 5, 7, 4)}, lambda x, out: ops.lrn.fprop(x, NORM, out=out)),
    "lrn.bprop": (
        {"dy": (2, 5, 7, 4), "x": (2, 5, 7, 4), "out": (2, 5, 7, 4)},
        lambda dy, x, out: ops.lrn.bprop(dy, x, NORM, out=out),
    ),
    "max_pool.fprop": (
        {"x": (2, 5, 7, 4), "out": POOLED, "argmax_out": POOLED},
        lambda x, out, argmax_out: ops.max_pool.fprop(x, out=out, argmax_out=argmax_out),
    ),
    "max_pool.bprop": (
        {"dy": POOLED, "argmax": POOLED, "out": (2, 5, 7, 4)},
        lambda dy, argmax, out: ops.max_pool.bprop(dy, argmax, (2, 5, 7, 4), out=out),
    ),
    "avg_pool.fprop": ({"x": (2, 5, 7, 4), "out": POOLED}, lambda x, out: ops.avg_pool.fprop(x, out=out)),
    "avg_pool.bprop": (
        {"dy": POOLED, "out": (2, 5, 7, 4)},
        lambda dy, out: ops.avg_pool.bprop(dy, (2, 5, 7, 4), out=out),
    ),
    "lrn_max_pool.fprop": (
        {"x": (2, 5, 7, 4), "out": POOLED, "argmax_out": POOLED},
        lambda x, out, argmax_out: ops.lrn_max_pool.fprop(x, NORM, out=out, argmax_out=argmax_out),
    ),
    "lrn_max_pool.bprop": (
        {"dy": POOLED, "argmax": POOLED, "x": (2, 5, 7, 4), "out": (2, 5, 7, 4)},
        lambda dy, argmax, x, out: ops.lrn_max_pool.bprop(dy, argmax, x, NORM, out=out),
    ),
    "dropout.apply": ({"x": (3, 4), "out": (3, 4)}, lambda x, out: ops.dropout.apply(x, DROPOUT, out=out)),
    "copy.cast": (
        {"x": (3, 4), "out": (3, 4), "addend": (3, 4)},
        lambda x, out, addend: ops.copy.cast(x, out=out, addend=addend),
    ),
    "softmax_cross_entropy.fprop": (
        {"logits": (2, 5), "labels": (2,), "dlogits": (2, 5)},
        lambda logits, labels, dlogits: ops.softmax_cross_entropy.fprop(logits, labels, dlogits=dlogits),
    ),
    "sgd.update": (
        {"weight": (3, 4), "velocity": (3, 4), "gradient": (3, 4)},
        lambda weight, velocity, gradient: ops.sgd.update(ops.sgd.SgdParams(weight, velocity, 0.1), gradient),
    ),
}
# Of the dtype of sums.
WITH_PARAMETERS = {"conv2d.fprop": {"bias"}, "linear.fprop": {"bias"}, "sgd.update": {"weight", "velocity"}}
WITH_PARAMETERS |= {name: {"out", "bias_out"} for name in ("conv2d.wgrad", "linear.wgrad")}
INTEGERS = {"argmax": np.uint8, "argmax_out": np.uint8, "labels": np.int64}
# The arguments whose dtype the others follow may be of any precision themselves.
FIRST = {name: next(iter(shapes)) for name, (shapes, _) in CALLS.items()} | {
    "conv2d.dgrad": "weight",
    "linear.dgrad": "weight",
    "relu.bprop": "y",
    "tanh.bprop": "y",
    "logistic.bprop": "y",
    "lrn.bprop": "x",
    "lrn_max_pool.bprop": "x",
}
every_argument = pytest.mark.parametrize(
    ("call", "argument"), [(call, argument) for call, (shapes, _) in CALLS.items() for argument in shapes]
)


def arguments(call: str, precision: Precision) -> dict[str, Array]:
    parameters = dict.fromkeys(WITH_PARAMETERS.get(call, ()), precision.sums.dtype)
    dtypes = {**INTEGERS, **parameters}
    return {name: np.zeros(shape, dtypes.get(name, precision.dtype)) for name, shape in CALLS[call][0].items()}


@pytest.mark.parametrize("call", CALLS)
def test_good_arguments_are_taken(backend: Backend, precision: Precision, call: str) -> None:
    CALLS[call][1](**{name: backend.to_device(a) for name, a in arguments(call, precision).items()})


@every_argument
def test_arrays_that_are_not_contiguous(backend: Backend, precision: Precision, call: str, argument: str) -> None:
    arrays = {name: backend.to_device(a) for name, a in arguments(call, precision).items()}
    shape = arrays[argument].shape
    wide = np.zeros((*shape[:-1], 2 * shape[-1]), arrays[argument].dtype)
    arrays[argument] = backend.to_device(wide)[..., ::2]
    assert arrays[argument].shape == shape
    with pytest.raises(ValueError, match=rf"^{argument} must be C-contiguous, got strides"):
        CALLS[call][1](**arrays)


@every_argument
def test_other_dtypes(backend: Backend, precision: Precision, call: str, argument: str) -> None:
    good = arguments(call, precision)
    free = FIRST[call] == argument or (call, argument) == ("copy.cast", "out")
    wrong = [np.int32] if free else [np.int32, np.float64, np.complex64]
    for dtype in wrong:
        arrays = {name: backend.to_device(a.astype(dtype) if name == argument else a) for name, a in good.items()}
        with pytest.raises(TypeError, match=rf"^{argument} must be .*, got {np.dtype(dtype)}"):
            CALLS[call][1](**arrays)


@every_argument
def test_things_that_are_no_arrays(backend: Backend, precision: Precision, call: str, argument: str) -> None:
    if argument in ("out", "argmax_out", "bias_out", "bias", "dlogits", "addend"):
        wrong = [[0.0], 1.0, "zeros"]
    else:
        wrong = [[0.0], 1.0, "zeros", None]
    for thing in wrong:
        arrays = {name: backend.to_device(a) for name, a in arguments(call, precision).items()}
        with pytest.raises(TypeError, match=rf"^{argument} must be an array, got {type(thing).__name__}"):
            CALLS[call][1](**{**arrays, argument: thing})


def test_an_array_of_no_known_kind() -> None:
    class Impostor:
        shape, dtype, flags = (3,), np.dtype(np.float32), np.zeros(3).flags

    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got Impostor"):
        ops.relu.fprop(Impostor(), out=np.zeros(3, np.float32))
