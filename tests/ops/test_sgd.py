"""SGD with momentum and weight decay."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import sgd
from alexnet_cuda.ops.sgd import SgdParams

from .backends import Backend, assert_alignment_changes_nothing, assert_repeats
from .small import small
from .tolerance import Precision, assert_close, assert_equal

Array = npt.NDArray[Any]
RATES = {
    "paper": {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
    "bias": {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0, "rate_factor": 2.0},
    "strong decay": {"learning_rate": 0.5, "momentum": 0.3, "weight_decay": 0.4, "gradient_scale": 0.25},
    "no momentum": {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.01},
}
STEPS = 4
COPIES = {"": None, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def loops(weight: Array, velocity: Array, gradients: list[Array], rates: dict[str, float]) -> tuple[Array, Array]:
    """The update as the paper writes it, a number at a time in Python's float64; decay is not scaled by momentum."""
    w, v = weight.astype(np.float64), velocity.astype(np.float64)
    learning_rate = rates["learning_rate"] * rates.get("rate_factor", 1.0)
    for gradient in gradients:
        for at in np.ndindex(*w.shape):
            g = float(gradient[at]) * rates.get("gradient_scale", 1.0)
            v[at] = rates["momentum"] * v[at] - rates["weight_decay"] * learning_rate * w[at] - learning_rate * g
            w[at] = w[at] + v[at]
    return w, v


@small(rates=[RATES["strong decay"]], shape=[(8,), (3, 7, 13)])
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("shape", [(5, 3, 2), (1,), (), (0,), (8,), (3, 7, 13)], ids=str)
@pytest.mark.parametrize("copy_dtype", COPIES.values(), ids=COPIES)
def test_steps(
    backend: Backend, precision: Precision, rates: dict[str, float], shape: tuple[int, ...], copy_dtype: Any
) -> None:
    rng = np.random.default_rng(16)
    weight, velocity = (precision.parameter(rng.standard_normal(shape)) for _ in range(2))
    gradients = [precision.array(rng.standard_normal(shape)) for _ in range(STEPS)]
    expected = loops(weight, velocity, gradients, rates)
    # A step rounds v four times and w once, numbers no larger than these; later steps carry at most 1 + 1 of it on.
    sizes = np.abs(velocity.astype(np.float64)) + np.abs(weight.astype(np.float64))
    sizes = sizes + sum(np.abs(g.astype(np.float64)) for g in gradients)
    units = STEPS * 6 * precision.accumulate
    for place in (backend.to_device, backend.shifted):
        w, v = place(weight), place(velocity)
        copy = None if copy_dtype is None else backend.poisoned(shape, copy_dtype)
        for gradient in gradients:
            sgd.update(SgdParams(w, v, **rates, copy=copy), place(gradient))
        for actual, reference in zip((w, v), expected, strict=True):
            assert_close(backend.to_host(actual), reference, units * sizes, precision.sums.dtype, shared=units)
        if copy is not None:
            assert_equal(backend.to_host(copy), np.asarray(backend.to_host(w).astype(copy_dtype)))


def test_large_tensors_are_updated_whole(backend: Backend, precision: Precision) -> None:
    count = 2 * 131072 + 5  # the CPU works in blocks of 131072
    w, v = (backend.to_device(precision.parameter(np.full(count, value))) for value in (1.0, 0.5))
    g = backend.to_device(precision.array(np.full(count, 0.25)))
    sgd.update(SgdParams(w, v, 0.5, momentum=0.5, weight_decay=0.25), g)
    assert np.all(backend.to_host(v).astype(np.float64) == 0.0)
    assert np.all(backend.to_host(w).astype(np.float64) == 1.0)
    sgd.update(SgdParams(w, v, 1.0, momentum=0.5, weight_decay=0.25), g)
    assert np.all(backend.to_host(v).astype(np.float64) == -0.5)
    assert np.all(backend.to_host(w).astype(np.float64) == 0.5)


def test_the_learning_rate_may_lie_where_the_operation_runs(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(16)
    weight, velocity = (precision.parameter(rng.standard_normal(33)) for _ in range(2))
    gradient = backend.to_device(precision.array(rng.standard_normal(33)))
    results = []
    for rate in (0.125, backend.to_device(np.array([0.125], precision.sums.dtype))):
        w, v = backend.to_device(weight), backend.to_device(velocity)
        sgd.update(SgdParams(w, v, rate, rate_factor=2.0), gradient)
        results.append((backend.bits(w), backend.bits(v)))
    assert results[0] == results[1]


def test_the_gradient_stays(backend: Backend, precision: Precision) -> None:
    w, v = (backend.to_device(precision.parameter(np.full(3, value))) for value in (1.0, 0.5))
    g = backend.to_device(precision.array(np.full(3, 0.25)))
    sgd.update(SgdParams(w, v, 0.5), g)
    assert np.all(backend.to_host(g).astype(np.float64) == 0.25)


def test_arrays_that_lie_on_no_multiple_of_16_bytes(backend: Backend, precision: Precision) -> None:
    rng = np.random.default_rng(17)
    arrays = {name: precision.parameter(rng.standard_normal(301)) for name in ("weight", "velocity")}
    arrays |= {"gradient": precision.array(rng.standard_normal(301)), "copy": np.zeros(301, np.float16)}

    def run(weight: Any, velocity: Any, gradient: Any, copy: Any) -> list[Any]:
        sgd.update(SgdParams(weight, velocity, 0.1, copy=copy), gradient)
        return [weight, velocity, copy]

    assert_alignment_changes_nothing(backend, arrays, run)


def test_repeats_to_the_bit(backend: Backend, precision: Precision) -> None:
    values = np.random.default_rng(16).standard_normal(1027)

    def run() -> list[Any]:
        w, v = (backend.to_device(precision.parameter(values)) for _ in range(2))
        copy = backend.poisoned(values.shape, np.float16)
        sgd.update(SgdParams(w, v, 0.1, copy=copy), backend.to_device(precision.array(values)))
        return [w, v, copy]

    assert_repeats(backend, run)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend) -> None:
    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    with pytest.raises(ValueError, match=r"velocity must have shape \[2, 3\], got \[3, 2\]"):
        sgd.update(SgdParams(zeros((2, 3)), zeros((3, 2)), 0.1), zeros((2, 3)))
    with pytest.raises(ValueError, match=r"gradient must have shape \[2, 3\], got \[6\]"):
        sgd.update(SgdParams(zeros((2, 3)), zeros((2, 3)), 0.1), zeros((6,)))
    with pytest.raises(ValueError, match=r"copy must have shape \[2, 3\], got \[6\]"):
        sgd.update(SgdParams(zeros((2, 3)), zeros((2, 3)), 0.1, copy=zeros((6,))), zeros((2, 3)))
    with pytest.raises(TypeError, match="gradient must be of dtype float32, got float64"):
        sgd.update(SgdParams(zeros((2,)), zeros((2,)), 0.1), zeros((2,), np.float64))
    if not backend.kernels:
        with pytest.raises(TypeError, match="gradient must be of dtype float32, got float16"):
            sgd.update(SgdParams(zeros((2,)), zeros((2,)), 0.1), zeros((2,), np.float16))
    with pytest.raises(TypeError, match="weight must be of dtype float32 or float64, got float16"):
        sgd.update(SgdParams(zeros((2,), np.float16), zeros((2,)), 0.1), zeros((2,)))
