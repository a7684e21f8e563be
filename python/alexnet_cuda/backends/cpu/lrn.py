"""Local response normalisation across channels on the CPU; paper section 3.3.

``y_c = x_c * s_c ** -beta`` with ``s_c = k + alpha * sum of x^2`` over the `size` channels around c that lie in c's
group. `alpha` here multiplies the sum itself. x and y are [..., C].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import parallel_for, scratch
from ...base.params import LrnParams
from .masks import keep

Array = npt.NDArray[Any]

# Numbers in a block. Smaller ones fit the second-level cache but hand the interpreter lock between the threads so
# often that they are slower (measured on Zen 3: 16384 takes three times as long).
_BLOCK = 196608


def _blocks(x: Array) -> tuple[int, list[slice]]:
    rows = x.size // x.shape[-1]
    step = max(1, _BLOCK // x.shape[-1])
    return rows, [slice(i, min(rows, i + step)) for i in range(0, rows, step)]


def _padded(name: str, rows: int, channels: int, p: LrnParams, dtype: npt.DTypeLike) -> tuple[Array, Array]:
    """A zeroed flat array with room for the window beside every group, and the view [rows, groups, C / groups]."""
    width = channels // p.groups + p.size - 1
    flat = scratch(name, (rows * p.groups * width + p.size - 1,), dtype)
    flat[...] = 0
    half = p.size // 2
    blocks = flat[: rows * p.groups * width].reshape(rows, p.groups, width)
    return flat, blocks[:, :, half : half + channels // p.groups]


def _window_sums(flat: Array, p: LrnParams, view: Array, name: str) -> tuple[Array, Array]:
    """Sums over the window, flat and as a view. One long shifted addition each: the padding keeps groups apart."""
    n = len(flat) - p.size + 1
    sums = scratch(name, (n,), flat.dtype)
    if p.size == 1:
        sums[...] = flat[:n]
    else:
        np.add(flat[:n], flat[1 : n + 1], out=sums)
    for i in range(2, p.size):
        np.add(sums, flat[i : n + i], out=sums)
    return sums, sums.reshape(*view.shape[:2], -1)[:, :, : view.shape[2]]


def power(s: Array, beta: float, name: str) -> None:
    """``s ** beta`` in place; by square roots for the paper's beta, which is ten times faster than pow."""
    if beta == 0.75:
        root = scratch(name, s.shape, s.dtype)
        np.sqrt(s, out=root)
        np.sqrt(root, out=s)
        np.multiply(s, root, out=s)
    else:
        np.power(s, beta, out=s)


def fprop(x: Array, p: LrnParams, out: Array) -> None:
    """Write the normalised `x` to `out`."""
    channels = x.shape[-1]
    rows, blocks = _blocks(x)
    x3, y3 = (a.reshape(rows, p.groups, channels // p.groups) for a in (x, out))

    def block(i: int) -> None:
        part = x3[blocks[i]]
        flat, squares = _padded("squares", len(part), channels, p, x.dtype)
        np.multiply(part, part, out=squares)
        sums, view = _window_sums(flat, p, squares, "sums")
        np.multiply(sums, p.alpha, out=sums)
        np.add(sums, p.k, out=sums)
        power(sums, p.beta, "root")
        np.divide(part, view, out=y3[blocks[i]])

    parallel_for(block, len(blocks))


def bprop(dy: Array, x: Array, p: LrnParams, out: Array, *, relu: bool = False) -> None:
    """Write the gradient by the input to `out`; with `relu` zero where `x` is not positive.

    ``dx_c = dy_c s_c^-beta - 2 alpha beta x_c * sum over the window of dy x s^(-beta - 1)``; s is computed again from
    x, which costs less than keeping it in memory.
    """
    channels = x.shape[-1]
    rows, blocks = _blocks(x)
    x3, dy3, dx3 = (a.reshape(rows, p.groups, channels // p.groups) for a in (x, dy, out))

    def block(i: int) -> None:
        part = x3[blocks[i]]
        flat, inner = _padded("squares", len(part), channels, p, x.dtype)
        np.multiply(part, part, out=inner)
        sums, view = _window_sums(flat, p, inner, "sums")
        np.multiply(sums, p.alpha, out=sums)
        np.add(sums, p.k, out=sums)
        scale = scratch("scale", sums.shape, sums.dtype)
        scale[...] = sums
        power(scale, p.beta, "root")
        scaled = scratch("scaled", part.shape, x.dtype)
        scale_view = scale.reshape(*part.shape[:2], -1)[:, :, : part.shape[2]]
        np.divide(dy3[blocks[i]], scale_view, out=scaled)
        np.multiply(scaled, part, out=inner)  # the padding of `flat` is still zero
        np.divide(inner, view, out=inner)
        _, ratios = _window_sums(flat, p, inner, "root")
        np.multiply(ratios, -2.0 * p.alpha * p.beta, out=ratios)
        np.multiply(ratios, part, out=ratios)
        np.add(scaled, ratios, out=dx3[blocks[i]])
        if relu:
            keep(dx3[blocks[i]], part > 0)

    parallel_for(block, len(blocks))
