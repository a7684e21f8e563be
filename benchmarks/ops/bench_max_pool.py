"""Overlapping max-pooling, forward with its argmax and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.cases import Case, Tensor, Tensors, layers
from ..harness.check import Sample, choose
from ..harness.values import Values
from ._common import Array, cross
from ._normpool import POOL, STRIDE, clear, full, gradient, launch_sizes, maps, pool_bprop, pooled, windows

DIRECTIONS = ("fprop", "bprop")


def cases(batch: int, precision: str) -> list[Case]:
    """After conv1, conv2 and conv5; float32 once."""
    return [] if precision == "tf32" else cross("max_pool", DIRECTIONS, layers("max_pool"), batch, precision)


def tensors(case: Case) -> Tensors:
    """x [N, H, W, C], y and argmax [N, P, Q, C]; ours goes back through the argmax, others through x and y."""
    m = maps(case)
    x, y, argmax = full(m, case.dtype), pooled(m, case.dtype), pooled(m, "uint8")
    if case.direction == "fprop":
        return Tensors({"x": x}, {"y": y, "argmax": argmax})
    seen = Tensor(x.shape, x.dtype, counted=False)
    kept = {"argmax": argmax, "y": Tensor(y.shape, y.dtype, counted=False)}
    return Tensors({"x": seen, "dy": gradient(y)}, {"dx": x}, kept=kept)


def flops(case: Case) -> int:
    """Not counted: bytes bound it."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Grid and vector width of our kernel."""
    from alexnet_cuda import _simt

    choose_config = getattr(_simt, f"max_pool_{case.direction}_config")
    return dict(
        choose_config(**launch_sizes(maps(case)), pool_size=POOL, pool_stride=STRIDE, dtype=case.dtype, aligned=True)
    )


def prepare(case: Case, a: Any) -> None:
    """The forward pass that the backward pass needs."""
    from alexnet_cuda.ops import max_pool

    if case.direction == "bprop":
        max_pool.fprop(a["x"], size=POOL, stride=STRIDE, out=a["y"], argmax_out=a["argmax"])


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import max_pool

    if case.direction == "fprop":
        max_pool.fprop(a["x"], size=POOL, stride=STRIDE, out=a["y"], argmax_out=a["argmax"])
    else:
        max_pool.bprop(a["dy"], a["argmax"], a["x"].shape, size=POOL, stride=STRIDE, out=a["dx"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements in float64; the forward pass only selects, so its results are exact."""
    m, x = maps(case), values["x"]
    if case.direction == "fprop":
        index, at = choose(rng, (m.N, m.P, m.Q, m.C))
        values_ = windows(x.at, *at)
        sure = clear(values_, 0.0)
        y = Sample("y", index, values_.max(axis=-1), np.zeros(len(index)), exact=True)
        return [y, _exact("argmax", index[sure], values_.argmax(axis=-1)[sure])]
    index, at = choose(rng, (m.N, m.H, m.W, m.C))
    dx, sure = pool_bprop(m, x.at, values["dy"], 0.0, *at)
    return [Sample("dx", index[sure], dx[sure], 4 * np.abs(dx[sure]))]


def _exact(name: str, index: Array, expected: Array) -> Sample:
    return Sample(name, index, expected.astype(np.float64), np.zeros(len(index)), exact=True)
