"""Hyperbolic tangent."""

from __future__ import annotations

from ._dispatch import Array, backend, check, output


def fprop(x: Array, *, out: Array | None = None) -> Array:
    """tanh of x, of any shape; `out` may be `x`."""
    check("x", x, None)
    y = output(out, x, x.shape)
    backend("tanh", x, y).fprop(x, y)
    return y


def bprop(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Gradient by the input, from dy and the output y of the forward pass; `out` may be `dy`."""
    check("y", y, None)
    check("dy", dy, y.shape, y.dtype)
    dx = output(out, dy, dy.shape)
    backend("tanh", dy, y, dx).bprop(dy, y, dx)
    return dx
