"""SGD with momentum and weight decay; paper section 5."""

from __future__ import annotations

from ...base.array import Array
from ...base.params import SgdParams
from ..runtime import Runtime
from ._runtime import runtime_of

ARRAYS = ("weights", "velocity", "copy", "learning_rate")


def update(p: SgdParams, gradient: Array) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place; see `SgdParams`."""
    runtime = runtime_of(p.weight)
    runtime.call("sgd", {**arrays(runtime, p, "learning_rate"), "gradient": gradient}, sgd=p)


def arrays(runtime: Runtime, p: SgdParams, rate_name: str) -> dict[str, Array | None]:
    """What the kernels read and write beside the gradient, by the extension's names; `rate_name` is for errors."""
    rate = runtime.in_device_memory(rate_name, p.learning_rate, "float32")
    return dict(zip(ARRAYS, (p.weight, p.velocity, p.copy, rate), strict=True))
