"""Response normalisation within towers, overlapping max-pooling, and both in one kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alexnet_cuda.ops import avg_pool, lrn, lrn_max_pool, max_pool

from ..harness.cases import CONFIG, PLAN, Array, Case, Tensor, Tensors, layers
from .base import GRADIENT_SCALE, Arrays, Operation, Part, some

POOL = {"size": CONFIG.pool_size, "stride": CONFIG.pool_stride}  # paper section 3.4
# Large enough that normalisation changes a number by several percent, and no square overflows float16.
_ACTIVATION_SCALE = 4
_AXES, _POOLED = "NHWC", "NPQC"


def norm_parameters(case: Case) -> Any:
    """Our parameters of the paper's normalisation (section 3.3)."""
    s, c = case.step, CONFIG
    return lrn.parameters(s.input[-1], c.lrn_size, c.lrn_k, c.lrn_alpha, c.lrn_beta, groups=s.groups)


class NormPool(Operation):
    """x [N, H, W, C] and, of a pool, y and argmax [N, P, Q, C]; what is between need not exist, so it is not counted.

    Our pool goes back through the argmax, others through x and y: they have all of them.
    """

    def tensors(self, case: Case) -> Tensors:
        pools, norms = self.name.endswith("max_pool"), self.name.startswith("lrn")
        full = (case.batch, *case.step.input)
        small = max_pool.pool(full, **POOL)[1] if pools else full
        axes = _POOLED if pools else _AXES
        x = Tensor(_AXES, full, case.dtype, scale=_ACTIVATION_SCALE if norms else 0)
        if case.direction == "fprop":
            argmax = {"argmax": Tensor(axes, small, "uint8", "output")} if pools else {}
            return {"x": x, "y": Tensor(axes, small, case.dtype, "output"), **argmax}
        if not norms:
            x = Tensor(_AXES, full, case.dtype, needed=0)
        kept = {"y": Tensor(axes, small, case.dtype, "kept", needed=0), "argmax": Tensor(axes, small, "uint8", "kept")}
        dy = Tensor(axes, small, case.dtype, scale=GRADIENT_SCALE)
        return {"x": x, "dy": dy, "dx": Tensor(_AXES, full, case.dtype, "output"), **(kept if pools else {})}

    def prepare(self, case: Case, a: Arrays, upload: Callable[[Array], Any], part: Part) -> None:
        """The forward pass that the backward pass of a pool needs."""
        if "argmax" in a and case.direction == "bprop":
            self._fprop(case, a)

    def call(self, case: Case, a: Arrays) -> None:
        if case.direction == "fprop":
            self._fprop(case, a)
        elif self.name == "lrn":
            lrn.bprop(a["dy"], a["x"], norm_parameters(case), out=a["dx"])
        elif self.name == "max_pool":
            max_pool.bprop(a["dy"], a["argmax"], a["x"].shape, out=a["dx"], **POOL)
        else:
            lrn_max_pool.bprop(a["dy"], a["argmax"], a["x"], norm_parameters(case), out=a["dx"], **POOL)

    def _fprop(self, case: Case, a: Arrays) -> None:
        if self.name == "lrn":
            lrn.fprop(a["x"], norm_parameters(case), out=a["y"])
        elif self.name == "max_pool":
            max_pool.fprop(a["x"], out=a["y"], argmax_out=a["argmax"], **POOL)
        else:
            lrn_max_pool.fprop(a["x"], norm_parameters(case), out=a["y"], argmax_out=a["argmax"], **POOL)

    def part(self, case: Case) -> Part:
        return {"N": some(case.batch, 3)}

    def partial_sums(self, case: Case, a: Arrays) -> dict[str, Array]:
        """Gradients of several windows may cancel out."""
        if case.direction == "fprop":
            return {}
        positive = {**a, "dy": np.abs(a["dy"]), "dx": np.empty_like(a["dx"])}
        self.call(case, positive)
        return {"dx": np.abs(positive["dx"])}

    def decided(self, case: Case, a: Arrays, tolerance: float) -> dict[str, Array]:
        """Not where two numbers of a window are equal, or after the normalisation as near as its roundings."""
        if self.name == "lrn":
            return {}
        norms, size, stride = self.name == "lrn_max_pool", POOL["size"], POOL["stride"]
        between = lrn.fprop(a["x"], norm_parameters(case)) if norms else a["x"]
        windows = sliding_window_view(between, (size, size), (1, 2))[:, ::stride, ::stride]
        second, first = np.moveaxis(np.partition(windows.reshape(*windows.shape[:4], -1), -2, axis=-1)[..., -2:], -1, 0)
        apart = first - second > (tolerance * np.abs(first) if norms else 0.0)
        if case.direction == "fprop":
            return {"argmax": apart}
        reached = avg_pool.bprop(np.where(apart, 0.0, 1.0), a["x"].shape, **POOL) > 0
        if norms:  # a gradient spreads over the channels of its window, here also into the next group
            half = CONFIG.lrn_size // 2
            wide = np.pad(reached, [(0, 0)] * 3 + [(half, half)])
            reached = sliding_window_view(wide, CONFIG.lrn_size, -1).any(axis=-1)
        return {"dx": ~reached}


_DIRECTIONS = ("fprop", "bprop")
# The normalisations that a pool follows.
_FUSED = tuple(a.name for a, b in itertools.pairwise(PLAN.steps) if (a.op, b.op) == ("lrn", "max_pool"))
LRN = NormPool("lrn", _DIRECTIONS, layers("lrn"))
MAX_POOL = NormPool("max_pool", _DIRECTIONS, layers("max_pool"))
LRN_MAX_POOL = NormPool("lrn_max_pool", _DIRECTIONS, _FUSED)
