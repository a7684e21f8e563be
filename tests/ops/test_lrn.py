"""Response normalisation: the float64 reference against loops and differences, every backend against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu import lrn as implementation
from alexnet_cuda.ops import lrn

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Case:
    """Input shape and the arguments of `lrn.parameters` beside the channels.

    Either alpha or x is so large that the sum matters.
    """

    shape: Shape
    size: int = 5
    k: float = 2.0
    alpha: float = 0.3
    beta: float = 0.75
    alpha_over_size: bool = False
    groups: int = 1
    deviation: float = 1.0  # of x

    @property
    def parameters(self) -> Any:
        return lrn.parameters(
            self.shape[3], self.size, self.k, self.alpha, self.beta, self.alpha_over_size, self.groups
        )

    def arrays(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(7)
        return self.deviation * rng.standard_normal(self.shape), rng.standard_normal(self.shape)


CASES = {
    "paper, a window a tower": Case((2, 3, 2, 12), groups=2),
    "across, alpha over n": Case((1, 2, 3, 12), k=1.0, alpha_over_size=True),
    "window of 1": Case((1, 3, 2, 5), size=1),
    "window of 3, beta .5": Case((1, 2, 3, 7), size=3, beta=0.5),
    "window of 9, groups, beta 1.2": Case((2, 1, 3, 22), size=9, beta=1.2, groups=2, alpha_over_size=True),
    "window wider than the channels": Case((2, 3, 2, 3), size=9),
    "window wider than a group": Case((1, 3, 2, 4), size=5, groups=2),
    "one channel": Case((1, 1, 2, 1), size=5),
    "one pixel": Case((1, 1, 1, 96), groups=2),
    "vectors, groups": Case((2, 3, 5, 96), groups=2),
    "vectors across, beta .6": Case((1, 5, 3, 80), k=1.0, beta=0.6, alpha_over_size=True),
    "one vector a group": Case((1, 2, 3, 32), groups=2),
    "one past a block of threads": Case((1, 1, 257, 1), size=1),
    "a window beyond a block of threads": Case((1, 1, 2, 600), size=401),
    "small k": Case((1, 2, 3, 10), k=1e-5, beta=0.3),
}
ALEXNET = {
    "conv1's, as published": Case((1, 55, 55, 96), alpha=1e-4, groups=2, deviation=30.0),
    "conv2's, as in Caffe": Case((1, 27, 27, 256), k=1.0, alpha=1e-4, alpha_over_size=True, deviation=30.0),
}
ALL = {**CASES, **ALEXNET, "empty batch": Case((0, 3, 2, 12), groups=2)}
SMALL = [CASES[name] for name in ("paper, a window a tower", "vectors, groups", "vectors across, beta .6")]
all_cases = pytest.mark.parametrize("case", ALL.values(), ids=ALL)


every_placement = pytest.mark.parametrize("placement", ["to_device", "shifted"])


def sums(x: Array, case: Case) -> Array:
    """``k + alpha * sum of x^2`` over the channels within half a window that lie in the same group; by loops."""
    channels = case.shape[3]
    width, alpha = channels // case.groups, case.alpha / case.size if case.alpha_over_size else case.alpha
    out = np.full(x.shape, case.k)
    for c, other in np.ndindex(channels, channels):
        if abs(other - c) <= (case.size - 1) / 2 and other // width == c // width:
            out[..., c] += alpha * x[..., other] ** 2
    return out


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_reference_equals_loops_and_differences(case: Case) -> None:
    x, dy = case.arrays()
    expected = x / sums(x, case) ** case.beta
    p = case.parameters
    assert_close(lrn.fprop(x, p), expected, 1e-14 * (1 + np.abs(expected)), np.float64)
    if x.size < 500:
        assert_gradient(lambda moved: lrn.fprop(moved, p), x, dy, lrn.bprop(dy, x, p))


def test_reference_does_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case((2, 5, 3, 12), groups=2)
    x, dy = case.arrays()
    whole = lrn.fprop(x, case.parameters), lrn.bprop(dy, x, case.parameters)
    for block in (1, 12, 13, 29 * 12, 30 * 12):
        monkeypatch.setattr(implementation, "_BLOCK", block)
        assert_equal(lrn.fprop(x, case.parameters), whole[0])
        assert_equal(lrn.bprop(dy, x, case.parameters), whole[1])


@small(case=SMALL, placement=["to_device"])
@all_cases
@every_placement
def test_fprop(backend: Backend, precision: Precision, case: Case, placement: str) -> None:
    x = precision.array(case.arrays()[0])
    y = lrn.fprop(getattr(backend, placement)(x), case.parameters, out=backend.poisoned(x.shape, x.dtype))
    expected = lrn.fprop(x.astype(np.float64), case.parameters)
    bound = precision.bound(expected, relative_units(case) * np.abs(expected))
    # With a small alpha all sums are near k, and one rounding of it is the same everywhere.
    assert_close(backend.to_host(y), expected, bound, precision.dtype, relative_units(case) * precision.accumulate)


@small(case=SMALL, placement=["to_device"])
@all_cases
@every_placement
@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
def test_bprop(backend: Backend, precision: Precision, case: Case, placement: str, relu: bool) -> None:
    x, dy = (precision.array(a) for a in case.arrays())
    if relu:
        x = np.maximum(x, x.dtype.type(0))
    to_device, out = getattr(backend, placement), backend.poisoned(x.shape, x.dtype)
    dx = backend.to_host(lrn.bprop(to_device(dy), to_device(x), case.parameters, relu=relu, out=out))
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    expected = lrn.bprop(dy, x, case.parameters)
    bound = precision.bound(expected, bprop_terms(x, dy, case))
    if relu:
        assert (dx[x == 0] == 0).all()
        expected = np.where(x > 0, expected, 0.0)
    assert_close(dx, expected, bound, precision.dtype, relative_units(case) * precision.accumulate)


def bprop_terms(x: Array, dy: Array, case: Case) -> Array:
    """The two terms of the gradient, both without sign: what is added, and so what rounding is relative to."""
    x, dy = np.abs(x) + 1e-30, np.abs(dy)
    first = dy * lrn.fprop(x, case.parameters) / x
    terms = 2 * first - lrn.bprop(dy, x, case.parameters)
    # The second term takes two powers, a sum over the window, and five products and quotients.
    return (2 * relative_units(case) + case.size + 5) * terms


def relative_units(case: Case) -> float:
    """Roundings of y relative to y: the sum's, which beta scales, 9 of the power, 2 of alpha and the quotient.

    CUDA's powf is within 4 units in the last place of the rounded result: 4.5 of 2^-23, 9 roundings.
    """
    return case.beta * (case.size + 3) + 11


@pytest.mark.parametrize("channels", [6, 16])
def test_nan_and_infinity_are_seen(backend: Backend, precision: Precision, channels: int) -> None:
    x = np.ones((1, 1, 3, channels))
    x[0, 0, 0, 3], x[0, 0, 1, 0] = np.nan, np.inf
    p, x = lrn.parameters(channels), precision.array(x)
    with np.errstate(invalid="ignore"):
        y = backend.to_host(lrn.fprop(backend.to_device(x), p)).astype(np.float64)
    near = np.abs(np.arange(channels) - 3) <= 2
    assert np.array_equal(np.isnan(y[0, 0, 0]), near)
    assert not np.isfinite(y[0, 0, 1, 0])
    assert (y[0, 0, 1, 1:3] < 1e-20).all()  # beside infinity there is nothing left
    assert np.isfinite(y[0, 0, 1, 1:]).all()
    assert np.isfinite(y[0, 0, 2]).all()
    dy = np.ones(x.shape)
    dy[0, 0, 2, 3] = np.nan
    with np.errstate(invalid="ignore"):
        dx = backend.to_host(lrn.bprop(backend.to_device(precision.array(dy)), backend.to_device(x), p))
    assert np.isnan(dx[0, 0, 0])[near].all()
    assert np.array_equal(np.isnan(dx[0, 0, 2]), near)


def test_relu_closes_what_is_infinite(backend: Backend, precision: Precision) -> None:
    for channels in (6, 16):
        x, dy = np.ones((1, 1, 1, channels)), np.ones((1, 1, 1, channels))
        x[..., 2], dy[..., 2] = 0.0, np.inf
        p = lrn.parameters(channels)
        on_device = [backend.to_device(precision.array(a)) for a in (dy, x)]
        with np.errstate(invalid="ignore"):
            dx = backend.to_host(lrn.bprop(*on_device, p, relu=True))
        assert dx[0, 0, 0, 2] == 0


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    case = CASES["paper, a window a tower"]
    p, (x, dy) = case.parameters, (backend.to_device(precision.array(a)) for a in case.arrays())
    y, dx = backend.poisoned(case.shape, precision.dtype), backend.poisoned(case.shape, precision.dtype)
    assert lrn.fprop(x, p, out=y) is y
    assert_equal(backend.to_host(y), backend.to_host(lrn.fprop(x, p)))
    assert lrn.bprop(dy, x, p, out=dx) is dx
    assert_equal(backend.to_host(dx), backend.to_host(lrn.bprop(dy, x, p)))


def test_overlap_is_named(backend: Backend, precision: Precision) -> None:
    case = CASES["paper, a window a tower"]
    p, (x, dy) = case.parameters, (precision.array(a) for a in case.arrays())
    memory = backend.to_device(np.concatenate([a.reshape(-1) for a in (x, dy, x)]))
    x, dy = (memory[i * x.size : (i + 1) * x.size].reshape(x.shape) for i in range(2))
    before = backend.bits(memory)
    last = memory[2 * x.size - 1 : 3 * x.size - 1].reshape(x.shape)  # its first number is dy's last
    for out, other in ((x, "x"), (dy, "dy"), (last, "dy")):
        with pytest.raises(ValueError, match=f"out overlaps {other}; expected memory of its own"):
            lrn.bprop(dy, x, p, out=out)
    with pytest.raises(ValueError, match="out overlaps x; expected memory of its own"):
        lrn.fprop(x, p, out=x)
    assert backend.bits(memory) == before
    lrn.bprop(dy, x, p, out=memory[2 * x.size :].reshape(x.shape))  # begins where dy ends


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    arrays = {name: precision.array(rng.standard_normal((2, 3, 2, 32))) for name in ("x", "y", "dy", "dx")}
    p = lrn.parameters(32, alpha=0.3, groups=2)

    def run(x: Any, y: Any, dy: Any, dx: Any) -> list[Any]:
        return [lrn.fprop(x, p, out=y), lrn.bprop(dy, x, p, out=dx)]

    assert_alignment_changes_nothing(backend, arrays, run)


def test_repeats_to_the_bit(backend: Backend, precision: Precision) -> None:
    for name in ("vectors, groups", "window of 9, groups, beta 1.2"):
        case = CASES[name]
        x, dy = (precision.array(a) for a in case.arrays())

        def run(x: Array = x, dy: Array = dy, p: Any = case.parameters) -> list[Any]:
            on_device = backend.to_device(x)
            return [lrn.fprop(on_device, p), lrn.bprop(backend.to_device(dy), on_device, p)]

        assert_repeats(backend, run)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"size": 4}, ValueError, "size must be odd, got 4"),
        ({"size": 2**31 + 1}, ValueError, "size must be at most 2147483647, got 2147483649"),
        ({"size": 0}, ValueError, "size must be 1 integer of at least 1, got 0"),
        ({"size": 5.0}, TypeError, "size must be 1 integer of at least 1, got 5.0"),
        ({"k": 0.0}, ValueError, "k must be positive and alpha not negative, got 0.0"),
        ({"k": float("nan")}, ValueError, "k must be positive"),
        ({"alpha": -1e-4}, ValueError, "got 2.0 and -0.0001"),
        ({"groups": 5}, ValueError, "groups must divide 12 channels, got 5"),
        ({"groups": 0}, ValueError, "groups must be 1 integer of at least 1, got 0"),
    ],
    ids=str,
)
def test_bad_parameters(change: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        lrn.parameters(12, **change)
    assert words in str(caught.value)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(*shape: int) -> Any:
        return backend.to_device(precision.array(np.zeros(shape)))

    p = lrn.parameters(12, groups=2)
    with pytest.raises(ValueError, match=r"x must have shape \[any, any, any, any\], got \[2, 12\]"):
        lrn.fprop(zeros(2, 12), p)
    with pytest.raises(ValueError, match="groups must divide 7 channels, got 2"):
        lrn.fprop(zeros(1, 1, 1, 7), p)
    with pytest.raises(ValueError, match="groups must divide 7 channels, got 2"):
        lrn.bprop(zeros(1, 1, 1, 7), zeros(1, 1, 1, 7), p)
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 2, 3, 12\], got \[1, 3, 2, 12\]"):
        lrn.bprop(zeros(1, 3, 2, 12), zeros(1, 2, 3, 12), p)
