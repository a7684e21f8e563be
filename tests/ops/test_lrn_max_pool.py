"""LRN and the max-pool after it in one pass: what the two operations give in turn, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu import lrn_max_pool as implementation
from alexnet_cuda.ops import lrn, lrn_max_pool, max_pool

from . import test_lrn
from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .test_lrn import bprop_terms, relative_units
from .tolerance import Precision, assert_close, assert_equal

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case(test_lrn.Case):
    """With the pool's window."""

    pool: int = 3
    stride: int = 2
    padding: Any = 0
    ceil_mode: bool = False

    @property
    def window(self) -> dict[str, Any]:
        return {"size": self.pool, "stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}


CASES = {
    "paper, a window a tower": Case((2, 7, 9, 12), groups=2),
    "across, alpha over n": Case((1, 6, 5, 11), k=1.0, alpha_over_size=True),
    "window of 9, beta 1.2, gaps": Case((2, 9, 11, 22), size=9, beta=1.2, groups=2, pool=2, stride=5),
    "window of 1": Case((1, 5, 4, 3), size=1, pool=2, stride=1),
    "vectors, groups": Case((2, 7, 9, 96), groups=2),
    "vectors across, a rest left out": Case((1, 8, 6, 32), k=1.0, beta=0.6, pool=3, stride=2),
    "more than one block has room for": Case((1, 40, 36, 64), groups=2),
    "a pool of 1": Case((2, 5, 4, 19), pool=1, stride=1),
    "the largest pool": Case((1, 16, 15, 5), pool=15, stride=1),
    "padding and ceil mode, lopsided": Case((2, 8, 6, 12), groups=2, padding=((1, 0), (0, 2)), ceil_mode=True),
    "vectors, padding": Case((1, 9, 7, 96), groups=2, padding=1),
    "more than one block has room for, padding, beta .6": Case((1, 40, 36, 64), beta=0.6, padding=((2, 1), (1, 2))),
    "empty batch": Case((0, 7, 9, 12), groups=2),
}
ALEXNET = {
    "conv1's": Case((1, 55, 55, 96), alpha=1e-4, groups=2, deviation=30.0),
    "conv2's": Case((1, 27, 27, 256), alpha=1e-4, groups=2, deviation=30.0),
}
ALL = {**CASES, **ALEXNET}
SMALL = [CASES[name] for name in ("paper, a window a tower", "vectors, groups", "window of 9, beta 1.2, gaps")]
all_cases = pytest.mark.parametrize("case", ALL.values(), ids=ALL)
every_placement = pytest.mark.parametrize("placement", ["to_device", "shifted"])


@small(case=[*SMALL, CASES["vectors, padding"]], placement=["to_device"])
@all_cases
@every_placement
def test_fprop(backend: Backend, precision: Precision, case: Case, placement: str) -> None:
    x = precision.array(case.arrays()[0])
    expected, _ = max_pool.fprop(lrn.fprop(x.astype(np.float64), case.parameters), **case.window)
    to_device = getattr(backend, placement)
    y, argmax = backend.poisoned(expected.shape, x.dtype), backend.poisoned(expected.shape, np.uint8)
    given = lrn_max_pool.fprop(to_device(x), case.parameters, out=y, argmax_out=argmax, **case.window)
    assert given[0] is y
    assert given[1] is argmax
    bound = precision.bound(expected, relative_units(case) * np.abs(expected))
    assert_close(backend.to_host(y), expected, bound, precision.dtype, relative_units(case) * precision.accumulate)
    alone, none = lrn_max_pool.fprop(to_device(x), case.parameters, train=False, **case.window)
    assert none is None
    assert backend.bits(alone) == backend.bits(y)
    # One pass gives the bits of two; the argmax depends on them, so here it is that of the backend's own LRN.
    two = max_pool.fprop(lrn.fprop(to_device(x), case.parameters), **case.window)
    assert [backend.bits(a) for a in given] == [backend.bits(a) for a in two]


@small(case=SMALL, placement=["to_device"])
@all_cases
@every_placement
@pytest.mark.parametrize("relu", [False, True], ids=["", "relu"])
def test_bprop(backend: Backend, precision: Precision, case: Case, placement: str, relu: bool) -> None:
    rng = np.random.default_rng(13)
    x = precision.array(case.arrays()[0])
    if relu:
        x = np.maximum(x, x.dtype.type(0))
    to_device, options = getattr(backend, placement), {**case.window, "relu": relu}
    _, argmax = lrn_max_pool.fprop(backend.to_device(x), case.parameters, **case.window)
    taps = backend.to_host(argmax)
    dy = precision.array(rng.standard_normal(taps.shape))
    out = backend.poisoned(x.shape, x.dtype)
    assert lrn_max_pool.bprop(to_device(dy), to_device(taps), to_device(x), case.parameters, out=out, **options) is out
    dx, x, dy = backend.to_host(out), x.astype(np.float64), dy.astype(np.float64)
    gathered = max_pool.bprop(dy, taps, x.shape, **case.window)
    expected = lrn.bprop(gathered, x, case.parameters)
    # The CPU rounds the gathered gradient, which the kernels do not: one unit more of both terms.
    terms = bprop_terms(x, max_pool.bprop(np.abs(dy), taps, x.shape, **case.window), case)
    overlap = (-(-case.pool // case.stride)) ** 2
    bound = precision.bound(expected, terms * (1 + overlap / (2 * relative_units(case))))
    if relu:
        assert (dx[x == 0] == 0).all()
        expected = np.where(x > 0, expected, 0.0)
    assert_close(dx, expected, bound, precision.dtype, relative_units(case) * precision.accumulate)


def test_the_cpu_takes_as_many_images_at_once_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case((5, 7, 6, 12), groups=2)
    x = case.arrays()[0]
    whole = lrn_max_pool.fprop(x, case.parameters)
    for chunk in (1, 2 * 7 * 6 * 12):
        monkeypatch.setattr(implementation, "_CHUNK", chunk)
        for actual, expected in zip(lrn_max_pool.fprop(x, case.parameters), whole, strict=True):
            assert_equal(actual, expected)


@pytest.mark.parametrize("channels", [6, 16])
def test_nan_is_seen_at_the_first_tap(backend: Backend, precision: Precision, channels: int) -> None:
    x = np.ones((1, 5, 5, channels))
    x[0, 1, 1, 3] = np.nan
    p = lrn.parameters(channels)
    y, argmax = (backend.to_host(a) for a in lrn_max_pool.fprop(backend.to_device(precision.array(x)), p))
    near = np.abs(np.arange(channels) - 3) <= 2
    assert np.array_equal(np.isnan(y[0, 0, 0]), near)
    assert not np.isnan(y[0, 1:, 1:]).any()
    assert (argmax == 0).all()  # of equal numbers the first, and of a window that holds a NaN


def test_overlap_is_named(backend: Backend, precision: Precision) -> None:
    case = CASES["paper, a window a tower"]
    x = backend.to_device(precision.array(np.ones(case.shape)))
    y, argmax = lrn_max_pool.fprop(x, case.parameters)
    before = [backend.bits(a) for a in (x, y)]
    for make in (
        lambda: lrn_max_pool.fprop(x, case.parameters, out=x.reshape(-1)[: y.size].reshape(y.shape)),
        lambda: lrn_max_pool.bprop(y, argmax, x, case.parameters, out=x),
    ):
        with pytest.raises(ValueError, match="out overlaps x; expected memory of its own"):
            make()
    memory = backend.poisoned((x.size + y.size - 1,), x.dtype)
    dy = memory[x.size - 1 :].reshape(y.shape)
    with pytest.raises(ValueError, match="out overlaps dy; expected memory of its own"):
        lrn_max_pool.bprop(dy, argmax, x, case.parameters, out=memory[: x.size].reshape(x.shape))
    assert [backend.bits(a) for a in (x, y)] == before


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    arrays = {name: precision.array(rng.standard_normal((2, 7, 9, 32))) for name in ("x", "dx")}
    arrays |= {name: precision.array(rng.standard_normal((2, 3, 4, 32))) for name in ("y", "dy")}
    arrays |= {"argmax": np.zeros((2, 3, 4, 32), np.uint8)}
    p = lrn.parameters(32, alpha=0.3, groups=2)

    def run(x: Any, dx: Any, y: Any, dy: Any, argmax: Any) -> list[Any]:
        lrn_max_pool.fprop(x, p, out=y, argmax_out=argmax)
        return [y, argmax, lrn_max_pool.bprop(dy, argmax, x, p, out=dx)]

    assert_alignment_changes_nothing(backend, arrays, run)


def test_repeats_to_the_bit(backend: Backend, precision: Precision) -> None:
    for name in ("vectors, groups", "window of 9, beta 1.2, gaps", "more than one block has room for"):
        case = CASES[name]
        x = precision.array(case.arrays()[0])

        def run(x: Array = x, case: Case = case) -> list[Any]:
            on_device = backend.to_device(x)
            y, argmax = lrn_max_pool.fprop(on_device, case.parameters, **case.window)
            return [y, argmax, lrn_max_pool.bprop(y, argmax, on_device, case.parameters, **case.window)]

        assert_repeats(backend, run)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = precision.dtype) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    p, x = lrn.parameters(12, groups=2), zeros((1, 7, 9, 12))
    with pytest.raises(ValueError, match=r"x must have shape \[any, any, any, any\], got \[7, 9, 12\]"):
        lrn_max_pool.fprop(zeros((7, 9, 12)), p)
    with pytest.raises(ValueError, match="groups must divide 7 channels, got 2"):
        lrn_max_pool.fprop(zeros((1, 7, 9, 7)), p)
    with pytest.raises(ValueError, match="the padded input's extent, 7x9, and at most 15, got 8"):
        lrn_max_pool.fprop(x, p, size=8)
    with pytest.raises(TypeError, match="argmax_out must be of dtype uint8, got int64"):
        lrn_max_pool.fprop(x, p, argmax_out=zeros((1, 3, 4, 12), np.int64))
    argmax = zeros((1, 3, 4, 12), np.uint8)
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 3, 4, 12\], got \[1, 4, 3, 12\]"):
        lrn_max_pool.bprop(zeros((1, 4, 3, 12)), argmax, x, p)
    with pytest.raises(ValueError, match=r"argmax must have shape \[1, 3, 4, 12\], got \[1, 4, 3, 12\]"):
        lrn_max_pool.bprop(zeros((1, 3, 4, 12)), zeros((1, 4, 3, 12), np.uint8), x, p)
