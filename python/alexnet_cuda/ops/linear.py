"""Fully connected layer: ``y = activation(x w^T + b)``."""

from __future__ import annotations

from ._dispatch import Array, backend, check, check_activation, output


def fprop(
    x: Array, weight: Array, bias: Array | None = None, *, activation: str = "none", out: Array | None = None
) -> Array:
    """y [N, out] from x [N, in], weight [out, in] and bias [out]; activation "none", "relu" or "tanh".

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    check("x", x, (None, None))
    check("weight", weight, (None, x.shape[1]), x.dtype)
    if bias is not None:
        check("bias", bias, (weight.shape[0],), x.dtype)
    check_activation(activation)
    y = output(out, x, (x.shape[0], weight.shape[0]))
    backend("linear", x, weight, bias, y).fprop(x, weight, bias, activation, y)
    return y


def dgrad(dy: Array, weight: Array, *, out: Array | None = None) -> Array:
    """Gradient by the input [N, in], from dy [N, out] and weight [out, in]."""
    check("weight", weight, (None, None))
    check("dy", dy, (None, weight.shape[0]), weight.dtype)
    dx = output(out, dy, (dy.shape[0], weight.shape[1]))
    backend("linear", dy, weight, dx).dgrad(dy, weight, dx)
    return dx


def wgrad(x: Array, dy: Array, *, out: Array | None = None, bias_out: Array | None = None) -> tuple[Array, Array]:
    """Gradients by weight [out, in] and bias [out], from x [N, in] and dy [N, out]."""
    check("x", x, (None, None))
    check("dy", dy, (x.shape[0], None), x.dtype)
    dweight = output(out, x, (dy.shape[1], x.shape[1]))
    dbias = output(bias_out, x, (dy.shape[1],), name="bias_out")
    backend("linear", x, dy, dweight, dbias).wgrad(x, dy, dweight, dbias)
    return dweight, dbias
