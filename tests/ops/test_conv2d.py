"""Convolution: the float64 reference against loops and differences, then every backend against the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu import conv2d as implementation
from alexnet_cuda.ops import conv2d

from .backends import Backend
from .tolerance import Precision, assert_close, assert_equal, assert_gradient, dot_terms

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """Sizes of a convolution."""

    n: int
    hw: tuple[int, int]
    c: int
    k: int
    rs: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @property
    def pq(self) -> tuple[int, int]:
        p, q = ((self.hw[i] + 2 * self.padding[i] - self.rs[i]) // self.stride[i] + 1 for i in (0, 1))
        return p, q

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}

    def arrays(self, seed: int = 1) -> tuple[Array, Array, Array, Array]:
        """x, weight, bias and dy, normal, in float64."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((self.n, *self.hw, self.c))
        weight = rng.standard_normal((self.k, *self.rs, self.c // self.groups))
        return x, weight, rng.standard_normal(self.k), rng.standard_normal((self.n, *self.pq, self.k))


# The CPU cuts a batch into tiles of 64 to 700 output positions: larger images into rows, small ones are put together.
CASES = {
    "lopsided": Case(1, (7, 6), 4, 6, (3, 2), (2, 1), (1, 0), 2),
    "lopsided, batch of 3": Case(3, (6, 7), 6, 4, (2, 3), (1, 2), (0, 1), 2),
    "one pixel": Case(1, (1, 1), 1, 1, (1, 1)),
    "filter as large as the input": Case(2, (4, 3), 3, 2, (4, 3)),
    "padding wider than the filter": Case(2, (3, 4), 2, 3, (2, 3), (1, 2), (3, 4)),
    "stride beyond the filter": Case(2, (8, 9), 2, 4, (2, 1), (3, 4), (1, 2), 2),
    "a rest no filter reaches": Case(1, (20, 18), 3, 4, (11, 11), (4, 4)),
    "a group a channel": Case(2, (5, 4), 3, 6, (3, 3), (1, 1), (1, 1), 3),
    "an image one row past a tile": Case(2, (3, 22), 2, 4, (3, 2), (1, 1), (1, 1), 2),
    "rows of a stride": Case(2, (15, 27), 2, 4, (3, 2), (2, 1), (1, 0), 2),
    "the same without padding": Case(1, (7, 14), 2, 2, (3, 2)),
    "one image past a tile": Case(7, (5, 4), 2, 4, (2, 1), (1, 1), (1, 0), 2),
    "past the largest tile": Case(4, (28, 26), 1, 2, (2, 1), (1, 1), (0, 0)),
    "past the largest tile, padded": Case(4, (27, 25), 2, 2, (2, 2), (1, 1), (1, 1), 2),
    "more images than lanes": Case(9, (11, 10), 1, 1, (2, 2), (1, 1), (1, 0)),
}
ALEXNET = {
    "conv1": Case(2, (227, 227), 3, 96, (11, 11), (4, 4)),
    "conv2": Case(2, (27, 27), 96, 256, (5, 5), (1, 1), (2, 2), 2),
    "conv3": Case(2, (13, 13), 256, 384, (3, 3), (1, 1), (1, 1)),
    "conv4": Case(2, (13, 13), 384, 384, (3, 3), (1, 1), (1, 1), 2),
    "conv5": Case(2, (13, 13), 384, 256, (3, 3), (1, 1), (1, 1), 2),
}
ALL = {**CASES, **ALEXNET, "empty batch": Case(0, (7, 6), 4, 6, (3, 2), (2, 1), (1, 0), 2)}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
all_cases = pytest.mark.parametrize("case", ALL.values(), ids=ALL)


def products(case: Case) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Straight from the equation: indices into x, weight and y of every product that adds to an output."""
    per_group, filters = case.c // case.groups, case.k // case.groups
    for n, p, q, k in np.ndindex(case.n, *case.pq, case.k):
        for r, s, c in np.ndindex(*case.rs, per_group):
            h = p * case.stride[0] + r - case.padding[0]
            w = q * case.stride[1] + s - case.padding[1]
            if 0 <= h < case.hw[0] and 0 <= w < case.hw[1]:
                yield (n, h, w, k // filters * per_group + c), (k, r, s, c), (n, p, q, k)


@cases
def test_reference_equals_loops(case: Case) -> None:
    x, weight, bias, dy = case.arrays()
    y, dx, dweight = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(weight.shape)
    for at_x, at_weight, at_y in products(case):
        y[at_y] += x[at_x] * weight[at_weight]
        dx[at_x] += dy[at_y] * weight[at_weight]
        dweight[at_weight] += dy[at_y] * x[at_x]
    size = 1e-14 * case.n * dy.size  # float64 rounds to 1e-16 of sums of at most so many numbers of about 1
    bound = np.full((), size)
    assert_close(conv2d.fprop(x, weight, **case.options), y, bound, np.float64)
    assert_close(conv2d.fprop(x, weight, bias, **case.options), y + bias, bound, np.float64)
    assert_close(conv2d.dgrad(dy, weight, x.shape, **case.options), dx, bound, np.float64)
    actual, actual_bias = conv2d.wgrad(x, dy, case.rs, **case.options)
    assert_close(actual, dweight, bound, np.float64)
    assert_close(actual_bias, dy.sum(axis=(0, 1, 2)), bound, np.float64)


@pytest.mark.parametrize("name", ["lopsided", "padding wider than the filter", "stride beyond the filter"])
def test_reference_gradients_equal_differences(name: str) -> None:
    case = CASES[name]
    x, weight, bias, dy = case.arrays()
    dweight, dbias = conv2d.wgrad(x, dy, case.rs, **case.options)
    dx = conv2d.dgrad(dy, weight, x.shape, **case.options)
    assert_gradient(lambda moved: conv2d.fprop(moved, weight, bias, **case.options), x, dy, dx)
    assert_gradient(lambda moved: conv2d.fprop(x, moved, bias, **case.options), weight, dy, dweight)
    assert_gradient(lambda moved: conv2d.fprop(x, weight, moved, **case.options), bias, dy, dbias)


def test_reference_does_not_depend_on_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(5, (31, 30), 4, 4, (3, 2), (1, 1), (1, 1), 2)
    x, weight, bias, dy = case.arrays()
    results = []
    for rows in (700, 300, 64):
        monkeypatch.setattr(implementation, "_ROWS", rows)
        y, dx = conv2d.fprop(x, weight, bias, **case.options), conv2d.dgrad(dy, weight, x.shape, **case.options)
        results.append((y, dx, *conv2d.wgrad(x, dy, case.rs, **case.options)))
    for other in results[1:]:
        for actual, expected in zip(other, results[0], strict=True):
            assert_close(actual, expected, np.full((), 1e-11), np.float64)


@all_cases
def test_fprop(backend: Backend, precision: Precision, case: Case) -> None:
    x, weight, bias = (precision.array(a) for a in case.arrays()[:3])
    y = conv2d.fprop(*map(backend.to_device, (x, weight, bias)), **case.options)
    x, weight, bias = (a.astype(np.float64) for a in (x, weight, bias))
    expected = conv2d.fprop(x, weight, bias, **case.options)
    squares = conv2d.fprop(x**2, weight**2, bias**2, **case.options)
    depth = weight[0].size + 1
    assert_close(backend.to_host(y), expected, precision.bound(expected, dot_terms(depth, squares)), precision.dtype)


@all_cases
def test_dgrad(backend: Backend, precision: Precision, case: Case) -> None:
    x, weight, _, dy = (precision.array(a) for a in case.arrays())
    dx = conv2d.dgrad(backend.to_device(dy), backend.to_device(weight), x.shape, **case.options)
    dy, weight = dy.astype(np.float64), weight.astype(np.float64)
    expected = conv2d.dgrad(dy, weight, x.shape, **case.options)
    squares = conv2d.dgrad(dy**2, weight**2, x.shape, **case.options)
    depth = weight[..., 0].size // case.groups
    assert_close(backend.to_host(dx), expected, precision.bound(expected, dot_terms(depth, squares)), precision.dtype)


@all_cases
def test_wgrad(backend: Backend, precision: Precision, case: Case) -> None:
    x, _, _, dy = (precision.array(a) for a in case.arrays())
    gradients = conv2d.wgrad(backend.to_device(x), backend.to_device(dy), case.rs, **case.options)
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    references = conv2d.wgrad(x, dy, case.rs, **case.options)
    all_squares = conv2d.wgrad(x**2, dy**2, case.rs, **case.options)
    depth = dy[..., 0].size
    for actual, expected, squares in zip(gradients, references, all_squares, strict=True):
        bound = precision.bound(expected, dot_terms(depth, squares))
        assert_close(backend.to_host(actual), expected, bound, precision.dtype)


@pytest.mark.parametrize("name", ["lopsided, batch of 3", "an image one row past a tile"])
def test_activations_are_those_of_the_sum(backend: Backend, precision: Precision, name: str) -> None:
    case = CASES[name]
    x, weight, bias = (precision.array(a) for a in case.arrays()[:3])
    given = [backend.to_device(a) for a in (x, weight, bias)]
    plain = backend.to_host(conv2d.fprop(*given, **case.options))
    assert_equal(backend.to_host(conv2d.fprop(*given, activation="relu", **case.options)), np.maximum(plain, 0))
    expected = np.tanh(conv2d.fprop(*(a.astype(np.float64) for a in (x, weight, bias)), **case.options))
    depth, sizes = (
        weight[0].size + 1,
        conv2d.fprop(*(a.astype(np.float64) ** 2 for a in (x, weight, bias)), **case.options),
    )
    bound = precision.bound(expected, dot_terms(depth, sizes) + 8)  # tanh's slope is at most 1; 8 for tanh itself
    tanh = backend.to_host(conv2d.fprop(*given, activation="tanh", **case.options))
    assert_close(tanh, expected, bound, precision.dtype)


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    case = CASES["lopsided, batch of 3"]
    x, weight, bias, dy = (backend.to_device(precision.array(a)) for a in case.arrays())
    y, dx, dweight, dbias = (backend.poisoned(a.shape, precision.dtype) for a in (dy, x, weight, bias))
    assert conv2d.fprop(x, weight, bias, out=y, **case.options) is y
    assert conv2d.dgrad(dy, weight, x.shape, out=dx, **case.options) is dx
    written = conv2d.wgrad(x, dy, case.rs, out=dweight, bias_out=dbias, **case.options)
    assert written[0] is dweight
    assert written[1] is dbias
    again = (conv2d.fprop(x, weight, bias, **case.options), conv2d.dgrad(dy, weight, x.shape, **case.options))
    for actual, expected in zip(
        (y, dx, dweight, dbias), (*again, *conv2d.wgrad(x, dy, case.rs, **case.options)), strict=True
    ):
        assert_equal(backend.to_host(actual), backend.to_host(expected))


def test_an_empty_batch_has_no_gradient(backend: Backend, precision: Precision) -> None:
    case = ALL["empty batch"]
    x, weight, bias, dy = (backend.to_device(precision.array(a)) for a in case.arrays())
    assert conv2d.fprop(x, weight, bias, **case.options).shape == (0, *case.pq, case.k)
    assert conv2d.dgrad(dy, weight, x.shape, **case.options).shape == x.shape
    dweight, dbias = conv2d.wgrad(x, dy, case.rs, **case.options)
    assert_equal(backend.to_host(dweight), np.zeros(weight.shape, precision.dtype))
    assert_equal(backend.to_host(dbias), np.zeros(bias.shape, precision.dtype))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": (7, 6, 4)}, ValueError, ["x must have shape [any, any, any, any]", "got [7, 6, 4]"]),
        ({"weight": (6, 3, 2, 3)}, ValueError, ["weight must have shape [6, 3, 2, 2]", "got [6, 3, 2, 3]"]),
        ({"weight": (6, 3, 2)}, ValueError, ["weight must have shape", "got [6, 3, 2]"]),
        ({"weight": (6, 0, 2, 2)}, ValueError, ["kernel must be 2 integers of at least 1", "(0, 2)"]),
        ({"bias": (4,)}, ValueError, ["bias must have shape [6]", "got [4]"]),
        ({"out": (1, 4, 5, 7)}, ValueError, ["out must have shape [1, 4, 5, 6]", "got [1, 4, 5, 7]"]),
        ({"stride": 0}, ValueError, ["stride must be 2 integers of at least 1", "got (0, 0)"]),
        ({"stride": (1, 2, 3)}, ValueError, ["stride must be 2 integers", "(1, 2, 3)"]),
        ({"stride": 1.5}, TypeError, ["stride", "1.5"]),
        ({"padding": (0, -1)}, ValueError, ["padding must be 2 integers of at least 0", "(0, -1)"]),
        ({"groups": 3}, ValueError, ["groups must divide 4 input and 6 output channels", "got 3"]),
        ({"bias": (5,), "weight": (5, 3, 2, 2)}, ValueError, ["must divide 4 input and 5 output channels", "got 2"]),
        ({"groups": 0}, ValueError, ["groups", "got 0"]),
        ({"x": (1, 7, 6, 0), "weight": (6, 3, 2, 0)}, ValueError, ["must be positive", "got 7x6, 0 and 6"]),
        ({"padding": 0, "x": (1, 2, 6, 4)}, ValueError, ["3x2 filter", "2x6"]),
        ({"padding": 0, "x": (1, 7, 1, 4)}, ValueError, ["3x2 filter", "7x1"]),
        ({"activation": "gelu"}, ValueError, ["'none', 'relu' or 'tanh'", "'gelu'"]),
    ],
    ids=str,
)
def test_bad_arguments_name_what_was_given_and_expected(
    backend: Backend, precision: Precision, change: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    shapes = {"x": (1, 7, 6, 4), "weight": (6, 3, 2, 2), "bias": (6,)}
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "groups": 2}
    for name, value in change.items():
        (shapes if name in ("x", "weight", "bias", "out") else options)[name] = value
    arrays = {name: backend.to_device(precision.array(np.zeros(shape))) for name, shape in shapes.items()}
    with pytest.raises(error) as caught:
        conv2d.fprop(**arrays, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_backward_passes_reject_shapes_that_do_not_fit(backend: Backend, precision: Precision) -> None:
    def zeros(*shape: int) -> Any:
        return backend.to_device(precision.array(np.zeros(shape)))

    weight = zeros(6, 3, 2, 2)
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "groups": 2}
    kernel: Any = (3,)
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 4, 5, 6\], got \[1, 4, 4, 6\]"):
        conv2d.dgrad(zeros(1, 4, 4, 6), weight, (1, 7, 6, 4), **options)
    with pytest.raises(ValueError, match=r"weight must have shape \[6, 3, 2, 3\], got \[6, 3, 2, 2\]"):
        conv2d.dgrad(zeros(1, 4, 5, 6), weight, (1, 7, 6, 6), **options)
    with pytest.raises(ValueError, match=r"input_shape must be 4 integers of at least 0, got \(7, 6, 4\)"):
        conv2d.dgrad(zeros(1, 4, 5, 6), weight, (7, 6, 4), **options)
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 4, 5, 6\], got \[1, 5, 4, 6\]"):
        conv2d.wgrad(zeros(1, 7, 6, 4), zeros(1, 5, 4, 6), (3, 2), **options)
    with pytest.raises(ValueError, match=r"bias_out must have shape \[6\], got \[4\]"):
        conv2d.wgrad(zeros(1, 7, 6, 4), zeros(1, 4, 5, 6), (3, 2), bias_out=zeros(4), **options)
    with pytest.raises(ValueError, match=r"kernel must be 2 integers of at least 1, got \(3,\)"):
        conv2d.wgrad(zeros(1, 7, 6, 4), zeros(1, 4, 5, 6), kernel, **options)
