"""Response normalisation and the max-pool after it in one pass."""

from __future__ import annotations

from ... import ops
from ..stages import Stage
from ..tower import Array, Kept, Pass, Tower
from .lrn import parameters
from .max_pool import argmax_buffer, window


def forward(tower: Tower, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> Array | None:
    """Returns the argmax."""
    argmax = argmax_buffer(tower, stage, y, run)
    assert stage.pool is not None
    p = parameters(tower, stage)
    ops.lrn_max_pool.fprop(x, p, train=run.train, out=y, argmax_out=argmax, **window(stage.pool))
    return argmax


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, _: None, run: Pass) -> None:
    """The gradient of the normalisation's input."""
    assert stage.pool is not None
    p, relu = parameters(tower, stage), stage.undoes_relu
    ops.lrn_max_pool.bprop(dy, kept.own, kept.x, p, relu=relu, out=dx, **window(stage.pool))
