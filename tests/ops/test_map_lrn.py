"""Normalisation within a map: the float64 reference against loops and differences, every backend against that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import map_lrn

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import PRECISIONS, Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """Input shape and the arguments of `map_lrn.parameters`; alpha or x is so large that the sum matters."""

    shape: tuple[int, int, int, int]
    size: int = 5
    k: float = 1.0
    alpha: float = 5.0
    beta: float = 0.75
    deviation: float = 1.0  # of x

    @property
    def parameters(self) -> Any:
        return map_lrn.parameters(self.size, self.k, self.alpha, self.beta)

    def arrays(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(7)
        return self.deviation * rng.standard_normal(self.shape), rng.standard_normal(self.shape)


# The kernels take runs of 4 rows, 4 or 8 channels at once forward, tiles of 14 x 14 x 16 backward.
CASES = {
    "the window's size and one more": Case((2, 6, 5, 3)),
    "window of 1": Case((1, 3, 2, 5), size=1),
    "window of 3, beta .5": Case((1, 5, 7, 2), size=3, beta=0.5),
    "window of 9, beta 1.2, k 2": Case((2, 11, 3, 2), size=9, beta=1.2, k=2.0),
    "window wider than the map": Case((2, 3, 2, 4), size=9),
    "one position": Case((1, 1, 1, 7)),
    "one row, vectors, beta .6": Case((1, 1, 6, 16), beta=0.6),
    "one column": Case((1, 9, 1, 2)),
    "vectors": Case((2, 5, 4, 24)),
    "one past a tile": Case((1, 15, 16, 17)),
    "small k": Case((1, 4, 3, 2), k=1e-5, beta=0.3),
}
ALL = {
    **CASES,
    "conv2's, a tower's": Case((1, 27, 27, 128), alpha=1e-3, deviation=30.0),
    "empty batch": Case((0, 3, 2, 12)),
    "no positions": Case((2, 0, 3, 12)),
}
SMALL = [CASES[name] for name in ("the window's size and one more", "vectors", "one past a tile")]
all_cases = pytest.mark.parametrize("case", ALL.values(), ids=ALL)


def sums(x: Array, case: Case) -> Array:
    """``k + alpha / size^2 * sum of x^2`` over the positions within half a window in each direction; by loops."""
    out, half = np.full(x.shape, case.k), case.size // 2
    for h, w in np.ndindex(*x.shape[1:3]):
        near = x[:, max(h - half, 0) : h + half + 1, max(w - half, 0) : w + half + 1]
        out[:, h, w] += case.alpha / case.size**2 * (near**2).sum(axis=(1, 2))
    return out


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_reference_equals_loops_and_differences(case: Case) -> None:
    x, dy = case.arrays()
    expected, p = x / sums(x, case) ** case.beta, case.parameters
    assert_close(map_lrn.fprop(x, p), expected, 1e-14 * (1 + np.abs(expected)), np.float64)
    if x.size < 500:
        assert_gradient(lambda moved: map_lrn.fprop(moved, p), x, dy, map_lrn.bprop(dy, x, p))


def relative_units(case: Case) -> float:
    """Roundings of y relative to y: the sum's, which beta scales, 9 of the power, 2 of alpha and the quotient."""
    return case.beta * (case.size**2 + 3) + 11


@small(case=SMALL)
@all_cases
def test_fprop_and_bprop(backend: Backend, precision: Precision, case: Case) -> None:
    x, dy = (precision.array(a) for a in case.arrays())
    p, shared = case.parameters, relative_units(case) * precision.accumulate
    on_device = backend.to_device(x)
    y = map_lrn.fprop(on_device, p, out=backend.poisoned(x.shape, x.dtype))
    dx = map_lrn.bprop(backend.to_device(dy), on_device, p, out=backend.poisoned(x.shape, x.dtype))
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    expected = map_lrn.fprop(x, p)
    bound = precision.bound(expected, relative_units(case) * np.abs(expected))
    assert_close(backend.to_host(y), expected, bound, precision.dtype, shared)
    expected = map_lrn.bprop(dy, x, p)
    # The gradient's two terms without sign: what is added, and so what rounding is relative to. The second takes two
    # powers, a sum over the window, and five products and quotients.
    x, dy = np.abs(x) + 1e-30, np.abs(dy)
    terms = 2 * dy * map_lrn.fprop(x, p) / x - map_lrn.bprop(dy, x, p)
    bound = precision.bound(expected, (2 * relative_units(case) + case.size**2 + 5) * terms)
    assert_close(backend.to_host(dx), expected, bound, precision.dtype, shared)


def test_nan_and_infinity_are_seen(backend: Backend, precision: Precision) -> None:
    x, dy = np.ones((1, 9, 9, 8)), np.ones((1, 9, 9, 8))
    x[0, 1, 2, 3], x[0, 8, 8, 0] = np.nan, np.inf
    near = np.zeros(x.shape, bool)
    near[0, :4, :5, 3] = True
    with np.errstate(invalid="ignore"):
        on_device = [backend.to_device(precision.array(a)) for a in (dy, x)]
        y = backend.to_host(map_lrn.fprop(on_device[1], map_lrn.parameters())).astype(np.float64)
        dx = backend.to_host(map_lrn.bprop(*on_device, map_lrn.parameters())).astype(np.float64)
    assert not np.isfinite(y[0, 8, 8, 0])
    y[0, 8, 8, 0] = 0.0
    assert_equal(np.isnan(y), near)
    assert y[0, 6, 6, 0] < 1e-20  # beside infinity there is nothing left
    assert np.isnan(dx[near]).all()
    near[0, :6, :7, 3] = True  # the windows of windows with a NaN
    assert np.isfinite(dx[..., 1:][~near[..., 1:]]).all()


def test_arguments_and_arrays_given(backend: Backend, precision: Precision) -> None:
    def zeros(*shape: int) -> Any:
        return backend.to_device(precision.array(np.zeros(shape)))

    p, (x, y, dx) = map_lrn.parameters(), (zeros(1, 2, 3, 12) for _ in range(3))
    assert map_lrn.fprop(x, p, out=y) is y
    assert map_lrn.bprop(y, x, p, out=dx) is dx
    with pytest.raises(ValueError, match=r"x must have shape \[any, any, any, any\], got \[2, 12\]"):
        map_lrn.fprop(zeros(2, 12), p)
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 2, 3, 12\], got \[1, 3, 2, 12\]"):
        map_lrn.bprop(zeros(1, 3, 2, 12), x, p)
    with pytest.raises(ValueError, match="out overlaps x; expected memory of its own"):
        map_lrn.fprop(x, p, out=x)
    for out, name in ((x, "x"), (y, "dy")):
        with pytest.raises(ValueError, match=f"out overlaps {name}; expected memory of its own"):
            map_lrn.bprop(y, x, p, out=out)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 4}, "size must be odd, got 4"),
        ({"size": 11}, "size must be at most 9, got 11"),
        ({"k": 0.0}, "k must be positive and alpha not negative, got 0.0"),
        ({"alpha": -1.0}, "got 1.0 and -1.0"),
    ],
    ids=str,
)
def test_bad_parameters(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        map_lrn.parameters(**change)


def test_alignment_and_repetition_change_nothing(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    arrays = {name: precision.array(rng.standard_normal((2, 6, 3, 16))) for name in ("x", "y", "dy", "dx")}
    p = map_lrn.parameters(alpha=5.0)

    def run(x: Any, y: Any, dy: Any, dx: Any) -> list[Any]:
        return [map_lrn.fprop(x, p, out=y), map_lrn.bprop(dy, x, p, out=dx)]

    assert_alignment_changes_nothing(backend, arrays, run)
    x, dy = (PRECISIONS["float32"].array(arrays[name]) for name in ("x", "dy"))
    on_device = [backend.to_device(a) for a in (dy, x)]
    assert_repeats(backend, lambda: [map_lrn.fprop(on_device[1], p), map_lrn.bprop(*on_device, p)])
