"""Max-pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ..plan import Step
from ..stages import Stage
from ..tower import Array, Kept, Pass, Tower


def window(step: Step) -> dict[str, Any]:
    """The windows of a pool, as its operation takes them."""
    return {"size": step.kernel, "stride": step.stride, "padding": step.padding, "ceil_mode": step.ceil_mode}


def argmax_buffer(tower: Tower, stage: Stage, y: Array, run: Pass) -> Array | None:
    """Room for what the backward pass wants to know of an output y."""
    return tower.buffer(f"{stage.name}.argmax", y.shape, np.uint8) if run.train else None


def forward(tower: Tower, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> tuple[Array, Array | None]:
    """Returns y and the argmax."""
    argmax = argmax_buffer(tower, stage, y, run)
    ops.max_pool.fprop(x, train=run.train, out=y, argmax_out=argmax, **window(stage.step))
    return y, argmax


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, _: None, run: Pass) -> None:
    """The gradient of the input."""
    y, argmax = kept.own
    given = y if stage.undoes_relu else None
    ops.max_pool.bprop(dy, argmax, kept.x.shape, y=given, out=dx, **window(stage.step))
