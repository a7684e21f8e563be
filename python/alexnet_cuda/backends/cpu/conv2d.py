"""Grouped 2-D convolution on the CPU: im2col in blocks that stay in cache, then BLAS.

``y[n, p, q, k] = b[k] + sum over r, s, c of x[n, p*stride + r - pad, q*stride + s - pad, c] * w[k, r, s, c]``,
the sum over the channels of k's group. Shapes: x [N, H, W, C], w [K, R, S, C / groups], y [N, P, Q, K].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from ...base.params import Conv2dShape, DropoutParams, FoldedLayout, SgdParams
from . import dropout as dropouts
from . import sgd as updates
from .activation import ACTIVATIONS
from .fold import unfold
from .masks import keep

Array = npt.NDArray[Any]

# Rows of the matrix that one BLAS call multiplies. Fewer, and BLAS spends its time packing the weights; more, and the
# matrix leaves the cache (measured on Zen 3: 512 to 1024 are within 3 % of each other, 169 is 12 % slower).
_ROWS = 700
# Lanes that gradients are summed in, in parallel; fixed, so that no sum depends on the number of threads.
_LANES = 4


@dataclass(frozen=True)
class _Tile:
    """Images n0 to n1, output rows p0 to p1 of each, of one group."""

    n0: int
    n1: int
    p0: int
    p1: int
    group: int


def _tiles(s: Conv2dShape, whole_images: bool = False) -> list[_Tile]:
    """Cuts the output into tiles of about _ROWS positions; a small problem into at least four, one a core."""
    target = max(64, min(_ROWS, -(-s.N * s.P * s.Q // _LANES)))
    image = s.P * s.Q
    tiles = []
    if whole_images or image <= target:
        step = max(1, target // image)
        spans = [(n, min(n + step, s.N), 0, s.P) for n in range(0, s.N, step)]
    else:
        rows = -(-s.P // -(-image // target))
        spans = [(n, n + 1, p, min(p + rows, s.P)) for n in range(s.N) for p in range(0, s.P, rows)]
    for n0, n1, p0, p1 in spans:
        tiles += [_Tile(n0, n1, p0, p1, g) for g in range(s.groups)]
    return tiles


def _columns(x: Array, s: Conv2dShape, t: _Tile) -> Array:
    """The tile's patches as a matrix [positions, R * S * C / groups]."""
    cg = s.C // s.groups
    sh, sw = s.stride
    ph, pw = s.padding
    h0 = t.p0 * sh - ph
    height, width = (t.p1 - t.p0 - 1) * sh + s.R, (s.Q - 1) * sw + s.S
    source = x[t.n0 : t.n1, :, :, t.group * cg : (t.group + 1) * cg]
    beyond = (s.P - 1) * sh + s.R > s.H + ph or width > s.W + pw
    if ph or pw or beyond or s.groups > 1:
        # A contiguous copy with its zero border: each filter row is then one run of S * C / groups numbers.
        window = scratch("window", (t.n1 - t.n0, height, width, cg), x.dtype)
        top, left = min(max(0, -h0), height), min(pw, width)
        bottom, right = max(top, min(height, s.H - h0)), max(left, min(width, s.W + pw))
        window[:, :top] = 0
        window[:, bottom:] = 0
        window[:, top:bottom, :left] = 0
        window[:, top:bottom, right:] = 0
        window[:, top:bottom, left:right] = source[:, h0 + top : h0 + bottom, : right - left]
        h0 = 0
    else:
        window = source
    sn, sy, sx, sc = window.strides
    view = np.lib.stride_tricks.as_strided(
        window[:, h0:],
        (t.n1 - t.n0, t.p1 - t.p0, s.Q, s.R, s.S, cg),
        (sn, sy * sh, sx * sw, sy, sx, sc),
        writeable=False,
    )
    columns = scratch("columns", view.shape, x.dtype)
    np.copyto(columns, view)
    return columns.reshape(-1, s.depth)


def _rows(y: Array, s: Conv2dShape, t: _Tile) -> Array:
    """The tile's part of an array [N, P, Q, K] as a matrix view [positions, K / groups]."""
    kg = s.K // s.groups
    part = y[t.n0 : t.n1, t.p0 : t.p1]
    return part.reshape(-1, s.K)[:, t.group * kg : (t.group + 1) * kg]


def activate(y: Array, activation: str) -> None:
    """Apply an activation in place."""
    if activation != "none":
        ACTIVATIONS[activation][0](y, y)


def through_mask(dx: Array, mask: Array | None, scale: float) -> None:
    """Scale `dx`, in place, and make it zero where `mask` is not positive."""
    if mask is None:
        return
    if scale != 1.0:
        np.multiply(dx, dx.dtype.type(scale), out=dx)
    keep(dx, mask > 0)


def require_own_precision(x: Array, precision: str | None) -> None:
    """Refuse a precision that NumPy does not compute in."""
    if precision not in (None, x.dtype.name):
        raise ValueError(f"the CPU computes {x.dtype} arrays in {x.dtype}, not in {precision}")


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None,
    s: Conv2dShape,
    activation: str,
    out: Array,
    *,
    addend: Array | None = None,
    dropout: DropoutParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
) -> None:
    """Write the convolution, plus addend and bias, through activation and dropout, to `out` [N, P, Q, K]."""
    require_own_precision(x, precision)
    if folded is not None:
        x = unfold(x, folded)
    kg = s.K // s.groups
    matrix = weight.reshape(s.K, s.depth)
    tiles = _tiles(s)

    def tile(i: int) -> None:
        t = tiles[i]
        k = slice(t.group * kg, (t.group + 1) * kg)
        rows = _rows(out, s, t)
        if addend is None:
            np.matmul(_columns(x, s, t), matrix[k].T, out=rows)
        else:  # which may be `out`
            product = scratch("product", rows.shape, x.dtype)
            np.matmul(_columns(x, s, t), matrix[k].T, out=product)
            np.add(product, _rows(addend, s, t), out=rows)
        if bias is not None:
            np.add(rows, bias[k], out=rows)
        activate(rows, activation)

    parallel_for(tile, len(tiles))
    if dropout is not None:
        positions = out.reshape(-1, s.K)
        dropouts.apply(positions, dropout, positions)


def dgrad(
    dy: Array,
    weight: Array,
    s: Conv2dShape,
    out: Array,
    *,
    mask: Array | None = None,
    mask_scale: float = 1.0,
    addend: Array | None = None,
    precision: str | None = None,
) -> None:
    """Write the gradient by the input, plus addend, through the mask, to `out` [N, H, W, C].

    It is dy times the weights, added up where patches overlap.
    """
    require_own_precision(dy, precision)
    kg, cg = s.K // s.groups, s.C // s.groups
    matrix = weight.reshape(s.K, s.depth)
    tiles = _tiles(s, whole_images=True)
    (sh, sw), (ph, pw) = s.stride, s.padding
    height, width = max(s.H + ph, (s.P - 1) * sh + s.R), max(s.W + pw, (s.Q - 1) * sw + s.S)

    def tile(i: int) -> None:
        t = tiles[i]
        n = t.n1 - t.n0
        columns = scratch("columns", (n * s.P * s.Q, s.depth), dy.dtype)
        np.matmul(_rows(dy, s, t), matrix[t.group * kg : (t.group + 1) * kg], out=columns)
        patches = columns.reshape(n, s.P, s.Q, s.R, s.S, cg)
        window = scratch("window", (n, height, width, cg), dy.dtype)
        window[...] = 0
        for r in range(s.R):
            for c in range(s.S):
                target = window[:, r : r + sh * s.P : sh, c : c + sw * s.Q : sw]
                np.add(target, patches[:, :, :, r, c], out=target)
        inner = window[:, ph : ph + s.H, pw : pw + s.W]
        part = (slice(t.n0, t.n1), slice(None), slice(None), slice(t.group * cg, (t.group + 1) * cg))
        if addend is not None:
            np.add(inner, addend[part], out=inner)
        through_mask(inner, None if mask is None else mask[part], mask_scale)
        out[part] = inner

    parallel_for(tile, len(tiles))


def wgrad(
    x: Array,
    dy: Array,
    s: Conv2dShape,
    dweight: Array | None,
    dbias: Array | None,
    *,
    accumulate: bool = False,
    sgd: SgdParams | None = None,
    precision: str | None = None,
    folded: FoldedLayout | None = None,
) -> None:
    """Write the gradients by weights [K, R, S, C / groups] and bias [K], or update the weights by the former."""
    require_own_precision(x, precision)
    if folded is not None:
        x = unfold(x, folded)
    kg = s.K // s.groups
    tiles = _tiles(s)
    partial = scratch("wgrad", (_LANES, s.K, s.depth), x.dtype)
    partial_bias = scratch("wgrad_bias", (_LANES, s.K), x.dtype)
    partial[...] = 0
    partial_bias[...] = 0
    ones = np.ones(max(((t.n1 - t.n0) * (t.p1 - t.p0) * s.Q for t in tiles), default=0), x.dtype)

    def lane(task: int) -> None:
        number, group = divmod(task, s.groups)
        k = slice(group * kg, (group + 1) * kg)
        for t in tiles[group :: s.groups][number::_LANES]:
            rows = _rows(dy, s, t)
            product = scratch("product", (kg, s.depth), x.dtype)
            np.matmul(rows.T, _columns(x, s, t), out=product)
            np.add(partial[number, k], product, out=partial[number, k])
            if dbias is not None:
                partial_bias[number, k] += ones[: len(rows)] @ rows

    parallel_for(lane, _LANES * s.groups)
    gradient = np.sum(partial, axis=0).reshape(s.K, s.R, s.S, -1)
    finish_wgrad(gradient, dweight, accumulate, sgd)
    if dbias is not None:
        np.sum(partial_bias, axis=0, out=dbias)


def finish_wgrad(gradient: Array, dweight: Array | None, accumulate: bool, sgd: SgdParams | None) -> None:
    """Put a weight gradient where it is wanted: into `dweight`, or added to it, and into the weights."""
    if dweight is not None and accumulate:
        np.add(dweight, gradient, out=dweight)
    elif dweight is not None:
        dweight[...] = gradient
    if sgd is not None:
        updates.update(sgd, gradient)
