"""Response normalisation and the max-pool after it: one kernel here, two or more elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.cases import Case, Tensor, Tensors
from ..harness.check import Sample, choose
from ..harness.values import Values
from ._common import cross
from ._normpool import (
    ACTIVATION_SCALE,
    POOL,
    SIZE,
    STRIDE,
    clear,
    full,
    fused_layers,
    gradient,
    launch_sizes,
    lrn_bprop,
    lrn_parameters,
    maps,
    normalised,
    pool_bprop,
    pooled,
    windows,
)
from .bench_lrn import TERMS

DIRECTIONS = ("fprop", "bprop")
# Normalised numbers nearer than this, relative to them, may be equal once rounded to a 16-bit type.
_MARGIN = {"bfloat16": 2.0**-4, "float16": 2.0**-7, "float32": 2.0**-16}


def cases(batch: int, precision: str) -> list[Case]:
    """After conv1 and conv2; float32 once."""
    return [] if precision == "tf32" else cross("lrn_max_pool", DIRECTIONS, fused_layers(), batch, precision)


def tensors(case: Case) -> Tensors:
    """x [N, H, W, C], y and argmax [N, P, Q, C]; what is between is not counted, for it need not exist."""
    m = maps(case)
    x, y, argmax = full(m, case.dtype, scale=ACTIVATION_SCALE), pooled(m, case.dtype), pooled(m, "uint8")
    if case.direction == "fprop":
        return Tensors({"x": x}, {"y": y, "argmax": argmax})
    kept = {"argmax": argmax, "y": Tensor(y.shape, y.dtype, counted=False)}
    return Tensors({"x": x, "dy": gradient(y)}, {"dx": full(m, case.dtype)}, kept=kept)


def flops(case: Case) -> int:
    """Not counted: bytes bound it."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Tile and shared memory of our forward kernel; backward is the normalisation's launch."""
    from alexnet_cuda import _simt

    m = maps(case)
    if case.direction == "bprop":
        sizes = {"images": m.N, "pixels": m.H * m.W, "channels": m.C, "groups": m.groups, "size": SIZE}
        return dict(_simt.lrn_bprop_config(**sizes, dtype=case.dtype, aligned=True))
    pool = {"pool_size": POOL, "pool_stride": STRIDE}
    sizes = {**launch_sizes(m), "groups": m.groups, "size": SIZE, **pool}
    return dict(_simt.lrn_max_pool_fprop_config(**sizes, dtype=case.dtype, aligned=True))


def prepare(case: Case, a: Any) -> None:
    """The forward pass that the backward pass needs."""
    if case.direction == "bprop":
        _fprop(case, a)


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import lrn_max_pool

    if case.direction == "fprop":
        _fprop(case, a)
    else:
        p = lrn_parameters(maps(case))
        lrn_max_pool.bprop(a["dy"], a["argmax"], a["x"], p, size=POOL, stride=STRIDE, out=a["dx"])


def _fprop(case: Case, a: Any) -> None:
    from alexnet_cuda.ops import lrn_max_pool

    p = lrn_parameters(maps(case))
    lrn_max_pool.fprop(a["x"], p, size=POOL, stride=STRIDE, out=a["y"], argmax_out=a["argmax"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements in float64."""
    m, f = maps(case), normalised(maps(case), values["x"])
    margin = _MARGIN[case.dtype]
    if case.direction == "fprop":
        index, at = choose(rng, (m.N, m.P, m.Q, m.C))
        window = windows(f, *at)
        sure, y = clear(window, margin), window.max(axis=-1)
        best = window.argmax(axis=-1).astype(np.float64)
        argmax = Sample("argmax", index[sure], best[sure], np.zeros(int(sure.sum())), exact=True)
        return [Sample("y", index, y, TERMS * np.abs(y)), argmax]
    index, at = choose(rng, (m.N, m.H, m.W, m.C))
    certain = np.ones(len(index), bool)

    def routed(n: Any, h: Any, w: Any, c: Any) -> Any:
        total, sure = pool_bprop(m, f, values["dy"], margin, n, h, w, c)
        certain[...] &= sure.reshape(len(index), -1).all(axis=1)
        return total

    dx, size = lrn_bprop(m, values["x"], routed, *at)
    return [Sample("dx", index[certain], dx[certain], TERMS * size[certain])]
