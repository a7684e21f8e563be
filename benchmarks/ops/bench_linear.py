"""Fully connected layers: alone, with bias and activation, their gradients, and the weight gradient with the update."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..harness.cases import Case, Tensor, Tensors, layers, step
from ..harness.check import Sample, choose, dot_terms
from ..harness.values import Values
from ._common import (
    GRADIENT_SCALE,
    WEIGHT_SCALE,
    bias,
    cross,
    multiply_precision,
    operand,
    product_config,
    sgd_parameters,
    update_samples,
    updated_tensors,
)

DIRECTIONS = ("fprop", "dgrad", "wgrad", "fprop_fused", "wgrad_sgd")


def sizes(case: Case) -> tuple[int, int, int]:
    """Rows, inputs and outputs."""
    s = step(case.layer)
    return case.batch, math.prod(s.input), s.output[0]


def cases(batch: int, precision: str) -> list[Case]:
    """fc6 to fc8."""
    return cross("linear", DIRECTIONS, layers("linear"), batch, precision)


def tensors(case: Case) -> Tensors:
    """x [N, in], weight [out, in], y [N, out]; gradients of weights are float32."""
    n, features, out = sizes(case)
    x, weight = operand(case, (n, features)), operand(case, (out, features), WEIGHT_SCALE)
    dy = operand(case, (n, out), GRADIENT_SCALE)
    if case.direction == "fprop":
        return Tensors({"x": x, "weight": weight}, {"y": Tensor((n, out), case.dtype)})
    if case.direction == "fprop_fused":
        return Tensors({"x": x, "weight": weight, "bias": bias(case, out)}, {"y": Tensor((n, out), case.dtype)})
    if case.direction == "dgrad":
        return Tensors({"dy": dy, "weight": weight}, {"dx": Tensor(x.shape, case.dtype)})
    if case.direction == "wgrad":
        return Tensors({"x": x, "dy": dy}, {"dweight": Tensor(weight.shape, "float32")})
    inout, outputs = updated_tensors(case, weight.shape)
    return Tensors({"x": x, "dy": dy}, outputs, inout)


def flops(case: Case) -> int:
    """Two a multiply-add."""
    return 2 * math.prod(sizes(case))


def launch(case: Case) -> dict[str, Any]:
    """Tile, splits and modelled time of our kernel."""
    from alexnet_cuda.backends.kernels.linear import as_conv2d

    return product_config(case, as_conv2d(*sizes(case)))


def prepare(case: Case, a: Any) -> None:
    """Nothing to do."""


def activation(case: Case) -> str:
    """fc8 gives logits; the others go through ReLU."""
    return step(case.layer).activation


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import linear

    precision = multiply_precision(case)
    if case.direction == "fprop":
        linear.fprop(a["x"], a["weight"], None, precision=precision, out=a["y"])
    elif case.direction == "fprop_fused":
        linear.fprop(a["x"], a["weight"], a["bias"], activation=activation(case), precision=precision, out=a["y"])
    elif case.direction == "dgrad":
        linear.dgrad(a["dy"], a["weight"], precision=precision, out=a["dx"])
    elif case.direction == "wgrad":
        linear.wgrad(a["x"], a["dy"], bias=False, precision=precision, out=a["dweight"])
    else:
        linear.wgrad(a["x"], a["dy"], bias=False, sgd=sgd_parameters(case, a), precision=precision)


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements of every output in float64."""
    n, features, out = sizes(case)
    shape = {"fprop": (n, out), "dgrad": (n, features), "wgrad": (out, features)}[case.direction.partition("_")[0]]
    index, (row, column) = choose(rng, shape)
    row, column = row[:, None], column[:, None]
    if case.direction.startswith("fprop"):
        i = np.arange(features)
        a, b = values["x"].at(row, i), values["weight"].at(column, i)
    elif case.direction == "dgrad":
        i = np.arange(out)
        a, b = values["dy"].at(row, i), values["weight"].at(i, column)
    else:
        i = np.arange(n)
        a, b = values["dy"].at(i, row), values["x"].at(i, column)
    products = a * b
    expected, terms = products.sum(axis=1), dot_terms(len(i), np.square(products).sum(axis=1))
    if case.direction == "fprop_fused":
        expected = expected + values["bias"].at(column[:, 0])
        expected = np.maximum(expected, 0) if activation(case) == "relu" else expected
    if case.direction != "wgrad_sgd":
        name = {"fprop": "y", "fprop_fused": "y", "dgrad": "dx", "wgrad": "dweight"}[case.direction]
        return [Sample(name, index, expected, terms)]
    return update_samples(case, values, index, (row[:, 0], column[:, 0]), expected, terms)
