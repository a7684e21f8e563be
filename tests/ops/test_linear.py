"""Fully connected layer: the float64 reference against loops and differences, every backend against the reference."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu import linear as implementation
from alexnet_cuda.ops import conv2d, linear
from alexnet_cuda.ops.sgd import SgdParams

from .backends import Backend, ChannelRange, assert_repeats
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
from .tolerance import (
    PRECISIONS,
    TENSOR_CORES,
    Precision,
    Sums,
    assert_close,
    assert_equal,
    assert_gradient,
    assert_sums,
)

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
    "one past the largest block": (2, 2049, 513),
    "17 rows, 65 columns": (17, 40, 65),
    "65 rows, 97 columns, scalar loads": (65, 33, 97),
    "97 rows, 136 columns": (97, 264, 136),
    "129 rows, 129 columns": (129, 72, 129),
}
ALEXNET: dict[str, Sizes] = {
    "the depth of fc6": (2, 9216, 260),
    "a batch of 129, 1000 classes": (129, 1025, 1000),
    "a batch of 129, in vectors": (129, 520, 264),
}
ALL = {**SMALL, **LARGE, "empty batch": (0, 7, 5)}
SMALL_SET = [ALL[name] for name in ("lopsided", "65 rows, 97 columns, scalar loads", "97 rows, 136 columns")]
all_sizes = pytest.mark.parametrize("sizes", ALL.values(), ids=ALL)
layers = pytest.mark.parametrize("sizes", ALEXNET.values(), ids=ALEXNET)


def arrays(sizes: Sizes) -> tuple[Array, Array, Array, Array]:
    """x, weight, bias and dy, normal, in float64."""
    n, inputs, outputs = sizes
    rng = np.random.default_rng(2)
    return tuple(rng.standard_normal(s) for s in ((n, inputs), (outputs, inputs), (outputs,), (n, outputs)))  # type: ignore[return-value]


@lru_cache(maxsize=16)
def rounded(sizes: Sizes, precision: str) -> tuple[Array, Array, Array]:
    """x, weight and dy as the operations get them."""
    x, weight, _, dy = (PRECISIONS[precision].array(a) for a in arrays(sizes))
    return x, weight, dy


@lru_cache(maxsize=32)
def sums(sizes: Sizes, precision: str, kernels: bool) -> tuple[Sums, Sums, Sums, Sums]:
    """Of y, dx, and the gradients of weight and bias."""
    x, weight, dy = (a.astype(np.float64) for a in rounded(sizes, precision))
    p = (TENSOR_CORES if kernels else PRECISIONS)[precision]
    operands = [(x, weight.T), (dy, weight), (dy.T, x)]
    products = [Sums(a @ b, p.dot(a.shape[1], a**2 @ b**2), a.shape[1]) for a, b in operands]
    # The bias's gradient is added up without tensor cores.
    bias = Sums(dy.sum(axis=0), PRECISIONS[precision].dot(len(dy), (dy**2).sum(axis=0)), len(dy))
    return products[0], products[1], products[2], bias


def check_fprop(backend: Backend, p: Precision, sizes: Sizes, form: FpropForm, place: str = "to_device") -> Any:
    x, weight, _ = (getattr(backend, place)(a) for a in rounded(sizes, p.name))

    def call(**options: Any) -> Any:
        return linear.fprop(x, weight, precision=p.option, **options)

    return form.check(backend, p, sums(sizes, p.name, backend.kernels)[0], call, place)


def check_dgrad(backend: Backend, p: Precision, sizes: Sizes, form: DgradForm, place: str = "to_device") -> Any:
    _, weight, dy = (getattr(backend, place)(a) for a in rounded(sizes, p.name))

    def call(**options: Any) -> Any:
        return linear.dgrad(dy, weight, precision=p.option, **options)

    return form.check(backend, p, sums(sizes, p.name, backend.kernels)[1], call, place)


def check_wgrad(backend: Backend, p: Precision, sizes: Sizes, form: WgradForm, place: str = "to_device") -> list[Any]:
    x, _, dy = rounded(sizes, p.name)
    # The sums over dy that make the bias's gradient need it on 16 bytes.
    given = getattr(backend, place)(x), getattr(backend, "to_device" if form.bias else place)(dy)

    def call(**options: Any) -> Any:
        return linear.wgrad(*given, precision=p.option, **options)

    return form.check(backend, p, *sums(sizes, p.name, backend.kernels)[2:], call, place)


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


@small(sizes=SMALL_SET)
@all_sizes
def test_fprop(backend: Backend, product: Precision, sizes: Sizes) -> None:
    check_fprop(backend, product, sizes, FPROP_FORMS["relu"])


@small(sizes=SMALL_SET)
@all_sizes
def test_dgrad(backend: Backend, product: Precision, sizes: Sizes) -> None:
    check_dgrad(backend, product, sizes, DGRAD_FORMS["alone"])


@small(sizes=SMALL_SET)
@all_sizes
def test_wgrad(backend: Backend, product: Precision, sizes: Sizes) -> None:
    check_wgrad(backend, product, sizes, WGRAD_FORMS["alone"])


@layers
def test_fprop_of_alexnet(backend: Backend, layer_product: Precision, sizes: Sizes) -> None:
    check_fprop(backend, layer_product, sizes, FPROP_FORMS["relu, dropout"])


@layers
def test_dgrad_of_alexnet(backend: Backend, layer_product: Precision, sizes: Sizes) -> None:
    check_dgrad(backend, layer_product, sizes, DGRAD_FORMS["relu and dropout"])


@layers
def test_wgrad_of_alexnet(backend: Backend, layer_product: Precision, sizes: Sizes) -> None:
    check_wgrad(backend, layer_product, sizes, WGRAD_FORMS["sgd"])


# On the CPU the pins are nothing, and the second is as the first.
FUSED: dict[str, tuple[Sizes, str]] = {
    "lopsided": ((3, 7, 5), ""),
    "vectors": ((19, 136, 72), "splits=1"),
    "vectors, split": ((139, 136, 136), "splits=3"),
    "odd columns, split": ((65, 97, 67), "splits=2"),
}
fused = pytest.mark.parametrize(("sizes", "pins"), FUSED.values(), ids=FUSED)


@small(pins=SMALL_PINS, form=SMALL_FPROP)
@fused
@fprop_forms
def test_fused_fprop(backend: Backend, product: Precision, sizes: Sizes, pins: str, form: FpropForm) -> None:
    with pinned(pins):
        check_fprop(backend, product, sizes, form)


@small(pins=SMALL_PINS, form=SMALL_DGRAD)
@fused
@dgrad_forms
def test_fused_dgrad(backend: Backend, product: Precision, sizes: Sizes, pins: str, form: DgradForm) -> None:
    with pinned(pins):
        check_dgrad(backend, product, sizes, form)


@small(pins=SMALL_PINS, form=SMALL_WGRAD)
@fused
@wgrad_forms
def test_fused_wgrad(backend: Backend, product: Precision, sizes: Sizes, pins: str, form: WgradForm) -> None:
    with pinned(pins):
        check_wgrad(backend, product, sizes, form)


@pytest.mark.parametrize("name", ["lopsided", "vectors"])
def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, product: Precision, name: str) -> None:
    sizes, _ = FUSED[name]
    check_fprop(backend, product, sizes, FPROP_FORMS["all, sums"], "shifted")
    check_dgrad(backend, product, sizes, DGRAD_FORMS["all, sums"], "shifted")
    check_wgrad(backend, product, sizes, WGRAD_FORMS["no bias"], "shifted")


@pytest.mark.parametrize(
    ("sizes", "x_at", "y_at", "weight_at"),
    [
        ((19, 136, 72), (136, 272), (8, 80), (0, 272)),
        ((19, 136, 72), (1, 150), (3, 77), (5, 141)),
        ((3, 7, 5), (2, 9), (0, 6), (1, 8)),
    ],
    ids=["vectors", "at odd places", "lopsided"],
)
def test_ranges_of_columns(
    backend: Backend,
    product: Precision,
    sizes: Sizes,
    x_at: tuple[int, int],
    y_at: tuple[int, int],
    weight_at: tuple[int, int],
) -> None:
    """Half of the inputs: what one tower multiplies before the other's half has come."""
    on_device = [
        backend.channel_range(a, *at)
        for a, at in zip(rounded(sizes, product.name), (x_at, weight_at, y_at), strict=True)
    ]
    x, weight, dy = (a.array for a in on_device)
    expected, kept = sums(sizes, product.name, backend.kernels), product.sums

    def poisoned(like: Any, at: tuple[int, int], dtype: Any) -> ChannelRange:
        return backend.channel_range(np.full(like.shape, np.nan, dtype), *at)

    for result in (product, kept):
        y, dx = poisoned(dy, y_at, result.dtype), poisoned(x, x_at, result.dtype)
        linear.fprop(x, weight, precision=product.option, out=y.array)
        assert_sums(y.to_host(), expected[0], result)
        linear.dgrad(dy, weight, precision=product.option, out=dx.array)
        assert_sums(dx.to_host(), expected[1], result)
    dweight = poisoned(weight, weight_at, kept.dtype)
    linear.wgrad(x, dy, bias=False, precision=product.option, out=dweight.array)
    assert_sums(dweight.to_host(), expected[2], kept)
    # Half of the sum, then the rest of it on top: no bit but those of the range changes.
    linear.wgrad(x, dy, bias=False, precision=product.option, out=dweight.array, accumulate=True)
    twice = Sums(2 * expected[2].value, 3 * expected[2].units + np.abs(expected[2].value), expected[2].depth)
    assert_sums(dweight.to_host(), twice, kept)


def test_two_halves_of_the_inputs_make_the_whole(backend: Backend, product: Precision) -> None:
    sizes = (19, 272, 72)
    x, weight, _ = (backend.to_device(a) for a in rounded(sizes, product.name))
    part = linear.fprop(
        x[:, :136], weight[:, :136], precision=product.option, out=backend.poisoned((19, 72), product.sums.dtype)
    )
    y = backend.poisoned((19, 72), product.dtype)
    linear.fprop(x[:, 136:], weight[:, 136:], addend=part, activation="relu", precision=product.option, out=y)
    whole = sums(sizes, product.name, backend.kernels)[0]
    assert_sums(backend.to_host(y), Sums(np.maximum(whole.value, 0), 2 * whole.units, whole.depth), product)


@pytest.mark.parametrize("name", ["lopsided", "vectors, split"])
def test_repeats_to_the_bit(backend: Backend, product: Precision, name: str) -> None:
    sizes, pins = FUSED[name]

    def run() -> list[Any]:
        y = check_fprop(backend, product, sizes, FPROP_FORMS["all, sums"])
        dx = check_dgrad(backend, product, sizes, DGRAD_FORMS["all, sums"])
        return [y, dx, *check_wgrad(backend, product, sizes, WGRAD_FORMS["sgd, no copy, gradient"])]

    with pinned(pins):
        assert_repeats(backend, run)


def test_results_go_to_new_arrays_where_none_are_given(backend: Backend, product: Precision) -> None:
    x, weight, dy = (backend.to_device(a) for a in rounded((3, 7, 65), product.name))
    options: dict[str, Any] = {"precision": product.option}
    new = (linear.fprop(x, weight, **options), linear.dgrad(dy, weight, **options), *linear.wgrad(x, dy, **options))
    kept = product.sums.dtype
    y, dx = backend.poisoned((3, 65), product.dtype), backend.poisoned((3, 7), product.dtype)
    dweight, dbias = backend.poisoned((65, 7), kept), backend.poisoned((65,), kept)
    assert linear.fprop(x, weight, out=y, **options) is y
    assert linear.dgrad(dy, weight, out=dx, **options) is dx
    written = linear.wgrad(x, dy, out=dweight, bias_out=dbias, **options)
    assert written[0] is dweight
    assert written[1] is dbias
    for actual, expected in zip(new, (y, dx, dweight, dbias), strict=True):
        assert_equal(backend.to_host(actual), backend.to_host(expected))


def test_options_that_do_not_fit(backend: Backend, product: Precision) -> None:
    x, weight, dy = (backend.to_device(a) for a in rounded((3, 7, 5), product.name))
    out = backend.poisoned((5, 7), product.sums.dtype)
    p = SgdParams(out, backend.poisoned((5, 7), product.sums.dtype), 0.1)
    with pytest.raises(ValueError, match="accumulate needs an array `out` to add to, got None"):
        linear.wgrad(x, dy, accumulate=True)
    with pytest.raises(ValueError, match="accumulate and sgd exclude each other"):
        linear.wgrad(x, dy, accumulate=True, sgd=p, out=out)
    with pytest.raises(ValueError, match=r"mask_scale belongs to a mask, got 2\.0 and no mask"):
        linear.dgrad(dy, weight, mask_scale=2.0)
    with pytest.raises(ValueError, match="mask_scale must be finite, got nan"):
        linear.dgrad(dy, weight, mask=x, mask_scale=float("nan"))
    with pytest.raises(ValueError, match="precision must be"):
        linear.fprop(x, weight, precision="float8")
    if product.dtype == np.float32 and not backend.kernels:
        with pytest.raises(ValueError, match="the CPU computes float32 arrays in float32, not in tf32"):
            linear.fprop(x, weight, precision="tf32")


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(*shape: int) -> Any:
        return backend.to_device(precision.array(np.zeros(shape)))

    with pytest.raises(ValueError, match=r"x must have shape \[any, any\], got \[2, 7, 1\]"):
        linear.fprop(zeros(2, 7, 1), zeros(5, 7))
    with pytest.raises(ValueError, match=r"weight must have shape \[any, 7\], got \[7, 5\]"):
        linear.fprop(zeros(2, 7), zeros(7, 5))
    with pytest.raises(ValueError, match=r"bias must have shape \[5\], got \[7\]"):
        linear.fprop(zeros(2, 7), zeros(5, 7), backend.to_device(precision.parameter(np.zeros(7))))
    with pytest.raises(ValueError, match="activation must be 'none', 'relu', 'tanh' or 'logistic', got 'ReLU'"):
        linear.fprop(zeros(2, 7), zeros(5, 7), activation="ReLU")
    with pytest.raises(ValueError, match=r"dy must have shape \[any, 5\], got \[2, 7\]"):
        linear.dgrad(zeros(2, 7), zeros(5, 7))
    with pytest.raises(ValueError, match=r"dy must have shape \[2, any\], got \[3, 5\]"):
        linear.wgrad(zeros(2, 7), zeros(3, 5))
    with pytest.raises(ValueError, match=r"bias_out must have shape \[5\], got \[7\]"):
        linear.wgrad(zeros(2, 7), zeros(2, 5), bias_out=backend.to_device(precision.parameter(np.zeros(7))))


def test_overlap_is_named(backend: Backend) -> None:
    memory, other = (backend.to_device(np.ones((8, 8), np.float32)) for _ in range(2))
    before, half, image = backend.bits(memory), memory[4:], memory.reshape(1, 4, 4, 4)
    filters = other.reshape(-1)[:16].reshape(4, 1, 1, 4)
    few = memory.reshape(-1)[:16].reshape(4, 1, 1, 4)
    for name, call in {
        "x": lambda: linear.fprop(half, other, out=half),
        "weight": lambda: linear.dgrad(other, memory, out=memory),
        "dy": lambda: linear.wgrad(other, memory, out=memory),
        "x of an image": lambda: conv2d.fprop(image, filters, out=image),
        "dy of an image": lambda: conv2d.dgrad(image, filters, image.shape, out=image),
        "x of images": lambda: conv2d.wgrad(image, other.reshape(image.shape), (1, 1), out=few),
    }.items():
        with pytest.raises(ValueError, match=f"out overlaps {name.split()[0]}; expected memory of its own"):
            call()
    assert backend.bits(memory) == before
