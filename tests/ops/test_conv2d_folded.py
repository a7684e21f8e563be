"""Convolutions of inputs that are folded already: the same numbers as of the inputs themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu.fold import unfold
from alexnet_cuda.base.params import FoldedLayout, SgdParams
from alexnet_cuda.ops import conv2d

from .backends import Backend
from .small import small
from .tolerance import Precision, assert_equal

Array = npt.NDArray[Any]

# x [N, H, W, C], weight [K, R, S, C], stride and padding.
CASES = {
    "like conv1": ((2, 23, 26, 3), (16, 11, 11, 3), (4, 4), (0, 0)),
    "like torchvision": ((2, 20, 20, 3), (16, 11, 11, 3), (4, 4), (2, 2)),
    "like the code of 2012": ((2, 20, 20, 3), (16, 11, 11, 3), (4, 4), ((0, 3), (0, 3))),
    "lopsided": ((3, 21, 18, 3), (8, 7, 6, 3), (4, 3), (2, 1)),
    "stride beyond the filter": ((2, 14, 17, 5), (8, 2, 3, 5), (3, 5), (1, 0)),
    "cells wholly in the padding": ((2, 7, 6, 3), (8, 3, 2, 3), (1, 2), (3, 4)),
    "a rest that no filter reaches": ((1, 20, 19, 3), (8, 5, 4, 3), (8, 8), (0, 0)),
    "empty batch": ((0, 9, 8, 3), (8, 3, 3, 3), (2, 2), (0, 0)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Problem:
    """A case's arrays in one precision, and how its input is folded."""

    def __init__(self, case: tuple[Any, ...], dtype: npt.DTypeLike) -> None:
        x, weight, stride, padding = case
        self.options: dict[str, Any] = {"stride": stride, "padding": padding}
        sizes = conv2d.problem(x, weight[0], weight[1:3], stride, padding, 1)
        rng = np.random.default_rng(4)
        draw = {"x": x, "weight": weight, "bias": weight[:1], "dy": (sizes.N, sizes.P, sizes.Q, sizes.K)}
        arrays = {name: rng.standard_normal(shape) for name, shape in draw.items()}
        self.x, self.weight, self.dy = (arrays[name].astype(dtype) for name in ("x", "weight", "dy"))
        self.bias = arrays["bias"].astype(np.float32)
        layout = conv2d.folded_layout(x[1:], weight[1:3], dtype=dtype, **self.options)
        assert layout is not None
        self.layout = layout


def test_layout_of_conv1() -> None:
    arguments: dict[str, Any] = {"input_shape": (227, 227, 3), "kernel": (11, 11), "stride": 4, "dtype": np.float32}
    layout = conv2d.folded_layout(**arguments)
    assert layout == FoldedLayout((227, 227, 3), (4, 4), (0, 0), (57, 57, 48))
    padded = conv2d.folded_layout(**{**arguments, "input_shape": (224, 224, 3)}, padding=2)
    assert padded == FoldedLayout((224, 224, 3), (4, 4), (2, 2), (57, 57, 48))


@pytest.mark.parametrize(
    ("channels", "groups", "dtype", "folds"),
    [
        (4, 1, np.float32, False),
        (4, 1, np.float16, True),
        (8, 1, np.float16, False),
        (2, 1, np.float64, False),
        (6, 2, np.float32, False),
    ],
)
def test_whole_chunks_and_groups_are_not_folded(channels: int, groups: int, dtype: Any, folds: bool) -> None:
    layout = conv2d.folded_layout((9, 8, channels), (3, 3), groups=groups, dtype=dtype)
    assert (layout is not None) == folds


@cases
def test_reference_folds_as_the_equation_says(case: tuple[Any, ...]) -> None:
    given = Problem(case, np.float64)
    layout, x = given.layout, given.x
    folded = conv2d.fold(x, layout)
    (height, width, channels), (sh, sw), (ph, pw) = layout.shape, layout.stride, layout.padding
    expected, reached = np.zeros((len(x), height, width, channels)), np.zeros(x.shape)
    for n, y, z, i, j, c in np.ndindex(len(x), height, width, sh, sw, x.shape[3]):
        h, w = y * sh + i - ph, z * sw + j - pw
        if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
            expected[n, y, z, (i * sw + j) * x.shape[3] + c] = reached[n, h, w, c] = x[n, h, w, c]
    assert_equal(folded, expected)
    assert_equal(unfold(folded, layout), reached)


@small(case=[CASES["lopsided"]])
@cases
def test_fold(backend: Backend, precision: Precision, case: tuple[Any, ...]) -> None:
    given = Problem(case, precision.dtype)
    out = backend.poisoned((len(given.x), *given.layout.shape), precision.dtype)
    assert conv2d.fold(backend.to_device(given.x), given.layout, out=out) is out
    assert_equal(backend.to_host(out), conv2d.fold(given.x, given.layout))


@small(case=[CASES["like conv1"]])
@cases
def test_products(backend: Backend, precision: Precision, case: tuple[Any, ...]) -> None:
    given = Problem(case, precision.dtype)
    x, weight, bias, dy = map(backend.to_device, (given.x, given.weight, given.bias, given.dy))
    folded = conv2d.fold(x, given.layout)
    plain = conv2d.fprop(x, weight, bias, activation="relu", **given.options)
    y = conv2d.fprop(folded, weight, bias, activation="relu", folded=given.layout, **given.options)
    assert_equal(backend.to_host(y), backend.to_host(plain))
    kernel = given.weight.shape[1:3]
    gradients = conv2d.wgrad(x, dy, kernel, **given.options)
    of_folded = conv2d.wgrad(folded, dy, kernel, folded=given.layout, **given.options)
    for actual, expected in zip(of_folded, gradients, strict=True):
        assert_equal(backend.to_host(actual), backend.to_host(expected))


def test_updates(backend: Backend, precision: Precision) -> None:
    given = Problem(CASES["lopsided"], precision.dtype)
    x, dy = backend.to_device(given.x), backend.to_device(given.dy)
    results = []
    for layout in (None, given.layout):
        weight = backend.to_device(given.weight.astype(np.float32))
        sgd = SgdParams(weight, backend.to_device(np.zeros(given.weight.shape, np.float32)), 0.5, 0.9, 5e-4)
        given_x = x if layout is None else conv2d.fold(x, layout)
        conv2d.wgrad(given_x, dy, given.weight.shape[1:3], sgd=sgd, bias=False, folded=layout, **given.options)
        results.append(backend.to_host(weight))
    assert_equal(results[1], results[0])
    assert not np.array_equal(results[0], given.weight.astype(np.float32))


def test_a_layout_that_does_not_fit_is_named(backend: Backend, precision: Precision) -> None:
    given = Problem(CASES["lopsided"], precision.dtype)
    x, weight, dy = map(backend.to_device, (given.x, given.weight, given.dy))
    layout, options = given.layout, given.options
    folded = conv2d.fold(x, layout)
    with pytest.raises(ValueError, match=r"x must have shape \[any, \d+, \d+, \d+\], got \[3, 21, 18, 3\]"):
        conv2d.fprop(x, weight, folded=layout, **options)
    for wrong in (replace(layout, padding=(1, 1)), replace(layout, unfolded=(33, 18, 3))):
        with pytest.raises(
            ValueError, match=r"folded must be FoldedLayout\(.*\) for this convolution in .*, got Folded"
        ):
            conv2d.fprop(folded, weight, folded=wrong, **options)
        with pytest.raises(
            ValueError, match=r"folded must be FoldedLayout\(.*\) for this convolution in .*, got Folded"
        ):
            conv2d.wgrad(folded, dy, weight.shape[1:3], folded=wrong, **options)
    with pytest.raises(ValueError, match=r"x must have shape \[any, 21, 18, 3\], got \[3, 7, 18, 3\]"):
        conv2d.fold(backend.to_device(given.x[:, :7]), layout)
    with pytest.raises(ValueError, match=r"out must have shape \[3, \d+, \d+, \d+\], got \[3, 21, 18, 3\]"):
        conv2d.fold(x, layout, out=x)
    with pytest.raises(ValueError, match="input_shape must be 3 integers of at least 1, got"):
        conv2d.folded_layout(given.x.shape, (7, 6), dtype=precision.dtype)
