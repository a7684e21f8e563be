"""The operations on tensors: `alexnet_cuda.ops` in PyTorch's order of dimensions, [N, C, H, W], [K, C / groups, R, S].

Tensors are float32, float64 (on the CPU), bfloat16 or float16. The CPU computes the 16-bit ones in float32 and rounds
what comes out. Within `torch.autocast` convolutions and linear layers take its dtype, as PyTorch's own do; the rest
takes what it is given. There are no second derivatives but of dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..base.params import LrnParams
from ..base.philox import Purpose
from ..ops._dispatch import check_activation, pair
from ..ops.dropout import parameters
from . import operators

Size = int | tuple[int, int]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    groups: int = 1,
    activation: str = "none",
    precision: str | None = None,
) -> Tensor:
    """Convolution, bias and activation; see `alexnet_cuda.ops.conv2d.fprop`.

    Parameters
    ----------
    x : Tensor [N, C, H, W]
    weight : Tensor [K, C / groups, R, S] of x's dtype
    bias : Tensor [K], optional
        In any dtype; it is added in float32, of float64 tensors in float64.
    stride, padding : int or (int, int)
    groups : int
    activation : {"none", "relu", "tanh"}
    precision : {"tf32", ...}, optional
        How to multiply; by default as x's dtype says. "tf32" takes float32 tensors on a GPU.

    Returns
    -------
    Tensor [N, K, P, Q], channels_last

    Raises
    ------
    ValueError, TypeError
        Shapes or dtypes that do not fit together; a tensor on another device than x.
    """
    _check_images("x", x)
    _check_images("weight", weight)
    if groups < 1 or x.shape[1] != weight.shape[1] * groups:
        raise ValueError(f"weight must be [K, {x.shape[1]} / {groups}, R, S] as x has it, got {list(weight.shape)}")
    check_activation(activation)
    geometry = pair("stride", stride, 1), pair("padding", padding, 0), groups
    return _product(operators.conv2d, x, weight, bias, *geometry, activation, precision)


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "none", precision: str | None = None
) -> Tensor:
    """y [N, out] from x [N, in], weight [out, in] and bias [out]; the rest as in `conv2d`."""
    if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"x [N, in] and weight [out, in] must fit, got {list(x.shape)} and {list(weight.shape)}")
    check_activation(activation)
    return _product(operators.linear, x, weight, bias, activation, precision)


def lrn(x: Tensor, p: LrnParams) -> Tensor:
    """The normalised x [N, C, H, W], channels_last; `p` from `alexnet_cuda.ops.lrn.parameters`."""
    _check_images("x", x)
    return _at_least_single(lambda x: operators.lrn(x, *_fields(p)), x)


def max_pool(x: Tensor, *, size: int = 3, stride: int = 2, padding: Size = 0, ceil_mode: bool = False) -> Tensor:
    """Maxima over windows of x [N, C, H, W], channels_last; see `alexnet_cuda.ops.max_pool.fprop`."""
    _check_images("x", x)
    w = size, stride, pair("padding", padding, 0), ceil_mode
    return _at_least_single(lambda x: operators.max_pool(x, _needs_gradient(x), *w)[0], x)


def lrn_max_pool(
    x: Tensor, p: LrnParams, *, size: int = 3, stride: int = 2, padding: Size = 0, ceil_mode: bool = False
) -> Tensor:
    """Maxima over windows of the normalised x [N, C, H, W], in one pass; see `lrn` and `max_pool`."""
    _check_images("x", x)
    w = size, stride, pair("padding", padding, 0), ceil_mode
    return _at_least_single(lambda x: operators.lrn_max_pool(x, _needs_gradient(x), *w, *_fields(p))[0], x)


def dropout(x: Tensor, rate: float, *, seed: int, step: int | Tensor, purpose: int = Purpose.DROPOUT) -> Tensor:
    """Inverted dropout whose mask is a function of (seed, purpose, step, element), not of PyTorch's generator.

    Parameters
    ----------
    x : Tensor [N, C, H, W], or of any other number of dimensions but none
        Elements are numbered from 0 on, images as [N, H, W, C].
    rate : float
        Probability that an element is dropped, in [0, 1).
    seed, purpose : int
        See `alexnet_cuda.ops.dropout.parameters`. Layers differ in `purpose`: 256 and on.
    step : int, or int64 Tensor of one element on x's device
        A tensor is read when the operation runs: a compiled step needs no other code, a CUDA graph no other recording.
    """
    if x.dim() == 0:
        raise ValueError("x must have at least one dimension, got a number")
    number = 0 if isinstance(step, Tensor) else step
    parameters(rate, seed=seed, purpose=int(purpose), step=number, row_stride=1)  # which checks them
    if not isinstance(step, Tensor):
        step = torch.full((1,), step, dtype=torch.int64, device=x.device)
    if step.shape != (1,) or step.dtype != torch.int64:
        raise ValueError(f"step must be one int64, got {step.dtype} of shape {list(step.shape)}")
    _check_device("step", step, x)
    signed = seed - (seed >> 63 << 64)  # PyTorch's integers have 63 bits and a sign
    return _at_least_single(lambda x: operators.dropout(x, step, rate, signed, int(purpose)), x)


def _check_device(name: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.device != x.device:
        raise ValueError(f"{name} must be on {x.device} as x, got one on {tensor.device}")


def _check_images(name: str, tensor: Tensor) -> None:
    if tensor.dim() != 4:
        raise ValueError(f"{name} must have four dimensions, got {list(tensor.shape)}")


def _needs_gradient(x: Tensor) -> bool:
    """Whether a pool's argmax will be asked for."""
    return bool(torch.is_grad_enabled() and x.requires_grad)


def _fields(p: LrnParams) -> tuple[Any, ...]:
    return p.size, p.k, p.alpha, p.beta, p.groups


def _at_least_single(call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`call(x)`; the CPU has no arithmetic of 16 bits: there in float32, and the result rounded."""
    return call(x.to(_computed(x))).to(x.dtype)


def _computed(x: Tensor) -> Any:
    return torch.float32 if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def _product(operator: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    """An operator with weights, in the dtype that autocast asks for."""
    _check_device("weight", weight, x)
    if bias is not None:
        _check_device("bias", bias, x)
    kind = x.device.type
    if kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
    if weight.dtype != x.dtype:
        raise TypeError(f"weight must be of dtype {x.dtype}, got {weight.dtype}")
    wide = _computed(x)
    bias = None if bias is None else bias.to(operators.accumulator(wide))
    if x.dim() == 4:  # here once: what is saved for the backward pass lies so too
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    return operator(x.to(wide), weight.to(wide), bias, *options).to(x.dtype)
