"""Convolution: the float64 reference against loops and differences, then every backend against the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu import conv2d as implementation
from alexnet_cuda.base.windows import sides
from alexnet_cuda.ops import conv2d
from alexnet_cuda.ops.sgd import SgdParams

from ..kernels.guarded import problem
from .backends import Backend, ChannelRange, assert_alignment_changes_nothing, assert_repeats
from .conv2d_cases import (
    ALEXNET,
    ALL,
    CASES,
    TILED,
    Case,
    all_cases,
    cases,
    check_dgrad,
    check_fprop,
    check_wgrad,
    dgrad_sums,
    fprop_sums,
    layers,
    rounded,
    wgrad_sums,
)
from .fused import (
    DGRAD_FORMS,
    FPROP_FORMS,
    SMALL_DGRAD,
    SMALL_FPROP,
    SMALL_PINS,
    SMALL_WGRAD,
    WGRAD_FORMS,
    DgradForm,
    FpropForm,
    WgradForm,
    dgrad_forms,
    fprop_forms,
    pinned,
    wgrad_forms,
)
from .small import small
from .tolerance import TENSOR_CORES, Precision, Sums, assert_close, assert_equal, assert_gradient, assert_sums

Array = npt.NDArray[Any]


def products(case: Case) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Straight from the equation: indices into x, weight and y of every product that adds to an output."""
    per_group, filters = case.c // case.groups, case.k // case.groups
    (top, _), (left, _) = sides(case.padding)
    for n, p, q, k in np.ndindex(case.n, *case.pq, case.k):
        for r, s, c in np.ndindex(*case.rs, per_group):
            h = p * case.stride[0] + r - top
            w = q * case.stride[1] + s - left
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


@pytest.mark.parametrize(
    "name", ["lopsided", "unequal padding", "padding wider than the filter", "stride beyond the filter"]
)
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


SMALL = [CASES["lopsided, batch of 3"], *(TILED[name] for name in ("vectors", "folded", "scalar loads, many of all"))]


@small(case=SMALL)
@all_cases
def test_fprop(backend: Backend, product: Precision, case: Case) -> None:
    check_fprop(backend, product, case, FPROP_FORMS["relu"] if case.n else FPROP_FORMS["alone"])


@small(case=SMALL)
@all_cases
def test_dgrad(backend: Backend, product: Precision, case: Case) -> None:
    check_dgrad(backend, product, case, DGRAD_FORMS["alone"])


@small(case=SMALL)
@all_cases
def test_wgrad(backend: Backend, product: Precision, case: Case) -> None:
    check_wgrad(backend, product, case, WGRAD_FORMS["alone"])


@layers
def test_fprop_of_alexnet(backend: Backend, layer_product: Precision, case: Case) -> None:
    check_fprop(backend, layer_product, case, FPROP_FORMS["relu"])


@pytest.mark.parametrize("case", list(ALEXNET.values())[1:], ids=list(ALEXNET)[1:])  # nobody asks for conv1's
def test_dgrad_of_alexnet(backend: Backend, layer_product: Precision, case: Case) -> None:
    check_dgrad(backend, layer_product, case, DGRAD_FORMS["relu"])


@layers
def test_wgrad_of_alexnet(backend: Backend, layer_product: Precision, case: Case) -> None:
    check_wgrad(backend, layer_product, case, WGRAD_FORMS["alone"])


# 308 rows of 136 columns and 272 products in each of 2 groups, 286 rows and 308 products the other ways round: past
# every tile, and of the reduction five tiles of 64, which two splits share unevenly and no pipeline holds.
LARGE = Case(2, (13, 11), 272, 272, (2, 1), (1, 1), (1, 0), 2)
PINS = [
    "tile=128x128,splits=1",
    "tile=128x96,splits=2",
    "tile=192x48,splits=2",
    "tile=64x64,splits=3",
    "tile=16x128,splits=1",
]


@small(pins=PINS)
@pytest.mark.parametrize("pins", PINS)
@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_every_tile(kernels: Backend, product: Precision, direction: str, pins: str) -> None:
    tile = tuple(int(size) for size in pins[5 : pins.index(",")].split("x"))
    if direction == "wgrad" and tile in ((16, 128), (192, 48)):
        tile = (64, 64)  # where none fits the pin is passed over, and the choice is free
        pins = "tile=64x64,splits=1"
    shape = (LARGE.n, *LARGE.hw, LARGE.c, LARGE.k, *LARGE.rs)
    chosen = kernels.extension.conv2d_config(
        direction=direction, problem=problem(shape, product.name, **LARGE.options), aligned=True, force=pins
    )
    assert (chosen["tile"][:2], chosen["vector"]) == (tile, True)
    with pinned(pins):
        if direction == "fprop":
            check_fprop(kernels, product, LARGE, FPROP_FORMS["relu"])
        elif direction == "dgrad":
            check_dgrad(kernels, product, LARGE, DGRAD_FORMS["relu"])
        else:
            check_wgrad(kernels, product, LARGE, WGRAD_FORMS["no bias"])


# On the CPU the pins are nothing, and the second is as the first.
FUSED = {
    "lopsided": (CASES["lopsided, batch of 3"], ""),
    "vectors": (TILED["vectors"], "splits=1"),
    "vectors, split": (TILED["vectors"], "splits=3"),
    "folded": (TILED["folded"], ""),
    "odd columns, split": (TILED["scalar loads, many of all"], "splits=3"),
}
fused = pytest.mark.parametrize(("case", "pins"), FUSED.values(), ids=FUSED)


@small(pins=SMALL_PINS, form=SMALL_FPROP)
@fused
@fprop_forms
def test_fused_fprop(backend: Backend, product: Precision, case: Case, pins: str, form: FpropForm) -> None:
    with pinned(pins):
        check_fprop(backend, product, case, form)


@small(pins=SMALL_PINS, form=SMALL_DGRAD)
@fused
@dgrad_forms
def test_fused_dgrad(backend: Backend, product: Precision, case: Case, pins: str, form: DgradForm) -> None:
    with pinned(pins):
        check_dgrad(backend, product, case, form)


@small(pins=SMALL_PINS, form=SMALL_WGRAD)
@fused
@wgrad_forms
def test_fused_wgrad(backend: Backend, product: Precision, case: Case, pins: str, form: WgradForm) -> None:
    with pinned(pins):
        check_wgrad(backend, product, case, form)


@pytest.mark.parametrize("name", ["vectors", "folded", "lopsided"])
def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, product: Precision, name: str) -> None:
    case, _ = FUSED[name]
    check_fprop(backend, product, case, FPROP_FORMS["all, sums"], "shifted")
    check_dgrad(backend, product, case, DGRAD_FORMS["all, sums"], "shifted")
    check_wgrad(backend, product, case, WGRAD_FORMS["no bias"], "shifted")
    check_wgrad(backend, product, case, WgradForm(bias=False, sgd=True, copy=True), "shifted")


def test_what_joins_the_sums_may_lie_on_no_multiple_of_16_bytes(backend: Backend, product: Precision) -> None:
    """One at a time: the operands lie as they should, so that the sums are the same."""
    case, sums = TILED["vectors"], product.sums
    x, weight, dy = rounded(case, product.name)
    on_device = [backend.to_device(a) for a in (x, weight, dy)]
    options = {**case.options, "precision": product.option}
    bias = product.parameter(np.arange(case.k) - 9.5)

    def fprop(bias: Any, addend: Any, out: Any) -> list[Any]:
        return [conv2d.fprop(*on_device[:2], bias, addend=addend, activation="relu", out=out, **options)]

    def dgrad(mask: Any, addend: Any, out: Any) -> list[Any]:
        return [conv2d.dgrad(on_device[2], on_device[1], x.shape, mask=mask, addend=addend, out=out, **options)]

    def wgrad(new: Any, velocity: Any, out: Any, copy: Any = None) -> list[Any]:
        p = SgdParams(new, velocity, 0.5, copy=copy)
        conv2d.wgrad(on_device[0], on_device[2], case.rs, sgd=p, bias=False, out=out, **options)
        return [new, velocity, out, *([] if copy is None else [copy])]

    for result in (product, sums):
        outputs = [np.zeros(a.shape, result.dtype) for a in (dy, x)]
        arrays = {"bias": bias, "addend": product.parameter(dy), "out": outputs[0]}
        assert_alignment_changes_nothing(backend, arrays, fprop)
        arrays = {"mask": x, "addend": product.parameter(x), "out": outputs[1]}
        assert_alignment_changes_nothing(backend, arrays, dgrad)
    kept = product.parameter(weight)
    arrays = {"new": kept, "velocity": kept, "out": kept}
    if product.dtype.itemsize == 2:
        arrays["copy"] = weight
    assert_alignment_changes_nothing(backend, arrays, wgrad)


# First channel and channels of the whole: of x and its gradient, y and its gradient, weight and its gradient.
RANGES = {
    "vectors": (TILED["vectors"], (32, 96), (16, 48), (16, 40)),
    "the first half": (TILED["vectors"], (0, 64), (0, 64), (0, 32)),
    "vectors, at odd places": (TILED["vectors"], (3, 40), (5, 43), (1, 17)),
    "vectors, odd pitches of y": (TILED["vectors"], (0, 64), (8, 43), (0, 32)),
    "vectors, odd pitches of x": (TILED["vectors"], (8, 43), (0, 64), (0, 32)),
    "vectors, odd pitches of the weights": (TILED["vectors"], (0, 64), (0, 64), (8, 25)),
    # A filter of 8 taps is whole vectors whatever the pitch of one.
    "vectors, odd pitch of the taps": (Case(2, (9, 8), 32, 32, (4, 2), (2, 1), (1, 0), 2), (0, 64), (0, 64), (8, 25)),
    "scalar loads": (CASES["lopsided, batch of 3"], (1, 9), (2, 7), (3, 8)),
    "what would be folded": (TILED["folded"], (1, 5), (8, 16), (0, 4)),
}
ranges = pytest.mark.parametrize(("case", "x_at", "y_at", "weight_at"), RANGES.values(), ids=RANGES)
At = tuple[int, int]


@ranges
def test_fprop_of_channel_ranges(
    backend: Backend, product: Precision, case: Case, x_at: At, y_at: At, weight_at: At
) -> None:
    x, weight, dy = rounded(case, product.name)
    expected = fprop_sums(case, product.name, backend.kernels)
    first, second = backend.channel_range(x, *x_at), backend.channel_range(weight, *weight_at)
    for result, addend in ((product, None), (product.sums, None), (product, dy), (product.sums, dy)):
        y = backend.channel_range(np.full(dy.shape, np.nan, result.dtype), *y_at)
        terms = None if addend is None else product.parameter(addend)
        given = conv2d.fprop(
            first.array,
            second.array,
            addend=None if terms is None else backend.channel_range(terms, *y_at).array,
            precision=product.option,
            out=y.array,
            **case.options,
        )
        assert given is y.array
        assert_sums(y.to_host(), expected.plus(terms), result)


@ranges
def test_dgrad_of_channel_ranges(
    backend: Backend, product: Precision, case: Case, x_at: At, y_at: At, weight_at: At
) -> None:
    x, weight, dy = rounded(case, product.name)
    first, second = backend.channel_range(dy, *y_at), backend.channel_range(weight, *weight_at)
    expected = dgrad_sums(case, product.name, backend.kernels)
    opened = np.asarray(x > 0)
    for result in (product, product.sums):
        dx = backend.channel_range(np.full(x.shape, np.nan, result.dtype), *x_at)
        mask = backend.channel_range(x, *x_at)
        conv2d.dgrad(
            first.array,
            second.array,
            x.shape,
            mask=mask.array,
            mask_scale=2.0,
            precision=product.option,
            out=dx.array,
            **case.options,
        )
        masked = Sums(2 * expected.value * opened, 2 * expected.units * opened, expected.depth)
        assert_sums(dx.to_host(), masked, result)


@ranges
def test_wgrad_of_channel_ranges(
    backend: Backend, product: Precision, case: Case, x_at: At, y_at: At, weight_at: At
) -> None:
    x, weight, dy = rounded(case, product.name)
    first, second = backend.channel_range(x, *x_at), backend.channel_range(dy, *y_at)
    expected, _ = wgrad_sums(case, product.name, backend.kernels)
    sums = product.sums

    def run(values: Array, **options: Any) -> ChannelRange:
        out = backend.channel_range(values, *weight_at)
        given = conv2d.wgrad(
            first.array,
            second.array,
            case.rs,
            bias=False,
            precision=product.option,
            out=out.array,
            **case.options,
            **options,
        )
        assert given[0] is out.array
        assert given[1] is None
        return out

    poison = np.full(weight.shape, np.nan, sums.dtype)
    assert_sums(run(poison).to_host(), expected, sums)
    before = product.parameter(weight)
    assert_sums(run(before, accumulate=True).to_host(), expected.plus(before), sums)
    new, velocity = (backend.channel_range(before, *weight_at) for _ in range(2))
    narrow = product.dtype.itemsize == 2
    copy = backend.channel_range(poison.astype(product.dtype), *weight_at) if narrow else None
    p = SgdParams(new.array, velocity.array, 0.5, 0.5, 0.0, copy=None if copy is None else copy.array)
    assert_sums(run(poison, sgd=p).to_host(), expected, sums)
    moved = 0.5 * before.astype(np.float64) - 0.5 * expected.value
    sizes = np.abs(before) + np.abs(expected.value)
    assert_sums(velocity.to_host(), Sums(moved, 0.5 * expected.units + 6 * sizes, expected.depth), sums)
    assert_sums(new.to_host(), Sums(before + moved, 0.5 * expected.units + 9 * sizes, expected.depth), sums)
    if copy is not None:
        assert_equal(copy.to_host(), new.to_host().astype(product.dtype))


def test_bias_gradient_of_a_range_is_refused(backend: Backend, product: Precision) -> None:
    case = CASES["lopsided"]
    x, _, dy = rounded(case, product.name)
    with pytest.raises(ValueError, match="dy must be C-contiguous"):
        conv2d.wgrad(backend.to_device(x), backend.channel_range(dy, 1, 9).array, case.rs, **case.options)


def test_an_addend_or_mask_that_lies_otherwise_than_out_is_added_or_refused(
    backend: Backend, product: Precision
) -> None:
    case = TILED["vectors"]
    x, weight, dy = rounded(case, product.name)
    on_device, sums = [backend.to_device(a) for a in (x, weight, dy)], product.sums
    terms = product.parameter(dy)

    def fprop() -> None:
        out = backend.channel_range(np.full(dy.shape, np.nan, sums.dtype), 8, 48)
        options = {**case.options, "precision": product.option}
        conv2d.fprop(on_device[0], on_device[1], addend=backend.to_device(terms), out=out.array, **options)
        assert_sums(out.to_host(), fprop_sums(case, product.name, backend.kernels).plus(terms), sums)

    def dgrad() -> None:
        out = backend.channel_range(np.full(x.shape, np.nan, sums.dtype), 8, 48)
        options = {**case.options, "precision": product.option, "mask": on_device[0]}
        conv2d.dgrad(on_device[2], on_device[1], x.shape, out=out.array, **options)
        expected = dgrad_sums(case, product.name, backend.kernels)
        opened = np.asarray(x > 0)
        assert_sums(out.to_host(), Sums(expected.value * opened, expected.units, expected.depth), sums)

    for name, call in (("addend", fprop), ("mask", dgrad)):
        if backend.kernels:
            with pytest.raises(ValueError, match=f"^{name} has a pitch of"):
                call()
        else:
            call()


def test_tf32_rounds_to_nearest(kernels: Backend) -> None:
    """Inputs of float32 that TF32 does not hold, half of them ties, which go away from zero."""
    case, precision = TILED["vectors"], TENSOR_CORES["tf32"]
    inputs = []
    for values in case.arrays():
        bits = values.astype(np.float32).view(np.uint32)
        bits.flat[::2] = bits.flat[::2] & np.uint32(0xFFFFE000) | np.uint32(0x1000)
        inputs.append(bits)
    exact = [(bits + np.uint32(0x1000) & np.uint32(0xFFFFE000)).view(np.float32) for bits in inputs]
    x, weight, _, dy = (bits.view(np.float32) for bits in inputs)
    on_device = [kernels.to_device(a) for a in (x, weight, dy)]
    options = {**case.options, "precision": "tf32"}
    results = {
        "y": (conv2d.fprop(on_device[0], on_device[1], **options), conv2d.fprop, (0, 1), ()),
        "dx": (conv2d.dgrad(on_device[2], on_device[1], x.shape, **options), conv2d.dgrad, (3, 1), (x.shape,)),
        "dw": (
            conv2d.wgrad(on_device[0], on_device[2], case.rs, bias=False, **options)[0],
            conv2d.wgrad,
            (0, 3),
            (case.rs,),
        ),
    }
    for name, (actual, function, operands, more) in results.items():
        doubles = [exact[i].astype(np.float64) for i in operands]
        value, squares = (function(*given, *more, **case.options) for given in (doubles, [a**2 for a in doubles]))
        if name == "dw":
            value, squares = value[0], squares[0]
        assert_sums(kernels.to_host(actual), Sums(value, precision.dot(300, squares), 300), precision)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("activation", ["none", "relu", "tanh", "logistic"])
def test_nan_is_seen_behind_every_activation(backend: Backend, product: Precision, activation: str) -> None:
    for name in ("vectors", "lopsided"):
        case, _ = FUSED[name]
        x, weight, dy = rounded(case, product.name)
        x = x.copy()
        # In float32 one as a GPU makes it, and one whose last bit alone says that it is none.
        x[0, 0, 0, -1], x[1, 3, 2, -1] = np.array([0x7FFFFFFF, 0x7F800001], np.uint32).view(np.float32)
        options = {**case.options, "activation": activation, "precision": product.option}
        y = backend.to_host(conv2d.fprop(*map(backend.to_device, (x, weight)), **options))
        # The last group of every position whose patch holds it.
        with np.errstate(invalid="ignore"):
            holds = np.isnan(conv2d.fprop(x.astype(np.float64), weight.astype(np.float64), **case.options))
        assert 0 < holds.sum() < dy.size
        assert np.array_equal(np.isnan(y), holds)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nothing_passes_where_the_mask_is_closed(backend: Backend, product: Precision) -> None:
    for name in ("vectors", "lopsided"):
        case, _ = FUSED[name]
        x, weight, dy = rounded(case, product.name)
        dy = dy.copy()
        dy[0, 0, 0] = np.inf
        mask = np.where(np.arange(x.size).reshape(x.shape) % 3 == 0, x.dtype.type(1), x.dtype.type(0))
        dx = conv2d.dgrad(
            *map(backend.to_device, (dy, weight)),
            x.shape,
            mask=backend.to_device(mask),
            mask_scale=2.0,
            precision=product.option,
            **case.options,
        )
        dx = backend.to_host(dx)
        assert (dx[mask == 0] == 0).all()
        assert not np.isfinite(dx[mask == 1].astype(np.float64)).all()


@pytest.mark.parametrize("name", ["lopsided", "vectors, split", "folded", "odd columns, split"])
def test_repeats_to_the_bit(backend: Backend, product: Precision, name: str) -> None:
    case, pins = FUSED[name]

    def run() -> list[Any]:
        y = check_fprop(backend, product, case, FPROP_FORMS["all, sums"])
        dx = check_dgrad(backend, product, case, DGRAD_FORMS["all, sums"])
        return [y, dx, *check_wgrad(backend, product, case, WGRAD_FORMS["sgd, no copy, gradient"])]

    with pinned(pins):
        assert_repeats(backend, run)


def test_results_go_to_new_arrays_where_none_are_given(backend: Backend, product: Precision) -> None:
    case = CASES["lopsided, batch of 3"]
    x, weight, dy = (backend.to_device(a) for a in rounded(case, product.name))
    options = {**case.options, "precision": product.option}
    sums = product.sums.dtype
    new = (
        conv2d.fprop(x, weight, **options),
        conv2d.dgrad(dy, weight, x.shape, **options),
        *conv2d.wgrad(x, dy, case.rs, **options),
    )
    y, dx, dweight, dbias = (
        backend.poisoned(a.shape, dtype)
        for a, dtype in ((dy, product.dtype), (x, product.dtype), (weight, sums), (np.empty(case.k), sums))
    )
    assert conv2d.fprop(x, weight, out=y, **options) is y
    assert conv2d.dgrad(dy, weight, x.shape, out=dx, **options) is dx
    written = conv2d.wgrad(x, dy, case.rs, out=dweight, bias_out=dbias, **options)
    assert written[0] is dweight
    assert written[1] is dbias
    for actual, expected in zip(new, (y, dx, dweight, dbias), strict=True):
        assert_equal(backend.to_host(actual), backend.to_host(expected))


def test_an_empty_batch_has_no_gradient(backend: Backend, product: Precision) -> None:
    case = ALL["empty batch"]
    x, weight, dy = (backend.to_device(a) for a in rounded(case, product.name))
    options, sums = {**case.options, "precision": product.option}, product.sums.dtype
    assert conv2d.fprop(x, weight, **options).shape == (0, *case.pq, case.k)
    assert conv2d.dgrad(dy, weight, x.shape, **options).shape == x.shape
    dweight, dbias = conv2d.wgrad(x, dy, case.rs, **options)
    assert_equal(backend.to_host(dweight), np.zeros(weight.shape, sums))
    assert_equal(backend.to_host(dbias), np.zeros(case.k, sums))
    new = backend.to_device(np.ones(weight.shape, sums))
    velocity = backend.to_device(np.ones(weight.shape, sums))
    conv2d.wgrad(x, dy, case.rs, sgd=SgdParams(new, velocity, 0.5, 0.5, 0.0), **options)  # momentum goes on
    assert_equal(backend.to_host(velocity), np.full(weight.shape, 0.5, sums))
    assert_equal(backend.to_host(new), np.full(weight.shape, 1.5, sums))


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
        ({"padding": (0, -1)}, ValueError, ["padding must be an integer of at least 0", "(0, -1)"]),
        ({"padding": ((0, 0), (0, 0, 1))}, ValueError, ["((top, bottom), (left, right))", "got ((0, 0), (0, 0, 1))"]),
        ({"padding": ((0, 1), 0), "x": (1, 1, 6, 4)}, ValueError, ["3x2 filter", "2x6"]),
        ({"groups": 3}, ValueError, ["groups must divide 4 input and 6 output channels", "got 3"]),
        ({"bias": (5,), "weight": (5, 3, 2, 2)}, ValueError, ["must divide 4 input and 5 output channels", "got 2"]),
        ({"groups": 0}, ValueError, ["groups", "got 0"]),
        ({"x": (1, 7, 6, 0), "weight": (6, 3, 2, 0)}, ValueError, ["must be positive", "got 7x6, 0 and 6"]),
        ({"padding": 0, "x": (1, 2, 6, 4)}, ValueError, ["3x2 filter", "2x6"]),
        ({"padding": 0, "x": (1, 7, 1, 4)}, ValueError, ["3x2 filter", "7x1"]),
        ({"activation": "gelu"}, ValueError, ["'none', 'relu', 'tanh' or 'logistic'", "'gelu'"]),
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
    zeros = {name: precision.array(np.zeros(shape)) for name, shape in shapes.items()}
    zeros["bias"] = precision.parameter(zeros["bias"])
    arrays = {name: backend.to_device(array) for name, array in zeros.items()}
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
