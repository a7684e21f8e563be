"""The update of fc6's weights, the largest tensor of the network: SGD with momentum and decay."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.cases import Case, Tensor, Tensors, step
from ..harness.check import Sample, choose
from ..harness.values import Values
from ._common import WEIGHT_SCALE, sgd_parameters, update_samples, updated_tensors

DIRECTIONS = ("update",)


def cases(batch: int, precision: str) -> list[Case]:
    """The same work at every batch size: measured once, at the smallest."""
    return [Case("sgd", "update", "fc6", batch, precision)] if batch == 128 and precision != "tf32" else []


def tensors(case: Case) -> Tensors:
    """Gradient [out, in] in float32; float32 weights and velocity, and the 16-bit copy that the network multiplies."""
    shape = step(case.layer).weight_shape
    inout, outputs = updated_tensors(case, shape)
    return Tensors({"gradient": Tensor(shape, "float32", WEIGHT_SCALE)}, outputs, inout)


def flops(case: Case) -> int:
    """Not counted: bytes bound it."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Grid and vector width of our kernel."""
    from alexnet_cuda import _simt

    return dict(_simt.elementwise_config(count=tensors(case).inputs["gradient"].size, dtype="float32", vectors=True))


def prepare(case: Case, a: Any) -> None:
    """Nothing to do."""


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import sgd

    sgd.update(sgd_parameters(case, a), a["gradient"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements of everything that changes, in float64."""
    index, at = choose(rng, values["gradient"].tensor.shape)
    return update_samples(case, values, index, at, values["gradient"].at(*at), np.zeros(len(index)))
