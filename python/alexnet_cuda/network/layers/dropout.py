"""Dropout by itself, and the key of the mask wherever it is applied."""

from __future__ import annotations

import math

from ... import ops
from ...base.params import DropoutParams
from ...base.philox import Purpose
from ..plan import Step
from ..stages import Stage
from ..tower import Array, Kept, Pass, Tower


def mask_of(tower: Tower, step: Step, run: Pass) -> DropoutParams:
    """The tower's part of a step's mask: its channels of each position draw what the whole batch would."""
    channels = step.input[-1]
    return ops.dropout.parameters(
        tower.config.dropout,
        seed=tower.config.seed,
        purpose=Purpose.DROPOUT + step.index,
        step=tower.step_counter,
        start=run.first * math.prod(step.input) + tower.channels(channels)[0],
        row_stride=channels,
    )


def forward(tower: Tower, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> None:
    """At test nothing is dropped."""
    if run.train:
        _drop(tower, stage, x, y, run)
    else:
        tower.device.copy(y, x)


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, _: None, run: Pass) -> None:
    """The same mask again."""
    _drop(tower, stage, dy, dx, run)


def _drop(tower: Tower, stage: Stage, x: Array, out: Array, run: Pass) -> None:
    rows = (-1, x.shape[-1])
    ops.dropout.apply(x.reshape(rows), mask_of(tower, stage.step, run), out=out.reshape(rows))
