"""Response normalisation within each map, which no tower shares."""

from __future__ import annotations

from ... import ops
from ...base.params import LrnParams
from ..stages import Stage
from ..tower import Array, Kept, Pass, Tower


def _parameters(tower: Tower) -> LrnParams:
    c = tower.config
    return ops.map_lrn.parameters(c.map_lrn_size, alpha=c.map_lrn_alpha, beta=c.lrn_beta)


def forward(tower: Tower, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> None:
    """The normalised maps."""
    ops.map_lrn.fprop(x, _parameters(tower), out=y)


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, _: None, run: Pass) -> None:
    """The gradient of the input."""
    ops.map_lrn.bprop(dy, kept.x, _parameters(tower), out=dx)
