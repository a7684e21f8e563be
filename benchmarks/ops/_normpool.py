"""Response normalisation and max-pooling of sampled elements in float64, for the modules of either and of both."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..harness.cases import Case, Tensor, plan, step
from ..harness.values import Values
from ._common import GRADIENT_SCALE, Array

# Large enough that normalisation changes a number by several percent, and no square overflows float16.
ACTIVATION_SCALE = 4
At = Callable[[Array, Array, Array, Array], Array]  # coordinates n, h, w, c to values

SIZE, K, ALPHA, BETA = 5, 2.0, 1e-4, 0.75  # paper section 3.3
POOL, STRIDE = 3, 2  # paper section 3.4


@dataclass(frozen=True)
class Maps:
    """The sizes of a normalisation, of a pool, or of both."""

    N: int
    H: int
    W: int
    C: int
    groups: int

    @property
    def P(self) -> int:
        """Rows of the pool's output."""
        return (self.H - POOL) // STRIDE + 1

    @property
    def Q(self) -> int:
        """Columns of the pool's output."""
        return (self.W - POOL) // STRIDE + 1


def maps(case: Case) -> Maps:
    """The sizes of a case, whose layer is that of the normalisation or of the pool."""
    s = step(case.layer)
    h, w, c = s.input
    return Maps(case.batch, h, w, c, s.groups)


def fused_layers() -> tuple[str, ...]:
    """The normalisations that a pool follows."""
    steps = plan().steps
    return tuple(a.name for a, b in itertools.pairwise(steps) if (a.op, b.op) == ("lrn", "max_pool"))


def full(m: Maps, dtype: str, **fields: Any) -> Tensor:
    """A tensor of the input's shape."""
    return Tensor((m.N, m.H, m.W, m.C), dtype, **fields)


def pooled(m: Maps, dtype: str, **fields: Any) -> Tensor:
    """A tensor of the pool's output's shape."""
    return Tensor((m.N, m.P, m.Q, m.C), dtype, **fields)


def gradient(tensor: Tensor) -> Tensor:
    """The same shape, with the numbers of a gradient."""
    return Tensor(tensor.shape, tensor.dtype, GRADIENT_SCALE)


def lrn_parameters(m: Maps) -> Any:
    """Our parameters of the paper's normalisation."""
    from alexnet_cuda.ops import lrn

    return lrn.parameters(m.C, SIZE, K, ALPHA, BETA, groups=m.groups)


def launch_sizes(m: Maps) -> dict[str, int]:
    """The sizes as `_simt`'s launch choices take them."""
    return {"images": m.N, "height": m.H, "width": m.W, "channels": m.C}


def _window(m: Maps, c: Array, reach: int) -> tuple[Array, Array]:
    """Channels c - reach .. c + reach along a new last axis, and which of them lie in c's group."""
    length = m.C // m.groups
    channels = c[..., None] + np.arange(-reach, reach + 1)
    inside = (channels >= 0) & (channels < m.C) & (channels // length == c[..., None] // length)
    return channels.clip(0, m.C - 1), inside


def _over_window(m: Maps, f: At, n: Array, h: Array, w: Array, c: Array) -> Array:
    channels, inside = _window(m, c, SIZE // 2)
    return np.where(inside, f(n[..., None], h[..., None], w[..., None], channels), 0.0).sum(axis=-1)


def scale(m: Maps, x: Values) -> At:
    """``k + alpha sum x^2`` over the window."""
    return lambda n, h, w, c: K + ALPHA * _over_window(m, lambda *at: np.square(x.at(*at)), n, h, w, c)


def normalised(m: Maps, x: Values) -> At:
    """``x s^-beta``."""
    return lambda n, h, w, c: x.at(n, h, w, c) * scale(m, x)(n, h, w, c) ** -BETA


def lrn_bprop(m: Maps, x: Values, dy: At, n: Array, h: Array, w: Array, c: Array) -> tuple[Array, Array]:
    """``dy s^-beta - 2 alpha beta x sum dy x s^(-beta - 1)`` and the size of its two terms together."""
    s = scale(m, x)
    direct = dy(n, h, w, c) * s(n, h, w, c) ** -BETA
    ratios = _over_window(m, lambda *at: dy(*at) * x.at(*at) * s(*at) ** (-BETA - 1), n, h, w, c)
    through = 2 * ALPHA * BETA * x.at(n, h, w, c) * ratios
    return direct - through, np.abs(direct) + np.abs(through)


def windows(f: At, n: Array, p: Array, q: Array, c: Array) -> Array:
    """The 9 values of each pooling window along a new last axis."""
    i = np.arange(POOL * POOL)
    n, p, q, c = (np.asarray(a)[..., None] for a in (n, p, q, c))
    return f(n, STRIDE * p + i // POOL, STRIDE * q + i % POOL, c)


def clear(values: Array, margin: float) -> Array:
    """Whether the largest of each window is larger than the next by more than `margin` of it: no tie, whoever looks."""
    top = np.sort(values, axis=-1)[..., -2:]
    return (top[..., 1] - top[..., 0]) > margin * np.abs(top[..., 1])


def pool_bprop(
    m: Maps, f: At, dy: Values, margin: float, n: Array, h: Array, w: Array, c: Array
) -> tuple[Array, Array]:
    """The pool's gradient at elements of its input `f`, and whether no window over them has a tie.

    Which of equal numbers gets the gradient is each library's own choice, so elements near a tie are no evidence.
    """
    n, h, w, c = np.broadcast_arrays(n, h, w, c)
    total, sure = np.zeros(n.shape), np.ones(n.shape, bool)
    for dp in (0, 1):
        for dq in (0, 1):
            p, q = h // STRIDE - dp, w // STRIDE - dq
            inside = (p >= 0) & (p < m.P) & (h - STRIDE * p < POOL) & (q >= 0) & (q < m.Q) & (w - STRIDE * q < POOL)
            p, q = p.clip(0, m.P - 1), q.clip(0, m.Q - 1)
            values = windows(f, n, p, q, c)
            won = values.argmax(axis=-1) == (h - STRIDE * p) * POOL + (w - STRIDE * q)
            total += np.where(inside & won, dy.at(n, p, q, c), 0.0)
            sure &= ~inside | clear(values, margin)
    return total, sure
