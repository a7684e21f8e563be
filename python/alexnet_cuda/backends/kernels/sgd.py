"""SGD with momentum and weight decay; paper section 5."""

from __future__ import annotations

from ...base.params import SgdParams
from ._runtime import Array, runtime_of


def update(p: SgdParams, gradient: Array) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place; see `SgdParams`."""
    runtime = runtime_of(p.weight)
    runtime.call(
        "sgd",
        {
            "weights": p.weight,
            "velocity": p.velocity,
            "gradient": gradient,
            "copy": p.copy,
            "learning_rate": runtime.in_device_memory("learning_rate", p.learning_rate, "float32"),
        },
        count=p.weight.size,
        rate_factor=p.rate_factor,
        momentum=p.momentum,
        weight_decay=p.weight_decay,
        gradient_scale=p.gradient_scale,
        dtype=gradient.dtype.name,
        copy_dtype="bfloat16" if p.copy is None else p.copy.dtype.name,
    )
