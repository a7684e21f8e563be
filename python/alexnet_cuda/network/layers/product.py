"""Convolutions and fully connected layers: what has weights.

Between two towers the input comes in two halves, and the weights with it: the sum over the half that is here is formed
while the other half travels. An FC layer after an image, fc6, is then a convolution whose filter is as large as the
image, because one tower's half of its input is no range of columns.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from ... import ops
from ...base.params import FoldedLayout, SgdParams
from ..plan import Step
from ..stages import Stage
from ..tower import Array, Arrival, Kept, Pass, Tower
from .dropout import kept_scale, mask_of


def forward(tower: Tower, stage: Stage, x: Array, arrival: Arrival | None, y: Array, run: Pass) -> Array:
    """Product, bias, activation and dropout; returns y."""
    weight, bias = tower.weight(stage.name, keep=not run.train), tower.parameters[f"{stage.name}.bias"]
    dropout = None if stage.dropout is None else mask_of(tower, stage.dropout, run)
    end: dict[str, Any] = {"bias": bias, "activation": stage.step.activation, "dropout": dropout, "out": y}
    if arrival is None:
        _fprop(tower, stage, x, weight, **end)
    else:
        partial = tower.buffer("partial", y.shape, tower.accumulator)
        _fprop(tower, stage, x, _own(tower, stage, weight), out=partial)
        _fprop(tower, stage, tower.wait(arrival), _other(tower, stage, weight), addend=partial, **end)
    return y


def backward(
    tower: Tower, stage: Stage, kept: Kept, dy: Array, dx: Array | None, arrival: Arrival | None, run: Pass
) -> None:
    """The gradient by the input first: it takes the weights as they were before an update."""
    weight, own = tower.weight(stage.name), dx
    if arrival is not None:
        weight, own = _own(tower, stage, weight), tower.buffer("partial", kept.x.shape, tower.accumulator)
    if own is not None:
        _dgrad(tower, stage, dy, weight, kept.x, own)
    if run.trains(stage.name):
        parts = [(kept.x, _own), (kept.remote, _other)] if stage.crosses else [(kept.x, None)]
        _wgrad(tower, stage, parts, dy, run)
    if arrival is not None:
        ops.copy.cast(own, addend=tower.wait(arrival), out=dx)


def backward_remote(tower: Tower, stage: Stage, kept: Kept, dy: Array) -> Array:
    """The gradient of the remote half of the input, not rounded."""
    dx = tower.buffer(f"{stage.name}.remote", kept.remote.shape, tower.accumulator)
    _dgrad(tower, stage, dy, _other(tower, stage, tower.weight(stage.name)), kept.remote, dx)
    return dx


def _own(tower: Tower, stage: Stage, tensor: Array) -> Array:
    """Of weights, or what lies as they do, the part for the tower's own channels of the input, as a view."""
    lo, hi = tower.channels(stage.step.input[-1])
    return _by_channel(stage, tensor)[..., lo:hi]


def _other(tower: Tower, stage: Stage, tensor: Array) -> Array:
    lo, hi = tower.other_channels(stage.step.input[-1])
    return _by_channel(stage, tensor)[..., lo:hi]


def _by_channel(stage: Stage, tensor: Array) -> Array:
    image = tensor.ndim == 2 and len(stage.step.input) == 3
    return tensor.reshape(len(tensor), *stage.step.input) if image else tensor


def input_layout(tower: Tower) -> FoldedLayout | None:
    """How the first layer of a tower takes the images folded; None: as they are, [N, H, W, C]."""
    return _layout(tower.plan.steps[0], tower.dtype) if tower.device.folds_input else None


@lru_cache(maxsize=32)
def _layout(step: Step, dtype: Any) -> FoldedLayout | None:
    geometry: dict[str, Any] = {"stride": step.stride, "padding": step.padding, "groups": step.groups}
    return ops.conv2d.folded_layout(step.input, (step.kernel, step.kernel), dtype=dtype, **geometry)


def _folded(tower: Tower, stage: Stage) -> FoldedLayout | None:
    return input_layout(tower) if stage.step is tower.plan.steps[0] else None


def _geometry(tower: Tower, stage: Stage) -> dict[str, Any]:
    step = stage.step
    if stage.op == "linear":
        return {}
    groups = step.groups if step.groups == 1 else step.groups // tower.count
    return {"stride": step.stride, "padding": step.padding, "groups": groups}


def _shaped(stage: Stage, weight: Array, rows: Array) -> Array:
    """Outputs [N, K] of an FC layer as the images [N, 1, 1, K] that a convolution makes, where it is one here."""
    return rows.reshape(len(rows), 1, 1, rows.shape[-1]) if stage.op == "linear" and weight.ndim == 4 else rows


def _fprop(tower: Tower, stage: Stage, x: Array, weight: Array, **end: Any) -> None:
    end = {n: _shaped(stage, weight, a) if n in ("addend", "out") else a for n, a in end.items()}
    if weight.ndim == 2:
        ops.linear.fprop(x.reshape(len(x), -1), weight, precision=tower.precision, **end)
    else:
        options = {"folded": _folded(tower, stage), "precision": tower.precision, **_geometry(tower, stage)}
        ops.conv2d.fprop(x, weight, **options, **end)


def _dgrad(tower: Tower, stage: Stage, dy: Array, weight: Array, x: Array, dx: Array) -> None:
    mask = x if stage.undoes_relu else None
    scale = kept_scale(tower) if stage.undoes_dropout else 1.0
    options: dict[str, Any] = {"mask_scale": scale, "precision": tower.precision}
    if weight.ndim == 2:
        rows = (len(x), -1)
        mask = None if mask is None else mask.reshape(rows)
        ops.linear.dgrad(dy, weight, mask=mask, out=dx.reshape(rows), **options)
    else:
        dy = _shaped(stage, weight, dy)
        ops.conv2d.dgrad(dy, weight, x.shape, mask=mask, out=dx, **_geometry(tower, stage), **options)


def _wgrad(tower: Tower, stage: Stage, parts: list[tuple[Array, Any]], dy: Array, run: Pass) -> None:
    """The gradients by weight and bias, or the updates.

    `parts` are parts of the input, and what takes the part of the weights that belongs to each (None: all of them).
    """
    weight, bias = f"{stage.name}.weight", f"{stage.name}.bias"
    update, whole = run.update, run.update is None and not run.first
    out = tower.gradients[weight] if update is None else None
    dbias = tower.gradients[bias] if whole else tower.buffer("dbias", dy.shape[-1:], tower.accumulator)
    sgd = None if update is None else tower.sgd(weight, update, run.gradient_scale)
    for number, (x, part) in enumerate(parts):

        def take(tensor: Array | None, part: Any = part) -> Array | None:
            return tensor if part is None or tensor is None else part(tower, stage, tensor)

        update_part = sgd and replace(sgd, weight=take(sgd.weight), velocity=take(sgd.velocity), copy=take(sgd.copy))
        options: dict[str, Any] = {"sgd": update_part, "accumulate": run.first > 0, "precision": tower.precision}
        _wgrad_part(tower, stage, x, dy, take(out), dbias if number == 0 else None, options)
    if update is not None:
        ops.sgd.update(tower.sgd(bias, update, run.gradient_scale), dbias)
    elif run.first:
        ops.copy.cast(dbias, addend=tower.gradients[bias], out=tower.gradients[bias])


def _wgrad_part(
    tower: Tower, stage: Stage, x: Array, dy: Array, out: Array | None, dbias: Array | None, options: dict[str, Any]
) -> None:
    sgd: SgdParams | None = options["sgd"]
    options |= {"out": out, "bias_out": dbias, "bias": dbias is not None}
    weight: Array = out if sgd is None else sgd.weight
    if weight.ndim == 2:
        ops.linear.wgrad(x.reshape(len(x), -1), dy, **options)
    else:
        height, width = weight.shape[1:3]
        dy = _shaped(stage, weight, dy)
        ops.conv2d.wgrad(x, dy, (height, width), folded=_folded(tower, stage), **_geometry(tower, stage), **options)
