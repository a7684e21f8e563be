"""Dropout by itself, and the key of the mask wherever it is applied."""

from __future__ import annotations

from ... import ops
from ...base.params import DropoutParams
from ...base.philox import Purpose
from ..plan import Step
from ..stages import Stage
from ..tower import Array, Kept, Pass, Tower


def kept_scale(tower: Tower) -> float:
    """What kept elements are multiplied by in training."""
    return 1.0 / (1.0 - tower.config.dropout) if tower.config.dropout_scaled else 1.0


def mask_of(tower: Tower, step: Step, run: Pass) -> DropoutParams | None:
    """The tower's part of a step's mask: its channels of each position draw what the whole would.

    None at test, where nothing is dropped, and only what training does not scale is scaled.
    """
    c, channels = tower.config, step.input[-1]
    if not run.train and c.dropout_scaled:
        return None
    return ops.dropout.parameters(
        c.dropout if run.train else 0.0,
        scale=kept_scale(tower) if run.train else 1.0 - c.dropout,
        seed=c.seed,
        purpose=Purpose.DROPOUT + step.index,
        step=tower.step_counter,
        start=tower.channels(channels)[0],
        row_stride=channels,
    )


def forward(tower: Tower, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> None:
    """Masked and scaled, or as it is."""
    _drop(tower, stage, x, y, run)


def backward(tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array, _: None, run: Pass) -> None:
    """The same mask again."""
    _drop(tower, stage, dy, dx, run)


def _drop(tower: Tower, stage: Stage, x: Array, out: Array, run: Pass) -> None:
    rows, mask = (-1, x.shape[-1]), mask_of(tower, stage.step, run)
    if mask is None:
        tower.device.copy(out, x)
    else:
        ops.dropout.apply(x.reshape(rows), mask, out=out.reshape(rows))
