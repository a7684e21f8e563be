"""Dropout of fc6's output with its mask drawn on the way. In the network it is part of other kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from alexnet_cuda.base import philox

from ..harness.cases import Case, Tensor, Tensors, step
from ..harness.check import Sample, choose
from ..harness.values import Values

DIRECTIONS = ("apply",)
_RATE, _SEED, _PURPOSE = 0.5, 1, int(philox.Purpose.DROPOUT)


def cases(batch: int, precision: str) -> list[Case]:
    """After fc6; float32 once."""
    return [] if precision == "tf32" else [Case("dropout", "apply", "fc6", batch, precision)]


def tensors(case: Case) -> Tensors:
    """x and y [N, 4096]."""
    x = Tensor((case.batch, step(case.layer).output[0]), case.dtype)
    return Tensors({"x": x}, {"y": x})


def flops(case: Case) -> int:
    """Not counted."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Grid and vector width of our kernel."""
    from alexnet_cuda import _simt

    return dict(_simt.elementwise_config(count=tensors(case).inputs["x"].size, dtype=case.dtype, vectors=True))


def prepare(case: Case, a: Any) -> None:
    """The step number, where the kernel reads it."""
    a.kept["step"] = a.upload(np.zeros(1, np.uint64))


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import dropout

    columns = tensors(case).inputs["x"].shape[1]
    p = dropout.parameters(_RATE, seed=_SEED, purpose=_PURPOSE, step=a.kept["step"], row_stride=columns)
    dropout.apply(a["x"], p, out=a["y"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements in float64 under our mask; an opponent draws its own and gives its result another name."""
    shape = values["x"].tensor.shape
    index, at = choose(rng, shape)
    words = philox.bits(_SEED, _PURPOSE, 0, 0, int(np.prod(shape)))[index]
    kept = words >= np.uint32(round(_RATE * 2**32))
    y = np.where(kept, values["x"].at(*at) / (1 - _RATE), 0.0)
    return [Sample("y", index, y, np.zeros(len(index)), exact=True)]
