"""What the modules of the operations share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_cuda.base.params import Conv2dShape

from ..harness.cases import Case, Tensor
from ..harness.check import Sample
from ..harness.values import Values

Array = npt.NDArray[Any]

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
# Powers of two that scale random numbers, so that results are of the order of one and none overflows float16.
WEIGHT_SCALE, GRADIENT_SCALE = -5, -6


def cross(op: str, directions: tuple[str, ...], layers: tuple[str, ...], batch: int, precision: str) -> list[Case]:
    """Every direction of every layer, layer by layer."""
    return [Case(op, d, layer, batch, precision) for layer in layers for d in directions]


def multiply_precision(case: Case) -> str | None:
    """The `precision` argument of our operations: only TF32 is not what the dtype says."""
    return "tf32" if case.precision == "tf32" else None


def operand(case: Case, shape: tuple[int, ...], scale: int = 0) -> Tensor:
    """What a matrix product multiplies: of the network's type, and for TF32 of numbers that it does not round."""
    return Tensor(shape, case.dtype, scale, rounded="tf32" if case.precision == "tf32" else "")


def product_config(case: Case, shape: Conv2dShape) -> dict[str, Any]:
    """Tile, splits and modelled time of our kernel for a convolution."""
    from alexnet_cuda import _simt
    from alexnet_cuda.backends.kernels.conv2d import Problem

    problem, direction = Problem(shape, case.precision), case.direction.partition("_")[0]
    return dict(_simt.conv2d_config(direction=direction, problem=problem, aligned=True, force=""))


def bias(case: Case, length: int) -> Tensor:
    """A float32 bias of numbers that a library which wants it in the network's type keeps as they are."""
    return Tensor((length,), "float32", rounded="" if case.dtype == "float32" else case.dtype)


def updated_tensors(case: Case, shape: tuple[int, ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What SGD updates of weights of a shape, and what it writes beside: the rounded copy of a 16-bit network."""
    updated = {
        "master": Tensor(shape, "float32", WEIGHT_SCALE),
        "velocity": Tensor(shape, "float32", WEIGHT_SCALE),
    }
    return updated, {} if case.dtype == "float32" else {"copy": Tensor(shape, case.dtype)}


def sgd_parameters(case: Case, a: Any) -> Any:
    """Our update of the weights in `a`; the rate lies in device memory, so that a captured graph takes it."""
    from alexnet_cuda.ops.sgd import SgdParams

    copy = None if case.dtype == "float32" else a["copy"]
    return SgdParams(a["master"], a["velocity"], a.scalar(LEARNING_RATE), MOMENTUM, WEIGHT_DECAY, copy=copy)


def update(weight: Array, velocity: Array, gradient: Array) -> tuple[Array, Array]:
    """Weights and velocity after one step of the paper's SGD."""
    velocity = MOMENTUM * velocity - WEIGHT_DECAY * LEARNING_RATE * weight - LEARNING_RATE * gradient
    return weight + velocity, velocity


def update_samples(
    case: Case, values: dict[str, Values], index: Array, at: tuple[Array, ...], gradient: Array, terms: Array
) -> list[Sample]:
    """What `updated_tensors` hold after one step, from some elements of the gradient and their rounding."""
    old = values["master"].at(*at)
    weight, velocity = update(old, values["velocity"].at(*at), gradient)
    terms = LEARNING_RATE * terms + 4 * (np.abs(old) + np.abs(velocity))
    results = {"master": weight, "velocity": velocity, **({} if case.dtype == "float32" else {"copy": weight})}
    return [Sample(name, index, value, terms) for name, value in results.items()]
