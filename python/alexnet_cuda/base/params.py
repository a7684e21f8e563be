"""What operations are told beside their arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .windows import Sides

Array = Any

ACTIVATIONS = ("relu", "tanh", "logistic")


@dataclass(frozen=True)
class Conv2dShape:
    """Sizes of a convolution: batch, input, output, filter, stride, padding before the input, groups.

    How much padding there is after the input follows from the size of the output.
    """

    N: int
    H: int
    W: int
    C: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    @property
    def depth(self) -> int:
        """Multiply-adds of one output element."""
        return self.R * self.S * (self.C // self.groups)


@dataclass(frozen=True)
class FoldedLayout:
    """How an input [N, H, W, C] lies folded.

    Cell (y, x) holds the positions ``y * stride[0] + i - padding[0], x * stride[1] + j - padding[1]`` of the input in
    the order (i, j, c), and zeros for positions outside of it and in channels beyond these.

    Attributes
    ----------
    unfolded : (int, int, int)
        H, W and C.
    stride, padding : (int, int)
        Vertical and horizontal, the padding before the input.
    shape : (int, int, int)
        Height, width and channels of the folded input.
    """

    unfolded: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class PoolParams:
    """The windows of a pool; those that reach beyond the input take what of it they hold.

    Attributes
    ----------
    size, stride : int
    padding : (int, int)
        Rows above the input and columns left of it that the first windows begin with.
    output : (int, int)
        Windows down and across.
    counted : ((int, int), (int, int))
        Rows above and below, columns left and right of the input that a mean counts, as zeros.
    """

    size: int
    stride: int
    padding: tuple[int, int] = (0, 0)
    output: tuple[int, int] = (1, 1)
    counted: Sides = ((0, 0), (0, 0))


@dataclass(frozen=True)
class LrnParams:
    """Window size, k, alpha (of the sum), beta, and the groups of channels the window stays within."""

    size: int
    k: float
    alpha: float
    beta: float
    groups: int


@dataclass(frozen=True)
class DropoutParams:
    """Rate, the key of the mask (Philox seed, purpose and step, number of the first element, row stride), and scale.

    What is kept is multiplied by the scale. The step is a number, or a uint64 array of one element that is read when
    the operation runs.
    """

    rate: float
    seed: int
    purpose: int
    step: int | Array
    start: int
    row_stride: int
    scale: float


@dataclass(frozen=True)
class SgdParams:
    """What an update changes, and how: ``v <- momentum v - decay lr w - lr scale g; w <- w + v; copy <- w``.

    Attributes
    ----------
    weight, velocity : array
        float32, in float64 networks float64; changed in place. They may be ranges of the last dimension of wider ones.
    learning_rate : float, or array of one element
        The array is read when the operation runs.
    momentum, weight_decay : float
    rate_factor : float
        The learning rate is multiplied by it.
    gradient_scale : float
        The gradient is multiplied by it: the inverse of a loss scale.
    copy : bfloat16 or float16 array, optional
        Gets the new weights, rounded.
    """

    weight: Any
    velocity: Any
    learning_rate: Any
    momentum: float = 0.9
    weight_decay: float = 5e-4
    rate_factor: float = 1.0
    gradient_scale: float = 1.0
    copy: Any = None


@dataclass(frozen=True)
class Views:
    """Which view of each image is taken.

    Attributes
    ----------
    top, left : ndarray of int64 [N]
        Corner of the crop, pixels.
    mirrored : ndarray of bool [N]
    shift : ndarray of float32 [N, 3]
        Added to the RGB values, 0 to 255.
    divisor : float
        Divides the values beside the standard deviation.
    """

    top: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    mirrored: npt.NDArray[np.bool_]
    shift: npt.NDArray[np.float32]
    divisor: float = 1.0
