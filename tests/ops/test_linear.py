"""Fully connected layer: the float64 reference against loops and differences, every backend against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu import linear as implementation
from alexnet_cuda.ops import linear

from .backends import Backend
from .tolerance import Precision, assert_close, assert_equal, assert_gradient, dot_terms

Array = npt.NDArray[Any]
Sizes = tuple[int, int, int]

# Batch, inputs, outputs. The CPU computes blocks of 16 to 512 columns of a result.
SMALL: dict[str, Sizes] = {
    "one number": (1, 1, 1),
    "lopsided": (3, 7, 5),
    "batch of 1": (1, 33, 17),
    "one past the smallest block": (2, 17, 65),
    "one output": (5, 66, 1),
}
LARGE: dict[str, Sizes] = {
    "one past the largest block": (2, 2049, 2050),
    "the depth of fc6": (2, 9216, 260),
    "a batch of 129, 1000 classes": (129, 1025, 1000),
}
ALL = {**SMALL, **LARGE, "empty batch": (0, 7, 5)}
all_sizes = pytest.mark.parametrize("sizes", ALL.values(), ids=ALL)


def arrays(sizes: Sizes) -> tuple[Array, Array, Array, Array]:
    """x, weight, bias and dy, normal, in float64."""
    n, inputs, outputs = sizes
    rng = np.random.default_rng(2)
    return tuple(rng.standard_normal(s) for s in ((n, inputs), (outputs, inputs), (outputs,), (n, outputs)))  # type: ignore[return-value]


@pytest.mark.parametrize("sizes", SMALL.values(), ids=SMALL)
def test_reference_equals_loops_and_differences(sizes: Sizes) -> None:
    x, weight, bias, dy = arrays(sizes)
    y, dx, dweight, dbias = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(weight.shape), np.zeros(bias.shape)
    for n, o in np.ndindex(*dy.shape):
        y[n, o] = bias[o]
        dbias[o] += dy[n, o]
        for i in range(sizes[1]):
            y[n, o] += x[n, i] * weight[o, i]
            dx[n, i] += dy[n, o] * weight[o, i]
            dweight[o, i] += dy[n, o] * x[n, i]
    bound = np.full((), 1e-12)
    assert_close(linear.fprop(x, weight, bias), y, bound, np.float64)
    assert_close(linear.fprop(x, weight), y - bias, bound, np.float64)
    assert_close(linear.dgrad(dy, weight), dx, bound, np.float64)
    for actual, expected in zip(linear.wgrad(x, dy), (dweight, dbias), strict=True):
        assert_close(actual, expected, bound, np.float64)
    if weight.size < 100:
        assert_gradient(lambda moved: linear.fprop(moved, weight, bias), x, dy, dx)
        assert_gradient(lambda moved: linear.fprop(x, moved, bias), weight, dy, dweight)
        assert_gradient(lambda moved: linear.fprop(x, weight, moved), bias, dy, dbias)


def test_reference_does_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias, dy = arrays((3, 130, 70))
    results = []
    for columns in (512, 32, 16):
        monkeypatch.setattr(implementation, "_COLUMNS", columns)
        results.append((linear.fprop(x, weight, bias), linear.dgrad(dy, weight), *linear.wgrad(x, dy)))
    for other in results[1:]:
        for actual, expected in zip(other, results[0], strict=True):
            assert_close(actual, expected, np.full((), 1e-12), np.float64)


@all_sizes
def test_fprop(backend: Backend, precision: Precision, sizes: Sizes) -> None:
    x, weight, bias, _ = (precision.array(a) for a in arrays(sizes))
    y = linear.fprop(*map(backend.to_device, (x, weight, bias)))
    x, weight, bias = (a.astype(np.float64) for a in (x, weight, bias))
    expected = x @ weight.T + bias
    squares = x**2 @ (weight**2).T + bias**2
    bound = precision.bound(expected, dot_terms(sizes[1] + 1, squares))
    assert_close(backend.to_host(y), expected, bound, precision.dtype)


@all_sizes
def test_dgrad(backend: Backend, precision: Precision, sizes: Sizes) -> None:
    _, weight, _, dy = (precision.array(a) for a in arrays(sizes))
    dx = linear.dgrad(backend.to_device(dy), backend.to_device(weight))
    weight, dy = weight.astype(np.float64), dy.astype(np.float64)
    expected = dy @ weight
    bound = precision.bound(expected, dot_terms(sizes[2], dy**2 @ weight**2))
    assert_close(backend.to_host(dx), expected, bound, precision.dtype)


@all_sizes
def test_wgrad(backend: Backend, precision: Precision, sizes: Sizes) -> None:
    x, _, _, dy = (precision.array(a) for a in arrays(sizes))
    dweight, dbias = linear.wgrad(backend.to_device(x), backend.to_device(dy))
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    bound = precision.bound(dy.T @ x, dot_terms(sizes[0], (dy**2).T @ x**2))
    assert_close(backend.to_host(dweight), dy.T @ x, bound, precision.dtype)
    bound = precision.bound(dy.sum(axis=0), dot_terms(sizes[0], (dy**2).sum(axis=0)))
    assert_close(backend.to_host(dbias), dy.sum(axis=0), bound, precision.dtype)


@pytest.mark.parametrize("sizes", [SMALL["lopsided"], SMALL["one past the smallest block"]])
def test_activations_are_those_of_the_sum(backend: Backend, precision: Precision, sizes: Sizes) -> None:
    x, weight, bias, _ = (precision.array(a) for a in arrays(sizes))
    given = [backend.to_device(a) for a in (x, weight, bias)]
    plain = backend.to_host(linear.fprop(*given))
    assert_equal(backend.to_host(linear.fprop(*given, activation="relu")), np.maximum(plain, 0))
    x, weight, bias = (a.astype(np.float64) for a in (x, weight, bias))
    expected = np.tanh(x @ weight.T + bias)
    # The slope of tanh is at most 1; 8 units are for tanh itself.
    bound = precision.bound(expected, dot_terms(sizes[1] + 1, x**2 @ (weight**2).T + bias**2) + 8)
    assert_close(backend.to_host(linear.fprop(*given, activation="tanh")), expected, bound, precision.dtype)


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    x, weight, bias, dy = (backend.to_device(precision.array(a)) for a in arrays((3, 7, 65)))
    y, dx, dweight, dbias = (backend.poisoned(a.shape, precision.dtype) for a in (dy, x, weight, bias))
    assert linear.fprop(x, weight, bias, out=y) is y
    assert linear.dgrad(dy, weight, out=dx) is dx
    written = linear.wgrad(x, dy, out=dweight, bias_out=dbias)
    assert written[0] is dweight
    assert written[1] is dbias
    expected = (linear.fprop(x, weight, bias), linear.dgrad(dy, weight), *linear.wgrad(x, dy))
    for actual, other in zip((y, dx, dweight, dbias), expected, strict=True):
        assert_equal(backend.to_host(actual), backend.to_host(other))


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(*shape: int) -> Any:
        return backend.to_device(precision.array(np.zeros(shape)))

    with pytest.raises(ValueError, match=r"x must have shape \[any, any\], got \[2, 7, 1\]"):
        linear.fprop(zeros(2, 7, 1), zeros(5, 7))
    with pytest.raises(ValueError, match=r"weight must have shape \[any, 7\], got \[7, 5\]"):
        linear.fprop(zeros(2, 7), zeros(7, 5))
    with pytest.raises(ValueError, match=r"bias must have shape \[5\], got \[7\]"):
        linear.fprop(zeros(2, 7), zeros(5, 7), zeros(7))
    with pytest.raises(ValueError, match="activation must be 'none', 'relu' or 'tanh', got 'ReLU'"):
        linear.fprop(zeros(2, 7), zeros(5, 7), activation="ReLU")
    with pytest.raises(ValueError, match=r"dy must have shape \[any, 5\], got \[2, 7\]"):
        linear.dgrad(zeros(2, 7), zeros(5, 7))
    with pytest.raises(ValueError, match=r"dy must have shape \[2, any\], got \[3, 5\]"):
        linear.wgrad(zeros(2, 7), zeros(3, 5))
    with pytest.raises(ValueError, match=r"bias_out must have shape \[5\], got \[7\]"):
        linear.wgrad(zeros(2, 7), zeros(2, 5), bias_out=zeros(7))
