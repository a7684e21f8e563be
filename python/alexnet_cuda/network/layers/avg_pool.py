"""Average-pooling."""

from __future__ import annotations

from ... import ops
from ..stages import Stage
from ..tower import Array, Kept, Pass, Tower
from .max_pool import window


def forward(tower: Tower, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> None:
    """The means."""
    ops.avg_pool.fprop(x, out=y, **window(stage.step))


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, _: None, run: Pass) -> None:
    """The gradient of the input."""
    ops.avg_pool.bprop(dy, kept.x.shape, out=dx, **window(stage.step))
