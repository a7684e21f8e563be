"""Bias over the last dimension on the GPU."""

from __future__ import annotations

from ._runtime import Array, addresses, empty, extension, stream


def fprop(x: Array, bias: Array, out: Array) -> None:
    """Write ``x + bias`` to `out`, which may be `x`; bias is float32 [K], x [..., K]."""
    extension().bias_fprop(**addresses(x=x, bias=bias, y=out), **_matrix(x), dtype=x.dtype.name, stream=stream())


def bprop(dy: Array, out: Array) -> None:
    """Write the sums of dy [..., K] over all but the last dimension to `out`, float32 [K], in a fixed order."""
    module, shape, dtype = extension(), _matrix(dy), dy.dtype.name
    workspace = empty(module.bias_bprop_config(**shape, dtype=dtype)["workspace_floats"], "float32")
    module.bias_bprop(**addresses(dy=dy, dbias=out, workspace=workspace), **shape, dtype=dtype, stream=stream())


def _matrix(x: Array) -> dict[str, int]:
    columns = x.shape[-1]
    return {"rows": x.size // columns if columns else 0, "columns": columns}
