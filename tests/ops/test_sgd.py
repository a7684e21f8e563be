"""SGD with momentum and weight decay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.ops import sgd

from .backends import Backend
from .tolerance import Precision, assert_close

Array = npt.NDArray[Any]
RATES = {
    "paper": {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
    "bias": {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.0},
    "strong decay": {"learning_rate": 0.5, "momentum": 0.3, "weight_decay": 0.4},
    "no momentum": {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.01},
}
STEPS = 4


def loops(weight: Array, velocity: Array, gradients: list[Array], rates: dict[str, float]) -> tuple[Array, Array]:
    """The update as the paper writes it, a number at a time in Python's float64; decay is not scaled by momentum."""
    w, v = weight.astype(np.float64), velocity.astype(np.float64)
    learning_rate, momentum, decay = rates["learning_rate"], rates["momentum"], rates["weight_decay"]
    for gradient in gradients:
        for at in np.ndindex(*w.shape):
            v[at] = momentum * v[at] - decay * learning_rate * w[at] - learning_rate * float(gradient[at])
            w[at] = w[at] + v[at]
    return w, v


@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("shape", [(5, 3, 2), (1,), (), (0,)], ids=str)
def test_steps(backend: Backend, precision: Precision, rates: dict[str, float], shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(16)
    weight, velocity, *gradients = (precision.array(rng.standard_normal(shape)) for _ in range(2 + STEPS))
    w, v = backend.to_device(weight), backend.to_device(velocity)
    for gradient in gradients:
        sgd.update(w, v, backend.to_device(gradient), **rates)
    expected = loops(weight, velocity, gradients, rates)
    # A step rounds v four times and w once, numbers no larger than these; later steps carry at most 1 + 1 of it on.
    sizes = np.abs(velocity.astype(np.float64)) + np.abs(weight.astype(np.float64))
    sizes = sizes + sum(np.abs(g.astype(np.float64)) for g in gradients)
    for actual, reference in zip((w, v), expected, strict=True):
        units = STEPS * 6 * precision.output
        assert_close(backend.to_host(actual), reference, units * sizes, precision.dtype, shared=units)


def test_large_tensors_are_updated_whole(backend: Backend, precision: Precision) -> None:
    count = 2 * 131072 + 5  # the CPU works in blocks of 131072
    w, v, g = (backend.to_device(precision.array(np.full(count, value))) for value in (1.0, 0.5, 0.25))
    sgd.update(w, v, g, learning_rate=0.5, momentum=0.5, weight_decay=0.25)
    assert np.all(backend.to_host(v).astype(np.float64) == 0.0)
    assert np.all(backend.to_host(w).astype(np.float64) == 1.0)
    sgd.update(w, v, g, learning_rate=1.0, momentum=0.5, weight_decay=0.25)
    assert np.all(backend.to_host(v).astype(np.float64) == -0.5)
    assert np.all(backend.to_host(w).astype(np.float64) == 0.5)


def test_the_gradient_stays(backend: Backend, precision: Precision) -> None:
    w, v, g = (backend.to_device(precision.array(np.full(3, value))) for value in (1.0, 0.5, 0.25))
    sgd.update(w, v, g, learning_rate=0.5)
    assert np.all(backend.to_host(g).astype(np.float64) == 0.25)


def test_bad_arguments_name_what_was_given_and_expected(backend: Backend, precision: Precision) -> None:
    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike = precision.dtype) -> Any:
        return backend.to_device(np.zeros(shape, dtype))

    with pytest.raises(ValueError, match=r"velocity must have shape \[2, 3\], got \[3, 2\]"):
        sgd.update(zeros((2, 3)), zeros((3, 2)), zeros((2, 3)), learning_rate=0.1)
    with pytest.raises(ValueError, match=r"gradient must have shape \[2, 3\], got \[6\]"):
        sgd.update(zeros((2, 3)), zeros((2, 3)), zeros((6,)), learning_rate=0.1)
    with pytest.raises(TypeError, match="gradient must be of dtype float32, got float64"):
        sgd.update(zeros((2,), np.float32), zeros((2,), np.float32), zeros((2,), np.float64), learning_rate=0.1)
