"""Max-pooling, exact in every precision."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.base.windows import sides
from alexnet_cuda.ops import max_pool

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import PRECISIONS, Precision, assert_close, assert_equal, assert_gradient

Array = npt.NDArray[Any]
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """The windows of a pool."""

    size: int
    stride: int
    padding: Any = 0
    ceil_mode: bool = False

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def begins(self, shape: tuple[int, ...]) -> list[list[int]]:
        """Of an input [N, H, W, C] the first row of each window down, and the first column of each across.

        Windows are whole; in ceil mode, where one before ends short of the padded input, there is another, unless it
        would begin beyond the input.
        """
        axes = []
        for extent, (before, after) in zip(shape[1:3], sides(self.padding), strict=True):
            begins, at = [], -before
            while at + self.size <= extent + after or (
                self.ceil_mode and at - self.stride + self.size < extent + after and at < extent
            ):
                begins.append(at)
                at += self.stride
            axes.append(begins)
        return axes


# Input shape and window. The kernels take 4 or 8 channels at once where the channels are a multiple of that.
CASES: dict[str, tuple[Shape, Window]] = {
    "overlapping": ((2, 7, 9, 5), Window(3, 2)),
    "a rest left out": ((1, 8, 6, 3), Window(3, 2)),
    "side by side": ((3, 6, 4, 2), Window(2, 2)),
    "much overlap": ((1, 5, 7, 3), Window(3, 1)),
    "gaps": ((1, 9, 11, 2), Window(2, 5)),
    "a window of 1": ((2, 3, 4, 2), Window(1, 1)),
    "every other": ((1, 5, 6, 2), Window(1, 2)),
    "one window": ((1, 4, 4, 1), Window(4, 3)),
    "the largest window": ((1, 16, 15, 2), Window(15, 1)),
    "vectors": ((2, 7, 9, 24), Window(3, 2)),
    "vectors with gaps": ((2, 9, 11, 8), Window(2, 5)),
    "one past a block of threads": ((2, 6, 9, 257), Window(4, 1)),
    "padding": ((2, 7, 9, 5), Window(3, 2, 1)),
    "padding and ceil mode, lopsided": ((2, 8, 6, 3), Window(3, 2, ((1, 0), (0, 2)), True)),
    "ceil mode takes the rest": ((1, 8, 6, 8), Window(3, 2, 0, True)),
    "ceil mode drops a window in the padding": ((1, 5, 6, 2), Window(2, 3, 1, True)),
    "smaller than the window": ((1, 1, 2, 3), Window(3, 2, (1, (1, 2)))),
    "vectors, padding lopsided": ((2, 6, 9, 24), Window(4, 2, ((0, 3), (2, 1)))),
    "empty batch": ((0, 7, 9, 5), Window(3, 2)),
}
ALEXNET = {
    "conv1's": ((1, 55, 55, 96), Window(3, 2)),
    "conv2's": ((1, 27, 27, 256), Window(3, 2)),
    "conv5's": ((2, 13, 13, 256), Window(3, 2)),
}
ALL = {**CASES, **ALEXNET}
# What a thread takes by itself and in vectors, and windows that reach beyond the input.
small_names = ("overlapping", "vectors", "vectors, padding lopsided")
small_shapes = [CASES[name][0] for name in small_names]
all_cases = pytest.mark.parametrize(("shape", "window"), ALL.values(), ids=ALL)
every_placement = pytest.mark.parametrize("placement", ["to_device", "shifted"])


def loops(x: Array, window: Window) -> tuple[Array, Array]:
    """Maxima, and the first tap of each, straight from the definition."""
    (n, _, _, c), size = x.shape, window.size
    rows, columns = window.begins(x.shape)
    shape = (n, len(rows), len(columns), c)
    y, argmax = np.zeros(shape, x.dtype), np.zeros(shape, np.uint8)
    wide = np.pad(x, [(0, 0), (size, size), (size, size), (0, 0)], constant_values=-np.inf)
    for p, q in np.ndindex(*shape[1:3]):
        h, w = rows[p] + size, columns[q] + size
        taps = wide[:, h : h + size, w : w + size].reshape(n, size * size, c)
        argmax[:, p, q] = taps.argmax(axis=1)  # the first of equal ones
        y[:, p, q] = taps.max(axis=1)
    return y, argmax


def spread(dy: Array, argmax: Array, shape: Shape, window: Window) -> Array:
    """The gradient in float64, each dy added to where its maximum was."""
    size, (rows, columns) = window.size, window.begins(shape)
    wide = np.zeros((shape[0], shape[1] + 2 * size, shape[2] + 2 * size, shape[3]))
    for p, q in np.ndindex(*dy.shape[1:3]):
        for r, s in np.ndindex(size, size):
            passed = np.where(argmax[:, p, q] == r * size + s, dy[:, p, q], 0.0)
            wide[:, rows[p] + size + r, columns[q] + size + s] += passed
    return wide[:, size:-size, size:-size]


@small(shape=small_shapes, values=["ties"], placement=["to_device"])
@all_cases
@pytest.mark.parametrize("values", ["apart", "ties"])
@every_placement
def test_fprop_and_bprop(
    backend: Backend, precision: Precision, shape: Shape, window: Window, values: str, placement: str
) -> None:
    rng = np.random.default_rng(8)
    x = precision.array(rng.standard_normal(shape) if values == "apart" else rng.integers(-1, 2, shape))
    expected, taps = loops(x, window)
    to_device, options = getattr(backend, placement), window.options
    out, argmax_out = backend.poisoned(expected.shape, precision.dtype), backend.poisoned(taps.shape, np.uint8)
    y, argmax = max_pool.fprop(to_device(x), out=out, argmax_out=argmax_out, **options)
    assert_equal(backend.to_host(y), expected)
    assert_equal(backend.to_host(argmax), taps)
    alone, none = max_pool.fprop(to_device(x), train=False, **options)
    assert none is None
    assert_equal(backend.to_host(alone), expected)
    dy = precision.array(rng.standard_normal(expected.shape))
    dx = max_pool.bprop(to_device(dy), argmax, shape, out=backend.poisoned(shape, precision.dtype), **options)
    assert_spread(backend, precision, dx, dy, taps, shape, window)


def assert_spread(
    backend: Backend, precision: Precision, dx: Any, dy: Array, taps: Array, shape: Shape, window: Window
) -> None:
    dy = dy.astype(np.float64)
    gradient, sizes = spread(dy, taps, shape, window), spread(np.abs(dy), taps, shape, window)
    # At most so many windows share an element: each addition rounds once.
    bound = precision.bound(gradient, min(window.size, -(-window.size // window.stride)) ** 2 * sizes)
    assert_close(backend.to_host(dx), gradient, bound, precision.dtype)


@small(shape=small_shapes, placement=["to_device"])
@all_cases
@every_placement
def test_bprop_through_the_relu_before(
    backend: Backend, precision: Precision, shape: Shape, window: Window, placement: str
) -> None:
    rng = np.random.default_rng(8)
    # Half of the windows have a maximum of zero, as after a ReLU; of the others some tie.
    x = precision.array(np.maximum(rng.integers(-(window.size**2), 3, shape), 0))
    dy = precision.array(rng.standard_normal(loops(x, window)[0].shape))
    y, argmax = max_pool.fprop(backend.to_device(x), **window.options)
    expected, taps = loops(x, window)
    out, to_device = backend.poisoned(shape, precision.dtype), getattr(backend, placement)
    dx = max_pool.bprop(to_device(dy), argmax, shape, **window.options, y=to_device(backend.to_host(y)), out=out)
    assert_spread(backend, precision, dx, np.where(expected > 0, dy, dy.dtype.type(0)), taps, shape, window)


def test_only_the_maximum_and_only_an_open_window_passes_infinities(backend: Backend, precision: Precision) -> None:
    dy = precision.array(np.array([np.inf, -np.inf, np.nan, np.inf]).reshape(1, 1, 4, 1))
    y = precision.array(np.array([1.0, 0.0, -1.0, np.nan]).reshape(1, 1, 4, 1))
    argmax = np.array([3, 0, 1, 2], np.uint8).reshape(1, 1, 4, 1)
    given = [backend.to_device(a) for a in (dy, argmax)]
    expected = np.zeros((1, 2, 8, 1))
    expected[0, 1, 1] = np.inf
    dx = max_pool.bprop(*given, (1, 2, 8, 1), size=2, stride=2, y=backend.to_device(y))
    assert_equal(backend.to_host(dx), precision.array(expected))
    expected[0, 0, 2], expected[0, 0, 5], expected[0, 1, 6] = -np.inf, 7.0, np.inf
    dx = backend.to_host(max_pool.bprop(*given, (1, 2, 8, 1), size=2, stride=2)).copy()
    assert np.isnan(dx[0, 0, 5, 0])
    dx[0, 0, 5, 0] = 7.0
    assert_equal(dx, precision.array(expected))


@pytest.mark.parametrize("name", ["overlapping", "a rest left out", "gaps", "padding and ceil mode, lopsided"])
def test_reference_gradient_equals_differences(name: str) -> None:
    shape, window = CASES[name]
    rng = np.random.default_rng(9)
    x = rng.permutation(int(np.prod(shape))).reshape(shape) / 16.0  # no two closer than the step of the difference
    y, argmax = max_pool.fprop(x, **window.options)
    dy = rng.standard_normal(y.shape)
    dx = max_pool.bprop(dy, argmax, shape, **window.options)
    assert_gradient(lambda moved: max_pool.fprop(moved, **window.options, train=False)[0], x, dy, dx)


@pytest.mark.parametrize("channels", [2, 8])
def test_nan_spreads_to_every_window_that_holds_it_and_infinities_are_numbers(
    backend: Backend, precision: Precision, channels: int
) -> None:
    x = np.zeros((1, 7, 7, channels))
    x[0, 2, 4, 0], x[0, 0, 0, 1], x[0, 6, 6, 1] = np.nan, -np.inf, np.inf
    x[0, 0, 4, 0] = np.inf  # in two of the windows before the NaN, and not their maximum
    y, argmax = (backend.to_host(a) for a in max_pool.fprop(backend.to_device(precision.array(x))))
    holds = np.zeros((3, 3), bool)
    holds[0, 1:] = holds[1, 1:] = True  # row 2 is in windows 0 and 1, column 4 in windows 1 and 2
    assert np.array_equal(np.isnan(y[0, :, :, 0]), holds)
    assert (argmax[0, :, :, 0][holds] == 0).all()
    assert y[0, 0, 0, 1] == 0
    assert argmax[0, 0, 0, 1] == 1
    assert y[0, 2, 2, 1] == np.inf
    assert argmax[0, 2, 2, 1] == 8
    # Where nothing is larger than the rest the first tap in the input is taken, never one in the padding.
    for value in (-np.inf, np.nan):
        constant = backend.to_device(precision.array(np.full((1, 3, 3, channels), value)))
        y, argmax = (backend.to_host(a) for a in max_pool.fprop(constant, padding=(1, 0)))
        assert np.array_equal(y, np.full_like(y, value), equal_nan=True)
        assert argmax[0, :, 0].tolist() == [[3] * channels, [0] * channels]


def test_results_go_to_the_arrays_given(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    x, dy = (precision.array(rng.standard_normal(s)) for s in ((2, 7, 9, 5), (2, 3, 4, 5)))
    y, argmax = backend.poisoned(dy.shape, precision.dtype), backend.poisoned(dy.shape, np.uint8)
    written = max_pool.fprop(backend.to_device(x), out=y, argmax_out=argmax)
    assert written[0] is y
    assert written[1] is argmax
    for actual, expected in zip(written, loops(x, Window(3, 2)), strict=True):
        assert_equal(backend.to_host(actual), expected)
    dx = backend.poisoned(x.shape, precision.dtype)
    assert max_pool.bprop(backend.to_device(dy), argmax, x.shape, out=dx) is dx
    assert_equal(backend.to_host(dx), backend.to_host(max_pool.bprop(backend.to_device(dy), argmax, x.shape)))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"size": 8}, ValueError, "size must be between 1 and the padded input's extent, 7x9, and at most 15, got 8"),
        ({"size": 0}, ValueError, "size must be 1 integer of at least 1, got 0"),
        ({"size": 2.5}, TypeError, "size must be 1 integer of at least 1, got 2.5"),
        ({"stride": 0}, ValueError, "stride must be 1 integer of at least 1, got 0"),
        ({"stride": 2**31}, ValueError, "stride must be at most 2147483647, got 2147483648"),
        ({"stride": 2**64}, ValueError, "stride must be at most 2147483647, got 18446744073709551616"),
        ({"stride": -2}, ValueError, "stride must be 1 integer of at least 1, got -2"),
        ({"size": 13, "stride": 5, "padding": ((1, 2), 3)}, ValueError, "padded input's extent, 10x15, and at most 15"),
        ({"padding": (0, (1, 3))}, ValueError, "padding must be less than the window's size, 3, got (0, (1, 3))"),
        (
            {"padding": (0, -1)},
            ValueError,
            "padding must be an integer of at least 0, two of them for height and width",
        ),
        ({"padding": (1, 1, 1)}, ValueError, "or ((top, bottom), (left, right)), got (1, 1, 1)"),
        ({"padding": ((1, 1), (1, 1, 1))}, ValueError, "got ((1, 1), (1, 1, 1))"),
        ({"padding": 0.5}, TypeError, "padding must be an integer of at least 0"),
    ],
    ids=str,
)
def test_bad_windows(
    backend: Backend, precision: Precision, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    x = backend.to_device(precision.array(np.zeros((1, 7, 9, 2))))
    with pytest.raises(error) as caught:
        max_pool.fprop(x, **options)
    assert words in str(caught.value)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = precision.dtype) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    with pytest.raises(ValueError, match=r"x must have shape \[any, any, any, any\], got \[7, 9, 2\]"):
        max_pool.fprop(zeros((7, 9, 2)))
    with pytest.raises(ValueError, match="at most 15, got 16"):
        max_pool.fprop(zeros((1, 20, 20, 1)), size=16)
    with pytest.raises(TypeError, match="argmax_out must be of dtype uint8, got int64"):
        max_pool.fprop(zeros((1, 7, 9, 2)), argmax_out=zeros((1, 3, 4, 2), np.int64))
    with pytest.raises(ValueError, match=r"dy must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        max_pool.bprop(zeros((1, 4, 3, 2)), zeros((1, 3, 4, 2), np.uint8), (1, 7, 9, 2))
    with pytest.raises(ValueError, match=r"argmax must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 4, 3, 2), np.uint8), (1, 7, 9, 2))
    with pytest.raises(TypeError, match="argmax must be of dtype uint8"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 3, 4, 2), np.int64), (1, 7, 9, 2))
    with pytest.raises(ValueError, match=r"input_shape must be 4 integers of at least 0, got \(7, 9, 2\)"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 3, 4, 2), np.uint8), (7, 9, 2))
    with pytest.raises(ValueError, match=r"y must have shape \[1, 3, 4, 2\], got \[1, 4, 3, 2\]"):
        max_pool.bprop(zeros((1, 3, 4, 2)), zeros((1, 3, 4, 2), np.uint8), (1, 7, 9, 2), y=zeros((1, 4, 3, 2)))


def test_overlap_is_named(backend: Backend, precision: Precision) -> None:
    x = backend.to_device(precision.array(np.ones((1, 7, 9, 2))))
    y, argmax = max_pool.fprop(x)
    before = [backend.bits(a) for a in (x, y)]
    with pytest.raises(ValueError, match="out overlaps x; expected memory of its own"):
        max_pool.fprop(x, out=x.reshape(-1)[x.size - y.size :].reshape(y.shape))
    dy = x.reshape(-1)[: y.size].reshape(y.shape)
    with pytest.raises(ValueError, match="out overlaps dy; expected memory of its own"):
        max_pool.bprop(dy, argmax, x.shape, out=x)
    with pytest.raises(ValueError, match="out overlaps y; expected memory of its own"):
        max_pool.bprop(y, argmax, x.shape, y=dy, out=x)
    assert [backend.bits(a) for a in (x, y)] == before


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(10)
    arrays = {name: precision.array(rng.standard_normal((2, 7, 9, 16))) for name in ("x", "dx")}
    arrays |= {name: precision.array(rng.standard_normal((2, 3, 4, 16))) for name in ("y", "dy")}
    arrays |= {"argmax": np.zeros((2, 3, 4, 16), np.uint8)}

    def run(x: Any, dx: Any, y: Any, dy: Any, argmax: Any) -> list[Any]:
        max_pool.fprop(x, out=y, argmax_out=argmax)
        plain = backend.to_device(backend.to_host(max_pool.bprop(dy, argmax, x.shape, out=dx)))
        return [y, argmax, plain, max_pool.bprop(dy, argmax, x.shape, y=y, out=dx)]

    assert_alignment_changes_nothing(backend, arrays, run)


def test_repeats_to_the_bit(backend: Backend) -> None:
    x = PRECISIONS["float32"].array(np.random.default_rng(8).standard_normal((2, 7, 9, 24)))

    def run() -> list[Any]:
        y, argmax = max_pool.fprop(backend.to_device(x))
        return [y, argmax, max_pool.bprop(y, argmax, x.shape), max_pool.bprop(y, argmax, x.shape, y=y)]

    assert_repeats(backend, run)
