"""Local response normalisation within towers, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.cases import Case, Tensors, layers
from ..harness.check import Sample, choose
from ..harness.values import Values
from ._common import cross
from ._normpool import ACTIVATION_SCALE, SIZE, full, gradient, lrn_bprop, lrn_parameters, maps, normalised

DIRECTIONS = ("fprop", "bprop")
# Powers by approximate logarithm and exponential, 2^-22 each, and some roundings beside.
TERMS = 16


def cases(batch: int, precision: str) -> list[Case]:
    """After conv1 and conv2. No matrix product, so float32 is measured once: as float32, not as TF32."""
    return [] if precision == "tf32" else cross("lrn", DIRECTIONS, layers("lrn"), batch, precision)


def tensors(case: Case) -> Tensors:
    """x, y, dy and dx, all [N, H, W, C]."""
    m = maps(case)
    x, y = full(m, case.dtype, scale=ACTIVATION_SCALE), full(m, case.dtype)
    return Tensors({"x": x}, {"y": y}) if case.direction == "fprop" else Tensors({"x": x, "dy": gradient(x)}, {"dx": y})


def flops(case: Case) -> int:
    """Not counted: bytes bound it."""
    return 0


def launch(case: Case) -> dict[str, Any]:
    """Grid and vector width of our kernel."""
    from alexnet_cuda import _simt

    m = maps(case)
    choose_config = getattr(_simt, f"lrn_{case.direction}_config")
    sizes = {"images": m.N, "pixels": m.H * m.W, "channels": m.C, "groups": m.groups, "size": SIZE}
    return dict(choose_config(**sizes, dtype=case.dtype, aligned=True))


def prepare(case: Case, a: Any) -> None:
    """Nothing to do."""


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import lrn

    p = lrn_parameters(maps(case))
    if case.direction == "fprop":
        lrn.fprop(a["x"], p, out=a["y"])
    else:
        lrn.bprop(a["dy"], a["x"], p, out=a["dx"])


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements in float64."""
    m = maps(case)
    index, at = choose(rng, (m.N, m.H, m.W, m.C))
    if case.direction == "fprop":
        y = normalised(m, values["x"])(*at)
        return [Sample("y", index, y, TERMS * np.abs(y))]
    dx, size = lrn_bprop(m, values["x"], values["dy"].at, *at)
    return [Sample("dx", index, dx, TERMS * size)]
