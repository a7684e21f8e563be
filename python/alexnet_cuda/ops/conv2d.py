"""Grouped 2-D convolution: forward, gradient by the input, gradient by weights and bias."""

from __future__ import annotations

from ..backends.cpu.conv2d import Conv2dShape
from ._dispatch import Array, backend, check, check_activation, integers, output, pair

Size = int | tuple[int, int]


def problem(
    input_shape: tuple[int, ...], filters: int, kernel: tuple[int, int], stride: Size, padding: Size, groups: int
) -> Conv2dShape:
    """The sizes of a convolution, checked.

    Raises
    ------
    ValueError
        Nothing to filter, groups that do not divide the channels, a filter larger than the padded input.
    """
    n, h, w, c = integers("input_shape", input_shape, 4, 0)
    r, s = integers("kernel", kernel, 2, 1)
    if min(h, w, c, filters) < 1:
        raise ValueError(f"height, width, channels and filters must be positive, got {h}x{w}, {c} and {filters}")
    (sh, sw), (ph, pw) = pair("stride", stride, 1), pair("padding", padding, 0)
    if groups < 1 or c % groups or filters % groups:
        raise ValueError(f"groups must divide {c} input and {filters} output channels, got {groups}")
    if h + 2 * ph < r or w + 2 * pw < s:
        raise ValueError(f"the {r}x{s} filter does not fit the padded input, {h + 2 * ph}x{w + 2 * pw}")
    p, q = (h + 2 * ph - r) // sh + 1, (w + 2 * pw - s) // sw + 1
    return Conv2dShape(n, h, w, c, filters, r, s, p, q, (sh, sw), (ph, pw), groups)


def fprop(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    groups: int = 1,
    activation: str = "none",
    out: Array | None = None,
) -> Array:
    """Convolution, bias and activation.

    Parameters
    ----------
    x : array [N, H, W, C]
    weight : array [K, R, S, C / groups]
    bias : array [K], optional
    stride, padding : int or (int, int)
        Vertical and horizontal; zeros are padded on all sides.
    groups : int
        Group g maps channels ``g C / groups`` and on to filters ``g K / groups`` and on.
    activation : {"none", "relu", "tanh"}

    Returns
    -------
    array [N, P, Q, K] of x's dtype

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together.
    """
    check("x", x, (None,) * 4)
    check("weight", weight, (None,) * 4, x.dtype)
    s = problem(x.shape, weight.shape[0], weight.shape[1:3], stride, padding, groups)
    check("weight", weight, (s.K, s.R, s.S, s.C // groups), x.dtype)
    if bias is not None:
        check("bias", bias, (s.K,), x.dtype)
    check_activation(activation)
    y = output(out, x, (s.N, s.P, s.Q, s.K))
    backend("conv2d", x, weight, bias, y).fprop(x, weight, bias, s, activation, y)
    return y


def dgrad(
    dy: Array,
    weight: Array,
    input_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Size = 0,
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    """Gradient by the input [N, H, W, C] = `input_shape`, from dy [N, P, Q, K] and weight [K, R, S, C / groups]."""
    check("weight", weight, (None,) * 4)
    s = problem(input_shape, weight.shape[0], weight.shape[1:3], stride, padding, groups)
    check("weight", weight, (s.K, s.R, s.S, s.C // groups))
    check("dy", dy, (s.N, s.P, s.Q, s.K), weight.dtype)
    dx = output(out, dy, (s.N, s.H, s.W, s.C))
    backend("conv2d", dy, weight, dx).dgrad(dy, weight, s, dx)
    return dx


def wgrad(
    x: Array,
    dy: Array,
    kernel: tuple[int, int],
    *,
    stride: Size = 1,
    padding: Size = 0,
    groups: int = 1,
    out: Array | None = None,
    bias_out: Array | None = None,
) -> tuple[Array, Array]:
    """Gradients by weight [K, R, S, C / groups] and bias [K], from x [N, H, W, C] and dy [N, P, Q, K].

    `kernel` is (R, S); the rest as in `fprop`.
    """
    check("x", x, (None,) * 4)
    check("dy", dy, (None,) * 4, x.dtype)
    s = problem(x.shape, dy.shape[3], kernel, stride, padding, groups)
    check("dy", dy, (s.N, s.P, s.Q, s.K), x.dtype)
    dweight = output(out, x, (s.K, s.R, s.S, s.C // groups))
    dbias = output(bias_out, x, (s.K,), name="bias_out")
    backend("conv2d", x, dy, dweight, dbias).wgrad(x, dy, s, dweight, dbias)
    return dweight, dbias
