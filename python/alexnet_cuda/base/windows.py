"""Where the windows of convolutions and pools lie."""

from __future__ import annotations

import operator

MOST = 2**31 - 1  # that an int of C holds
Sides = tuple[tuple[int, int], tuple[int, int]]
Padding = int | tuple[int | tuple[int, int], int | tuple[int, int]]


def sides(padding: Padding) -> Sides:
    """``(top, bottom), (left, right)`` of a padding: one number, or vertical and horizontal, each one or a pair.

    Raises
    ------
    TypeError, ValueError
        Anything else, negative numbers among it.
    """
    expected = (
        "padding must be an integer of at least 0, two of them for height and width, or "
        f"((top, bottom), (left, right)), got {padding!r}"
    )
    axes = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    try:
        pairs = [tuple(map(operator.index, a if isinstance(a, (tuple, list)) else (a, a))) for a in axes]
    except TypeError:
        raise TypeError(expected) from None
    if [len(p) for p in pairs] != [2, 2] or min(map(min, pairs)) < 0:
        raise ValueError(expected)
    if max(map(max, pairs)) > MOST:
        raise ValueError(f"padding must be at most {MOST}, got {padding!r}")
    (top, bottom), (left, right) = pairs
    return (top, bottom), (left, right)


def count(extent: int, size: int, stride: int, padding: tuple[int, int], ceil_mode: bool = False) -> int:
    """How many windows there are along an axis of `extent`, with padding before and after it; below 1: none fits.

    ``(extent + padding - size) / stride + 1``, rounded down; with `ceil_mode` up, less a last window that would begin
    beyond the input. That is the rule of PyTorch, of ONNX and, where there is padding, of Caffe; with padding before
    the input alone that of the code of 2012.
    """
    before, after = padding
    room = extent + before + after - size
    windows = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    return windows - 1 if ceil_mode and (windows - 1) * stride >= extent + before else windows
