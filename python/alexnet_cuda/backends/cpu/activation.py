"""Activations on the CPU: elementwise functions whose gradient follows from what they gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import elementwise
from .masks import keep

Array = npt.NDArray[Any]


def _relu_bprop(dy: Array, y: Array, dx: Array) -> None:
    """``dy`` where y > 0, else 0."""
    positive = y > 0  # of y as it was: dx may be y
    dx[...] = dy
    keep(dx, positive)


def _tanh_bprop(dy: Array, y: Array, dx: Array) -> None:
    """``dy (1 - y^2)``."""
    slope = np.square(y)
    np.subtract(1, slope, out=slope)
    np.multiply(dy, slope, out=dx)


def _logistic_fprop(x: Array, y: Array) -> None:
    """``1 / (1 + exp(-x))``."""
    with np.errstate(over="ignore"):  # exp(-x) is infinite, y zero
        np.exp(np.negative(x, out=y), out=y)
    np.reciprocal(np.add(y, 1, out=y), out=y)


def _logistic_bprop(dy: Array, y: Array, dx: Array) -> None:
    """``dy y (1 - y)``."""
    np.multiply(dy, y * (1 - y), out=dx)


# Of blocks: fprop(x, y) writes y, bprop(dy, y, dx) writes dx.
ACTIVATIONS: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "relu": (lambda x, y: np.maximum(x, 0, out=y), _relu_bprop),
    "tanh": (lambda x, y: np.tanh(x, out=y), _tanh_bprop),
    "logistic": (_logistic_fprop, _logistic_bprop),
}


def fprop(name: str, x: Array, out: Array) -> None:
    """Write the function of `x` to `out`, which may be `x`."""
    function, (x, y) = ACTIVATIONS[name][0], (a.reshape(-1) for a in (x, out))
    elementwise(lambda s: function(x[s], y[s]), x.size)


def bprop(name: str, dy: Array, y: Array, out: Array) -> None:
    """Write the gradient by the input, from the output `y`, to `out`, which may be `dy` or `y`."""
    function, (dy, y, dx) = ACTIVATIONS[name][1], (a.reshape(-1) for a in (dy, y, out))
    elementwise(lambda s: function(dy[s], y[s], dx[s]), y.size)
