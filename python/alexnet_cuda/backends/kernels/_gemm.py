"""Calls of the implicit GEMM, which convolution and fully connected layer share.

The tensors x, y and weight may be ranges of the last dimension of wider ones; the extension gets their pitches. Bias
and the gradients of weight and bias are float32 whatever the precision: they belong to the weights that the optimiser
keeps, of which `weight` is the copy in x's dtype.
"""

from __future__ import annotations

from typing import Any

from ...base.params import DropoutParams, SgdParams
from ._runtime import Array, Runtime, pitch_of, runtime_of

Problem = dict[str, Any]


def problem(sizes: Problem, precision: str | None, x: Array, y: Array, weight: Array) -> Problem:
    """The extension's description of a problem; `x`, `y` and `weight` stand for themselves or for their gradients."""
    pitch = (pitch_of(x), pitch_of(y), pitch_of(weight))
    return {**sizes, "pitch": pitch, "precision": precision or y.dtype.name}


def fprop(
    op: str,
    sizes: Problem,
    x: Array,
    weight: Array,
    bias: Array | None,
    activation: str,
    out: Array,
    addend: Array | None,
    dropout: DropoutParams | None,
    precision: str | None,
) -> None:
    """Submit ``<op>_fprop``."""
    _require_layout(out, addend=addend)
    runtime = runtime_of(x)
    options = problem(sizes, precision or x.dtype.name, x, out, weight)
    arrays, drop = _dropout(runtime, dropout)
    arrays |= {"x": x, "weight": weight, "bias": bias, "addend": addend, "y": out}
    wide = out.dtype.name == "float32"
    _call(runtime, op, "fprop", arrays, options, y_float=wide, activation=activation, **drop)


def dgrad(
    op: str,
    sizes: Problem,
    dy: Array,
    weight: Array,
    out: Array,
    mask: Array | None,
    mask_scale: float,
    addend: Array | None,
    precision: str | None,
) -> None:
    """Submit ``<op>_dgrad``."""
    _require_layout(out, addend=addend, mask=mask)
    options = problem(sizes, precision or dy.dtype.name, out, dy, weight)
    arrays = {"dy": dy, "weight": weight, "mask": mask, "addend": addend, "dx": out}
    wide = out.dtype.name == "float32"
    _call(runtime_of(dy), op, "dgrad", arrays, options, dx_float=wide, mask_scale=mask_scale)


def wgrad(
    op: str,
    sizes: Problem,
    x: Array,
    dy: Array,
    dweight: Array | None,
    dbias: Array | None,
    accumulate: bool,
    sgd: SgdParams | None,
    precision: str | None,
) -> None:
    """Submit ``<op>_wgrad``; with `sgd` the weights are updated and `dweight` may be None."""
    runtime = runtime_of(x)
    layout = dweight if sgd is None else sgd.weight
    options = problem(sizes, precision or x.dtype.name, x, dy, layout)
    arrays, update = _sgd(runtime, sgd)
    arrays |= {"x": x, "dy": dy, "dweight": dweight, "dbias": dbias}
    _call(runtime, op, "wgrad", arrays, options, accumulate=accumulate, **update)


def _require_layout(out: Array, **others: Array | None) -> None:
    """What is combined with the sums is read where the result is written: one pitch serves all."""
    for name, other in others.items():
        if other is not None and pitch_of(other) != pitch_of(out):
            given, expected = (pitch_of(a) or a.shape[-1] for a in (other, out))
            raise ValueError(f"{name} must lie as out does, {expected} numbers from row to row, got {given}")


def _call(
    runtime: Runtime, op: str, direction: str, arrays: dict[str, Array | None], options: Problem, **rest: Any
) -> None:
    size = getattr(runtime.module, f"{op}_workspace_bytes")(direction=direction, **options)
    arrays = {**arrays, "workspace": runtime.workspace(size)}
    runtime.call(f"{op}_{direction}", arrays, workspace_bytes=size, **options, **rest)


def _dropout(runtime: Runtime, p: DropoutParams | None) -> tuple[dict[str, Array | None], dict[str, Any]]:
    if p is None:
        return {}, {}
    scalars = {
        "dropout_rate": p.rate,
        "dropout_seed": p.seed,
        "dropout_purpose": p.purpose,
        "dropout_start": p.start,
        "dropout_row_stride": p.row_stride,
    }
    return {"dropout_step": runtime.in_device_memory("dropout.step", p.step, "uint64")}, scalars


def _sgd(runtime: Runtime, p: SgdParams | None) -> tuple[dict[str, Array | None], dict[str, Any]]:
    if p is None:
        return {}, {}
    arrays = {
        "sgd_weights": p.weight,
        "sgd_velocity": p.velocity,
        "sgd_copy": p.copy,
        "sgd_learning_rate": runtime.in_device_memory("sgd.learning_rate", p.learning_rate, "float32"),
    }
    scalars = {
        "sgd_rate_factor": p.rate_factor,
        "sgd_momentum": p.momentum,
        "sgd_weight_decay": p.weight_decay,
        "sgd_gradient_scale": p.gradient_scale,
    }
    return arrays, scalars
