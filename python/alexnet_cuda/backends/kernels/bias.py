"""Bias over the last dimension, and its gradient."""

from __future__ import annotations

from ._runtime import Array, runtime_of


def fprop(x: Array, bias: Array, out: Array) -> None:
    """Write ``x + bias`` to `out`, which may be `x`; bias is float32 [K], x [..., K]."""
    runtime_of(x).call("bias_fprop", {"x": x, "bias": bias, "y": out}, **_matrix(x), dtype=x.dtype.name)


def bprop(dy: Array, out: Array) -> None:
    """Write the sums of dy [..., K] over all but the last dimension to `out`, float32 [K], in a fixed order."""
    runtime, shape, dtype = runtime_of(dy), _matrix(dy), dy.dtype.name
    floats = runtime.module.bias_bprop_config(**shape, dtype=dtype)["workspace_floats"]
    arrays = {"dy": dy, "dbias": out, "workspace": runtime.workspace(4 * floats)}
    runtime.call("bias_bprop", arrays, **shape, dtype=dtype)


def _matrix(x: Array) -> dict[str, int]:
    columns = x.shape[-1]
    return {"rows": x.size // columns if columns else 0, "columns": columns}
