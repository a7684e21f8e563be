"""The custom operators ``torch.ops.alexnet_cuda.*``, their fake implementations and derivatives.

Images [N, C, H, W] are NHWC in memory here, as in PyTorch's `channels_last`, and weights [K, C / groups, R, S] KRSC;
what lies otherwise is copied. Results are `channels_last`. An operator's outputs are allocated by one function, which
is its fake implementation too, and filled by another. Schemas have no defaults: `functional` has them.

The derivatives are operators themselves, and have no derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import ops
from ..base.params import LrnParams
from .arrays import Array, place


def images(tensor: Tensor) -> Tensor:
    """A tensor [N, C, H, W] as [N, H, W, C] that is contiguous: a view of one in `channels_last`."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def new_images(like: Tensor, shape: Sequence[Any], dtype: Any = None) -> Tensor:
    """Uninitialised images of a shape (N, C, H, W), in `channels_last`."""
    n, c, h, w = shape
    return like.new_empty((n, h, w, c), dtype=dtype).permute(0, 3, 1, 2)


def accumulator(dtype: Any) -> Any:
    """What bias, sums and gradients of parameters are of, for activations of a dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _operator(name: str, schema: str, outputs: Callable[..., Any], fill: Callable[..., object]) -> Any:
    """An operator: `outputs` of its arguments, which `fill` writes, given arrays [N, H, W, C] of them all."""

    def run(*arguments: Any) -> Any:
        made = outputs(*arguments)
        with place(arguments[0]) as array:

            def there(thing: Any) -> Any:
                if not isinstance(thing, Tensor):
                    return tuple(thing) if isinstance(thing, list) else thing
                return array(images(thing) if thing.dim() == 4 else thing.contiguous())

            fill(*map(there, made if isinstance(made, tuple) else (made,)), *map(there, arguments))
        return made

    def refuse(*_: Any) -> Any:
        raise NotImplementedError(f"alexnet_cuda.torch has no second derivatives: {name} cannot be differentiated")

    operator = torch.library.custom_op(f"alexnet_cuda::{name}", run, mutates_args=(), schema=schema)
    operator.register_fake(outputs)
    operator.register_autograd(refuse)  # in the place of which comes the derivative of those that have one
    return operator


# --- convolutions and fully connected layers


def _conv2d_y(x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, groups: int, *_: Any) -> Tensor:
    (n, c, h, w), (k, _, r, s) = x.shape, weight.shape
    sizes = ops.conv2d.problem((1, h, w, c), k, (r, s), tuple(stride), tuple(padding), groups)  # N may be symbolic
    return new_images(x, (n, k, sizes.P, sizes.Q))


def _conv2d(y: Array, x: Array, weight: Array, bias: Array, stride: Any, padding: Any, groups: int, *how: Any) -> None:
    options = {"stride": stride, "padding": padding, "groups": groups, "activation": how[0], "precision": how[1]}
    ops.conv2d.fprop(x, weight, bias, out=y, **options)


def _conv2d_dgrad(dx: Array, dy: Array, weight: Array, _: Any, *how: Any) -> None:
    options = dict(zip(("stride", "padding", "groups", "precision"), how, strict=True))
    ops.conv2d.dgrad(dy, weight, dx.shape, out=dx, **options)


def _conv2d_wgrad(dweight: Array, dbias: Array, x: Array, dy: Array, kernel: Any, *how: Any) -> None:
    options = dict(zip(("stride", "padding", "groups", "bias", "precision"), how, strict=True))
    ops.conv2d.wgrad(x, dy, kernel, out=dweight, bias_out=dbias if options["bias"] else None, **options)


def _conv2d_dw(x: Tensor, dy: Tensor, kernel: Any, _: Any, __: Any, groups: int, bias: bool, *___: Any) -> Any:
    k, dtype = dy.shape[1], accumulator(x.dtype)
    dweight = new_images(x, (k, x.shape[1] // groups, *kernel), dtype)
    return dweight, x.new_empty((k if bias else 0,), dtype=dtype)


def _linear(y: Array, x: Array, weight: Array, bias: Array, activation: str, precision: Any) -> None:
    ops.linear.fprop(x, weight, bias, activation=activation, precision=precision, out=y)


def _linear_wgrad(dweight: Array, dbias: Array, x: Array, dy: Array, bias: bool, precision: Any) -> None:
    ops.linear.wgrad(x, dy, bias=bias, precision=precision, out=dweight, bias_out=dbias if bias else None)


def _linear_dw(x: Tensor, dy: Tensor, bias: bool, _: Any) -> tuple[Tensor, Tensor]:
    k, dtype = dy.shape[1], accumulator(x.dtype)
    return x.new_empty((k, x.shape[1]), dtype=dtype), x.new_empty((k if bias else 0,), dtype=dtype)


_GEOMETRY = "SymInt[2] stride, SymInt[2] padding, SymInt groups"
conv2d = _operator(
    "conv2d",
    f"(Tensor x, Tensor weight, Tensor? bias, {_GEOMETRY}, str activation, str? precision) -> Tensor",
    _conv2d_y,
    _conv2d,
)
conv2d_dgrad = _operator(
    "conv2d_dgrad",
    f"(Tensor dy, Tensor weight, SymInt[4] shape, {_GEOMETRY}, str? precision) -> Tensor",
    lambda dy, weight, shape, *_: new_images(dy, shape),
    _conv2d_dgrad,
)
conv2d_wgrad = _operator(
    "conv2d_wgrad",
    f"(Tensor x, Tensor dy, SymInt[2] kernel, {_GEOMETRY}, bool bias, str? precision) -> (Tensor, Tensor)",
    _conv2d_dw,
    _conv2d_wgrad,
)
linear = _operator(
    "linear",
    "(Tensor x, Tensor weight, Tensor? bias, str activation, str? precision) -> Tensor",
    lambda x, weight, *_: x.new_empty((x.shape[0], weight.shape[0])),
    _linear,
)
linear_dgrad = _operator(
    "linear_dgrad",
    "(Tensor dy, Tensor weight, str? precision) -> Tensor",
    lambda dy, weight, _: dy.new_empty((dy.shape[0], weight.shape[1])),
    lambda dx, dy, weight, precision: ops.linear.dgrad(dy, weight, precision=precision, out=dx),
)
linear_wgrad = _operator(
    "linear_wgrad", "(Tensor x, Tensor dy, bool bias, str? precision) -> (Tensor, Tensor)", _linear_dw, _linear_wgrad
)


def _save_product(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    x, weight, bias, *ctx.geometry, ctx.activation, ctx.precision = inputs
    need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
    ctx.shape, ctx.kernel, ctx.bias = x.shape, weight.shape[2:], need_bias and bias is not None
    needed = need_weight or ctx.bias, need_x, ctx.activation != "none"
    ctx.save_for_backward(*(t if need else None for t, need in zip((x, weight, output), needed, strict=True)))


def _product_backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, weight, y = ctx.saved_tensors
    if ctx.activation != "none":
        dy = torch.where(y > 0, dy, 0) if ctx.activation == "relu" else dy * (1 - y * y)
    dx: Any = None
    dweight: Any = None
    dbias: Any = None
    if dy.dim() == 4:
        dy = dy.contiguous(memory_format=torch.channels_last)  # once for both
        if weight is not None:
            dx = conv2d_dgrad(dy, weight, ctx.shape, *ctx.geometry, ctx.precision)
        if x is not None:
            dweight, dbias = conv2d_wgrad(x, dy, ctx.kernel, *ctx.geometry, ctx.bias, ctx.precision)
    else:
        if weight is not None:
            dx = linear_dgrad(dy, weight, ctx.precision)
        if x is not None:
            dweight, dbias = linear_wgrad(x, dy, ctx.bias, ctx.precision)
    dweight = dweight.to(dy.dtype) if ctx.needs_input_grad[1] else None
    return _first(ctx, dx, dweight, dbias if ctx.bias else None)


def _first(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
    """Gradients of the first inputs, none of the others."""
    return *gradients, *(None for _ in ctx.needs_input_grad[len(gradients) :])


for _product in (conv2d, linear):
    _product.register_autograd(_product_backward, setup_context=_save_product)


# --- normalisation and pooling, each with its gradient. `p` are the fields of LrnParams, `w` those of _WINDOWS.


_WINDOWS = "SymInt size, SymInt stride, SymInt[2] padding, bool ceil_mode"


def _windows(size: int, stride: int, padding: Sequence[int], ceil_mode: bool) -> dict[str, Any]:
    return {"size": size, "stride": stride, "padding": tuple(padding), "ceil_mode": ceil_mode}


def _pooled(x: Tensor, train: bool, *options: Any) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    p, q = ops.max_pool.pool((1, h, w, c), **_windows(*options[:4]))[1][1:3]  # N may be symbolic
    y = new_images(x, (n, c, p, q))
    return y, new_images(x, y.shape, torch.uint8) if train else x.new_empty((0,), dtype=torch.uint8)


def _max_pool(y: Array, argmax: Array, x: Array, train: bool, *w: Any) -> None:
    ops.max_pool.fprop(x, **_windows(*w), train=train, out=y, argmax_out=argmax if train else None)


def _max_pool_bprop(dx: Array, dy: Array, argmax: Array, _: Any, *w: Any) -> None:
    ops.max_pool.bprop(dy, argmax, dx.shape, **_windows(*w), out=dx)


def _lrn_max_pool(y: Array, argmax: Array, x: Array, train: bool, *options: Any) -> None:
    w, p = _windows(*options[:4]), LrnParams(*options[4:])
    ops.lrn_max_pool.fprop(x, p, **w, train=train, out=y, argmax_out=argmax if train else None)


def _lrn_max_pool_bprop(dx: Array, dy: Array, argmax: Array, x: Array, *options: Any) -> None:
    ops.lrn_max_pool.bprop(dy, argmax, x, LrnParams(*options[4:]), **_windows(*options[:4]), out=dx)


_LRN = "SymInt window, float k, float alpha, float beta, SymInt groups"
lrn = _operator(
    "lrn",
    f"(Tensor x, {_LRN}) -> Tensor",
    lambda x, *_: new_images(x, x.shape),
    lambda y, x, *p: ops.lrn.fprop(x, LrnParams(*p), out=y),
)
lrn_bprop = _operator(
    "lrn_bprop",
    f"(Tensor dy, Tensor x, {_LRN}) -> Tensor",
    lambda dy, x, *_: new_images(x, x.shape),
    lambda dx, dy, x, *p: ops.lrn.bprop(dy, x, LrnParams(*p), out=dx),
)
max_pool = _operator("max_pool", f"(Tensor x, bool train, {_WINDOWS}) -> (Tensor, Tensor)", _pooled, _max_pool)
max_pool_bprop = _operator(
    "max_pool_bprop",
    f"(Tensor dy, Tensor argmax, SymInt[4] shape, {_WINDOWS}) -> Tensor",
    lambda dy, argmax, shape, *_: new_images(dy, shape),
    _max_pool_bprop,
)
lrn_max_pool = _operator(
    "lrn_max_pool",
    f"(Tensor x, bool train, {_WINDOWS}, {_LRN}) -> (Tensor, Tensor)",
    _pooled,
    _lrn_max_pool,
)
lrn_max_pool_bprop = _operator(
    "lrn_max_pool_bprop",
    f"(Tensor dy, Tensor argmax, Tensor x, {_WINDOWS}, {_LRN}) -> Tensor",
    lambda dy, argmax, x, *_: new_images(x, x.shape),
    _lrn_max_pool_bprop,
)


def _save(ctx: Any, tensors: Sequence[Tensor], options: Sequence[Any]) -> None:
    ctx.save_for_backward(*tensors)
    ctx.options = options


lrn.register_autograd(
    lambda ctx, dy: _first(ctx, lrn_bprop(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, inputs[:1], inputs[1:]),
)
max_pool.register_autograd(
    lambda ctx, dy, _: _first(ctx, max_pool_bprop(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, output[1:], (inputs[0].shape, *inputs[2:])),
)
lrn_max_pool.register_autograd(
    lambda ctx, dy, _: _first(ctx, lrn_max_pool_bprop(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, (output[1], inputs[0]), inputs[2:]),
)


# --- dropout, which is linear: its gradient is itself


def _dropout(y: Array, x: Array, step: Array, rate: float, seed: int, purpose: int) -> None:
    rows = (x.size // max(1, x.shape[-1]), x.shape[-1])
    key = {"seed": seed % (1 << 64), "purpose": purpose, "step": step.view(np.uint64)}
    p = ops.dropout.parameters(rate, **key, row_stride=max(1, x.shape[-1]))
    ops.dropout.apply(x.reshape(rows), p, out=y.reshape(rows))


dropout = _operator(
    "dropout",
    "(Tensor x, Tensor step, float rate, int seed, int purpose) -> Tensor",
    lambda x, *_: new_images(x, x.shape) if x.dim() == 4 else x.new_empty(x.shape),
    _dropout,
)
dropout.register_autograd(
    lambda ctx, dy: _first(ctx, dropout(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, inputs[1:2], inputs[2:]),
)


def _advance(step: Tensor) -> Tensor:
    before = step.clone()
    step.add_(1)
    return before


# Adds one and returns what was there: as an operator, since a compiler may otherwise read `step` again for the backward
# pass, when it has changed.
advance = torch.library.custom_op(
    "alexnet_cuda::advance", _advance, mutates_args=("step",), schema="(Tensor(a!) step) -> Tensor"
)
advance.register_fake(torch.empty_like)
