"""Local response normalisation and the max-pool after it in one pass; paper sections 3.3 and 3.4."""

from __future__ import annotations

import numpy as np

from ..base.params import LrnParams
from ..base.windows import Padding
from ._dispatch import Array, backend, check, output, require_apart
from .lrn import check_groups
from .max_pool import pool


def fprop(
    x: Array,
    p: LrnParams,
    *,
    size: int = 3,
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
    train: bool = True,
    out: Array | None = None,
    argmax_out: Array | None = None,
) -> tuple[Array, Array | None]:
    """Maxima over windows of the normalised x [N, H, W, C], and their argmax; see `lrn.fprop` and `max_pool.fprop`."""
    check("x", x, (None,) * 4)
    check_groups(x.shape[3], p.groups)
    windows, shape = pool(x.shape, size, stride, padding, ceil_mode)
    y = output(out, x, shape)
    require_apart(y, x=x)
    argmax = output(argmax_out, x, shape, np.uint8, "argmax_out") if train else None
    backend("lrn_max_pool", x, y, argmax).fprop(x, p, windows, y, argmax)
    return y, argmax


def bprop(
    dy: Array,
    argmax: Array,
    x: Array,
    p: LrnParams,
    *,
    size: int = 3,
    stride: int = 2,
    padding: Padding = 0,
    ceil_mode: bool = False,
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Gradient by x [N, H, W, C], from dy and the argmax [N, P, Q, C]; options as in `fprop` and `lrn.bprop`."""
    check("x", x, (None,) * 4)
    check_groups(x.shape[3], p.groups)
    windows, shape = pool(x.shape, size, stride, padding, ceil_mode)
    check("dy", dy, shape, x.dtype)
    check("argmax", argmax, shape, np.uint8)
    dx = output(out, x, x.shape)
    require_apart(dx, dy=dy, x=x)
    backend("lrn_max_pool", dy, argmax, x, dx).bprop(dy, argmax, x, p, windows, dx, relu=relu)
    return dx
