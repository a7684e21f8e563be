"""Local response normalisation and the max-pool after it in one pass; paper sections 3.3 and 3.4."""

from __future__ import annotations

import numpy as np

from ..base.params import LrnParams
from ._dispatch import Array, backend, check, output
from .lrn import check_groups
from .max_pool import output_shape


def fprop(
    x: Array,
    p: LrnParams,
    *,
    size: int = 3,
    stride: int = 2,
    train: bool = True,
    out: Array | None = None,
    argmax_out: Array | None = None,
) -> tuple[Array, Array | None]:
    """Maxima over windows of the normalised x [N, H, W, C], and their argmax; see `lrn.fprop` and `max_pool.fprop`."""
    check("x", x, (None,) * 4)
    check_groups(x.shape[3], p.groups)
    shape = output_shape(x.shape, size, stride)
    y = output(out, x, shape)
    argmax = output(argmax_out, x, shape, np.uint8, "argmax_out") if train else None
    backend("lrn_max_pool", x, y, argmax).fprop(x, p, size, stride, y, argmax)
    return y, argmax


def bprop(
    dy: Array,
    argmax: Array,
    x: Array,
    p: LrnParams,
    *,
    size: int = 3,
    stride: int = 2,
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Gradient by x [N, H, W, C], from dy and the argmax [N, P, Q, C]; `relu` as in `lrn.bprop`."""
    check("x", x, (None,) * 4)
    check_groups(x.shape[3], p.groups)
    shape = output_shape(x.shape, size, stride)
    check("dy", dy, shape, x.dtype)
    check("argmax", argmax, shape, np.uint8)
    dx = output(out, x, x.shape)
    backend("lrn_max_pool", dy, argmax, x, dx).bprop(dy, argmax, x, p, size, stride, dx, relu=relu)
    return dx
