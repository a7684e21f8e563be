"""The gradient of a bias over the last dimension."""

from __future__ import annotations

from ...base.array import Array
from ._runtime import runtime_of


def bprop(dy: Array, out: Array) -> None:
    """Write the sums of dy [..., K] over all but the last dimension to `out`, float32 [K], in a fixed order."""
    runtime, columns = runtime_of(dy), dy.shape[-1]
    rows = dy.size // columns if columns else 0
    config = runtime.module.bias_bprop_config(rows=rows, columns=columns, dtype=dy.dtype.name)
    workspace = runtime.workspace(4 * config["workspace_floats"])
    runtime.call("bias_bprop", {"dy": dy, "dbias": out, "workspace": workspace})
