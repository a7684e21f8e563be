"""The custom operators ``torch.ops.alexnet_cuda.*``, their fake implementations and derivatives.

Images [N, C, H, W] are NHWC in memory here, as in PyTorch's `channels_last`, and weights [K, C / groups, R, S] KRSC;
what lies otherwise is copied. Results are `channels_last`. An operator's outputs are allocated by one function, which is
its fake implementation too, and filled by another. Schemas have no defaults: `functional` has them.

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
from .arrays import place


def images(tensor: Tensor) -> Tensor:
    """A tensor [N, C, H, W] as [N, H, W, C] that is contiguous: a view of one in `channels_last`."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def _new_images(like: Tensor, n: Any, h: Any, w: Any, c: Any, dtype: Any = None) -> Tensor:
    return like.new_empty((n, h, w, c), dtype=dtype).permute(0, 3, 1, 2)


def accumulator(dtype: Any) -> Any:
    """What bias, sums and gradients of parameters are of, for activations of a dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _operator(name: str, schema: str, outputs: Callable[..., Any], fill: Callable[..., object]) -> Any:
    def run(*arguments: Any) -> Any:
        made = outputs(*arguments)
        with place(arguments[0]) as array:
            fill(array, made, *arguments)
        return made

    def refuse(*_: Any) -> Any:
        raise NotImplementedError(f"alexnet_cuda.torch has no second derivatives: {name} cannot be differentiated")

    operator = torch.library.custom_op(f"alexnet_cuda::{name}", run, mutates_args=(), schema=schema)
    operator.register_fake(outputs)
    operator.register_autograd(refuse)  # in the place of which comes the derivative of those that have one
    return operator


# --- convolution


def _conv2d_y(x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, groups: int, *_: Any) -> Tensor:
    (n, c, h, w), (k, _, r, s) = x.shape, weight.shape
    p = ops.conv2d.problem((1, h, w, c), k, (r, s), tuple(stride), tuple(padding), groups)  # N may be symbolic
    return _new_images(x, n, p.P, p.Q, k)


def _conv2d(
    array: Any, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, groups: int, *how: Any
) -> None:
    options = {**_geometry(stride, padding, groups), "activation": how[0], "precision": how[1]}
    bias = None if bias is None else bias.contiguous()
    ops.conv2d.fprop(array(images(x)), array(images(weight)), array(bias), out=array(images(y)), **options)


def _geometry(stride: Any, padding: Any, groups: int) -> dict[str, Any]:
    return {"stride": tuple(stride), "padding": tuple(padding), "groups": groups}


def _conv2d_dx(dy: Tensor, weight: Tensor, shape: Any, *_: Any) -> Tensor:
    n, c, h, w = shape
    return _new_images(dy, n, h, w, c)


def _conv2d_dgrad(
    array: Any, dx: Tensor, dy: Tensor, weight: Tensor, shape: Any, stride: Any, padding: Any, groups: int, how: Any
) -> None:
    out = array(images(dx))
    options = {**_geometry(stride, padding, groups), "precision": how}
    ops.conv2d.dgrad(array(images(dy)), array(images(weight)), out.shape, out=out, **options)


def _conv2d_dw(
    x: Tensor, dy: Tensor, kernel: Any, stride: Any, padding: Any, groups: int, bias: bool, _: Any
) -> tuple[Tensor, Tensor]:
    k, dtype = dy.shape[1], accumulator(x.dtype)
    r, s = kernel
    dw = _new_images(x, k, r, s, x.shape[1] // groups, dtype)
    return dw, x.new_empty((k if bias else 0,), dtype=dtype)


def _conv2d_wgrad(
    array: Any, made: Any, x: Tensor, dy: Tensor, kernel: Any, stride: Any, padding: Any, groups: int, *how: Any
) -> None:
    options = {**_geometry(stride, padding, groups), "bias": how[0], "precision": how[1]}
    out = {"out": array(images(made[0])), "bias_out": array(made[1]) if how[0] else None}
    ops.conv2d.wgrad(array(images(x)), array(images(dy)), tuple(kernel), **out, **options)


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
    _conv2d_dx,
    _conv2d_dgrad,
)
conv2d_wgrad = _operator(
    "conv2d_wgrad",
    f"(Tensor x, Tensor dy, SymInt[2] kernel, {_GEOMETRY}, bool bias, str? precision) -> (Tensor, Tensor)",
    _conv2d_dw,
    _conv2d_wgrad,
)


def _product_saved(ctx: Any, inputs: Sequence[Any], output: Tensor) -> None:
    x, weight, bias, *ctx.options, ctx.activation, ctx.precision = inputs
    need_x, need_weight, need_bias = (ctx.needs_input_grad[i] for i in range(3))
    ctx.shape, ctx.kernel, ctx.has_bias = x.shape, weight.shape[2:], need_bias and bias is not None
    ctx.save_for_backward(
        x if need_weight or ctx.has_bias else None,
        weight if need_x else None,
        output if ctx.activation != "none" else None,
    )


def _before_activation(activation: str, dy: Tensor, y: Tensor) -> Tensor:
    if activation == "relu":
        return torch.where(y > 0, dy, 0)
    return dy * (1 - y * y) if activation == "tanh" else dy


def _conv2d_backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, weight, y = ctx.saved_tensors
    dy = _before_activation(ctx.activation, dy, y).contiguous(memory_format=torch.channels_last)
    dx = dweight = dbias = None
    if weight is not None:
        dx = conv2d_dgrad(dy, weight, ctx.shape, *ctx.options, ctx.precision)
    if x is not None:
        dweight, dbias = conv2d_wgrad(x, dy, ctx.kernel, *ctx.options, ctx.has_bias, ctx.precision)
    return _gradients(ctx, dx, dweight, dbias, dy.dtype)


def _gradients(ctx: Any, dx: Any, dweight: Any, dbias: Any, dtype: Any) -> tuple[Any, ...]:
    dweight = dweight.to(dtype) if ctx.needs_input_grad[1] else None
    return dx, dweight, dbias if ctx.has_bias else None, *(None for _ in ctx.options), None, None


conv2d.register_autograd(_conv2d_backward, setup_context=_product_saved)


# --- fully connected layer


def _linear(array: Any, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, activation: str, precision: Any) -> None:
    x, weight, bias = (None if t is None else array(t.contiguous()) for t in (x, weight, bias))
    ops.linear.fprop(x, weight, bias, activation=activation, precision=precision, out=array(y))


def _linear_dgrad(array: Any, dx: Tensor, dy: Tensor, weight: Tensor, precision: Any) -> None:
    ops.linear.dgrad(array(dy.contiguous()), array(weight.contiguous()), precision=precision, out=array(dx))


def _linear_dw(x: Tensor, dy: Tensor, bias: bool, _: Any) -> tuple[Tensor, Tensor]:
    k, dtype = dy.shape[1], accumulator(x.dtype)
    return x.new_empty((k, x.shape[1]), dtype=dtype), x.new_empty((k if bias else 0,), dtype=dtype)


def _linear_wgrad(array: Any, made: Any, x: Tensor, dy: Tensor, bias: bool, precision: Any) -> None:
    out = {"out": array(made[0]), "bias_out": array(made[1]) if bias else None}
    ops.linear.wgrad(array(x.contiguous()), array(dy.contiguous()), bias=bias, precision=precision, **out)


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
    _linear_dgrad,
)
linear_wgrad = _operator(
    "linear_wgrad",
    "(Tensor x, Tensor dy, bool bias, str? precision) -> (Tensor, Tensor)",
    _linear_dw,
    _linear_wgrad,
)


def _linear_backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, weight, y = ctx.saved_tensors
    dy = _before_activation(ctx.activation, dy, y)
    dx = dweight = dbias = None
    if weight is not None:
        dx = linear_dgrad(dy, weight, ctx.precision)
    if x is not None:
        dweight, dbias = linear_wgrad(x, dy, ctx.has_bias, ctx.precision)
    return _gradients(ctx, dx, dweight, dbias, dy.dtype)


linear.register_autograd(_linear_backward, setup_context=_product_saved)


# --- normalisation and pooling: of each the operator and its gradient. `p` are LrnParams' fields.


def _like(x: Tensor, *_: Any) -> Tensor:
    return _new_images(x, x.shape[0], x.shape[2], x.shape[3], x.shape[1])


def _pooled(x: Tensor, size: int, stride: int, train: bool) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    _, p, q, _ = ops.max_pool.output_shape((1, h, w, c), size, stride)
    y = _new_images(x, n, p, q, c)
    return y, _new_images(x, n, p, q, c, torch.uint8) if train else x.new_empty((0,), dtype=torch.uint8)


def _pool_outputs(array: Any, made: Any, train: bool) -> dict[str, Any]:
    return {"out": array(images(made[0])), "train": train, "argmax_out": array(images(made[1])) if train else None}


def _lrn(array: Any, y: Tensor, x: Tensor, *p: Any) -> None:
    ops.lrn.fprop(array(images(x)), LrnParams(*p), out=array(images(y)))


def _lrn_bprop(array: Any, dx: Tensor, dy: Tensor, x: Tensor, *p: Any) -> None:
    ops.lrn.bprop(array(images(dy)), array(images(x)), LrnParams(*p), out=array(images(dx)))


def _max_pool(array: Any, made: Any, x: Tensor, size: int, stride: int, train: bool) -> None:
    ops.max_pool.fprop(array(images(x)), size=size, stride=stride, **_pool_outputs(array, made, train))


def _max_pool_bprop(array: Any, dx: Tensor, dy: Tensor, argmax: Tensor, shape: Any, size: int, stride: int) -> None:
    out = array(images(dx))
    ops.max_pool.bprop(array(images(dy)), array(images(argmax)), out.shape, size=size, stride=stride, out=out)


def _lrn_max_pool(array: Any, made: Any, x: Tensor, size: int, stride: int, train: bool, *p: Any) -> None:
    outputs = _pool_outputs(array, made, train)
    ops.lrn_max_pool.fprop(array(images(x)), LrnParams(*p), size=size, stride=stride, **outputs)


def _lrn_max_pool_bprop(
    array: Any, dx: Tensor, dy: Tensor, argmax: Tensor, x: Tensor, size: int, stride: int, *p: Any
) -> None:
    dy, argmax, x, dx = (array(images(t)) for t in (dy, argmax, x, dx))
    ops.lrn_max_pool.bprop(dy, argmax, x, LrnParams(*p), size=size, stride=stride, out=dx)


_LRN = "SymInt window, float k, float alpha, float beta, SymInt groups"
lrn = _operator("lrn", f"(Tensor x, {_LRN}) -> Tensor", _like, _lrn)
lrn_bprop = _operator("lrn_bprop", f"(Tensor dy, Tensor x, {_LRN}) -> Tensor", lambda dy, x, *_: _like(x), _lrn_bprop)
max_pool = _operator(
    "max_pool", "(Tensor x, SymInt size, SymInt stride, bool train) -> (Tensor, Tensor)", _pooled, _max_pool
)
max_pool_bprop = _operator(
    "max_pool_bprop",
    "(Tensor dy, Tensor argmax, SymInt[4] shape, SymInt size, SymInt stride) -> Tensor",
    lambda dy, argmax, shape, *_: _conv2d_dx(dy, argmax, shape),
    _max_pool_bprop,
)
lrn_max_pool = _operator(
    "lrn_max_pool",
    f"(Tensor x, SymInt size, SymInt stride, bool train, {_LRN}) -> (Tensor, Tensor)",
    lambda x, size, stride, train, *_: _pooled(x, size, stride, train),
    _lrn_max_pool,
)
lrn_max_pool_bprop = _operator(
    "lrn_max_pool_bprop",
    f"(Tensor dy, Tensor argmax, Tensor x, SymInt size, SymInt stride, {_LRN}) -> Tensor",
    lambda dy, argmax, x, *_: _like(x),
    _lrn_max_pool_bprop,
)


def _save(ctx: Any, tensors: Sequence[Tensor], options: Sequence[Any]) -> None:
    ctx.save_for_backward(*tensors)
    ctx.options = options


def _without_options(ctx: Any, dx: Tensor) -> tuple[Any, ...]:
    return dx, *(None for _ in range(len(ctx.needs_input_grad) - 1))


lrn.register_autograd(
    lambda ctx, dy: _without_options(ctx, lrn_bprop(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, inputs[:1], inputs[1:]),
)
max_pool.register_autograd(
    lambda ctx, dy, _: _without_options(ctx, max_pool_bprop(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, output[1:], (inputs[0].shape, *inputs[1:3])),
)
lrn_max_pool.register_autograd(
    lambda ctx, dy, _: _without_options(ctx, lrn_max_pool_bprop(dy, *ctx.saved_tensors, *ctx.options)),
    setup_context=lambda ctx, inputs, output: _save(ctx, (output[1], inputs[0]), (*inputs[1:3], *inputs[4:])),
)


# --- dropout, which is linear: its gradient is itself


def _dropout(array: Any, y: Tensor, x: Tensor, step: Tensor, rate: float, seed: int, purpose: int) -> None:
    given, out = ((images(t) if t.dim() == 4 else t.contiguous()) for t in (x, y))
    columns = given.shape[-1]
    key = {"seed": seed % (1 << 64), "purpose": purpose, "step": array(step).view(np.uint64)}
    p = ops.dropout.parameters(rate, **key, row_stride=max(1, columns))
    rows = (-1, columns) if given.numel() else (0, columns)
    ops.dropout.apply(array(given.view(rows)), p, out=array(out.view(rows)))


dropout = _operator(
    "dropout",
    "(Tensor x, Tensor step, float rate, int seed, int purpose) -> Tensor",
    lambda x, *_: _like(x) if x.dim() == 4 else x.new_empty(x.shape),
    _dropout,
)
dropout.register_autograd(
    lambda ctx, dy: _without_options(ctx, dropout(dy, *ctx.saved_tensors, *ctx.options)),
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
