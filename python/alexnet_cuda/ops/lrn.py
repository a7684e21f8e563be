"""Local response normalisation across channels; paper section 3.3."""

from __future__ import annotations

from ..base.params import LrnParams
from ._dispatch import Array, backend, check, integers, output, require_apart


def parameters(
    channels: int,
    size: int = 5,
    k: float = 2.0,
    alpha: float = 1e-4,
    beta: float = 0.75,
    alpha_over_size: bool = False,
    groups: int = 1,
) -> LrnParams:
    """The checked parameters of a normalisation.

    Parameters
    ----------
    channels : int
        Of the input.
    size : int
        Odd number of channels in the window.
    k, alpha, beta : float
        ``y = x (k + alpha * sum of x^2) ** -beta``.
    alpha_over_size : bool
        Divide alpha by `size` (Caffe, cuDNN, PyTorch, ONNX) or not (the paper, TensorFlow).
    groups : int
        Windows stay within each of so many equal blocks of channels.

    Raises
    ------
    ValueError
        An even window, k not positive, alpha negative, groups that do not divide the channels.
    """
    (size,), (groups,) = integers("size", size, 1, 1), integers("groups", groups, 1, 1)
    if size % 2 == 0:
        raise ValueError(f"size must be odd, got {size}")
    if not (k > 0 and alpha >= 0):
        raise ValueError(f"k must be positive and alpha not negative, got {k} and {alpha}")
    check_groups(channels, groups)
    return LrnParams(size, k, alpha / size if alpha_over_size else alpha, beta, groups)


def check_groups(channels: int, groups: int) -> None:
    """Require groups that divide the channels.

    Raises
    ------
    ValueError
        They do not, or there are no channels.
    """
    if channels < 1 or channels % groups:
        raise ValueError(f"groups must divide {channels} channels, got {groups}")


def fprop(x: Array, p: LrnParams, *, out: Array | None = None) -> Array:
    """The normalised x [N, H, W, C]; `p` from `parameters`."""
    check("x", x, (None,) * 4)
    check_groups(x.shape[3], p.groups)
    y = output(out, x, x.shape)
    require_apart(y, x=x)
    backend("lrn", x, y).fprop(x, p, y)
    return y


def bprop(dy: Array, x: Array, p: LrnParams, *, relu: bool = False, out: Array | None = None) -> Array:
    """Gradient by the input [N, H, W, C], from dy, the input x and its `p`.

    With `relu`, x is the output of a ReLU: the result is zero where it is not positive.
    """
    check("x", x, (None,) * 4)
    check_groups(x.shape[3], p.groups)
    check("dy", dy, x.shape, x.dtype)
    dx = output(out, x, x.shape)
    require_apart(dx, dy=dy, x=x)
    backend("lrn", dy, x, dx).bprop(dy, x, p, dx, relu=relu)
    return dx
