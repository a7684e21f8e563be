"""How a tower does each kind of stage: one module an operation, or a few that belong together.

``forward(tower, stage, x, arrival, y, run)`` writes y and returns what the backward pass needs beside x.
``backward(tower, stage, kept, dy, dx, arrival, run)`` writes the gradient of x, where dx is not None, and those of the
stage's parameters. ``backward_remote(tower, stage, kept, dy)`` returns the gradient of the remote half of the input, of
a stage that crosses.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ..stages import Stage
from ..tower import Array, Arrival, Kept, Pass, Tower
from . import avg_pool, dropout, lrn, lrn_max_pool, map_lrn, max_pool, product

MODULES: dict[str, Any] = {
    "conv2d": product,
    "linear": product,
    "lrn": lrn,
    "lrn_max_pool": lrn_max_pool,
    "map_lrn": map_lrn,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "dropout": dropout,
}


def forward(tower: Tower, number: int, stage: Stage, x: Array, arrival: Arrival | None, run: Pass) -> Array:
    """A stage: from this tower's channels of its input, and the other's if it crosses, those of its output."""
    lo, hi = tower.channels(stage.output[-1])
    # Without a backward pass an output is dead after the next stage, unless it is being sent: two buffers in turn.
    logits = stage.step.makes_logits  # of another dtype, which would have a buffer made anew
    name = stage.name if run.train or tower.count == 2 or logits else f"forward{number % 2}"
    y = tower.buffer(name, (len(x), *stage.output[:-1], hi - lo), tower.accumulator if logits else tower.dtype)
    with tower.device.active():
        own = MODULES[stage.op].forward(tower, stage, x, arrival, y, run)
        if stage.activation != "none" and MODULES[stage.op] is not product:  # which applies it before it rounds
            getattr(ops, stage.activation).fprop(y, out=y)
    if run.train:
        tower.kept[stage.name] = Kept(x, None if arrival is None else arrival.array, own)
    return y


def backward(tower: Tower, number: int, stage: Stage, dy: Array, arrival: Arrival | None, run: Pass) -> Array | None:
    """From the gradient of a stage's output, that of its input; parameters' gradients, or updates, on the way.

    `arrival` brings the other tower's share of the gradient, of a stage that crosses. Nothing needs the gradient of the
    images, or of what frozen layers make of them, so the lowest stage of the pass returns None.
    """
    kept = tower.kept[stage.name]
    dx = tower.buffer(f"backward{number % 2}", kept.x.shape) if number > run.lowest else None
    with tower.device.active():
        MODULES[stage.op].backward(tower, stage, kept, dy, dx, arrival, run)
    return dx


def backward_remote(tower: Tower, stage: Stage, dy: Array) -> Array:
    """Of a stage that crosses: the gradient of the half of its input that came from the other tower."""
    with tower.device.active():
        gradient: Array = MODULES[stage.op].backward_remote(tower, stage, tower.kept[stage.name], dy)
    return gradient


def activation_backward(tower: Tower, activation: str, stage: Stage, dx: Array) -> None:
    """Take the gradient of a stage's input, in place, through the activation that made it and that it did not undo."""
    with tower.device.active():
        getattr(ops, activation).bprop(dx, tower.kept[stage.name].x, out=dx)
