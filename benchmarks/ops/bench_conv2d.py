"""Convolution: alone, with bias and ReLU, its gradients, and the weight gradient with the update in the same pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.cases import Case, Conv, Tensor, Tensors, conv, layers
from ..harness.check import Sample, choose, dot_terms
from ..harness.values import Values
from ._common import (
    GRADIENT_SCALE,
    WEIGHT_SCALE,
    Array,
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
# Sums of a weight gradient run over all positions of all images: some dozen of them take as long as all other samples.
_WGRAD_SAMPLES = 24


def cases(batch: int, precision: str) -> list[Case]:
    """conv1 to conv5; nothing needs the gradient by conv1's input, the images."""
    all_ = cross("conv2d", DIRECTIONS, layers("conv2d"), batch, precision)
    return [c for c in all_ if (c.layer, c.direction) != ("conv1", "dgrad")]


def tensors(case: Case) -> Tensors:
    """x [N, H, W, C], weight [K, R, S, C / groups], y [N, P, Q, K]; gradients of weights are float32."""
    s, dtype = conv(case), case.dtype
    x = operand(case, (s.N, s.H, s.W, s.C))
    weight = operand(case, (s.K, s.R, s.S, s.C // s.groups), WEIGHT_SCALE)
    y = Tensor((s.N, s.P, s.Q, s.K), dtype)
    dy = operand(case, y.shape, GRADIENT_SCALE)
    if case.direction == "fprop":
        return Tensors({"x": x, "weight": weight}, {"y": y})
    if case.direction == "fprop_fused":
        return Tensors({"x": x, "weight": weight, "bias": bias(case, s.K)}, {"y": y})
    if case.direction == "dgrad":
        return Tensors({"dy": dy, "weight": weight}, {"dx": Tensor(x.shape, dtype)})
    if case.direction == "wgrad":
        return Tensors({"x": x, "dy": dy}, {"dweight": Tensor(weight.shape, "float32")})
    inout, outputs = updated_tensors(case, weight.shape)
    return Tensors({"x": x, "dy": dy}, outputs, inout)


def flops(case: Case) -> int:
    """Two a multiply-add."""
    return conv(case).flops


def launch(case: Case) -> dict[str, Any]:
    """Tile, splits and modelled time of our kernel."""
    from alexnet_cuda.ops.conv2d import problem

    s = conv(case)
    return product_config(case, problem((s.N, s.H, s.W, s.C), s.K, (s.R, s.S), s.stride, s.padding, s.groups))


def prepare(case: Case, a: Any) -> None:
    """Nothing to do."""


def ours(case: Case, a: Any) -> None:
    """One call."""
    from alexnet_cuda.ops import conv2d

    s = conv(case)
    common = {"stride": s.stride, "padding": s.padding, "groups": s.groups, "precision": multiply_precision(case)}
    if case.direction == "fprop":
        conv2d.fprop(a["x"], a["weight"], None, out=a["y"], **common)
    elif case.direction == "fprop_fused":
        conv2d.fprop(a["x"], a["weight"], a["bias"], activation="relu", out=a["y"], **common)
    elif case.direction == "dgrad":
        conv2d.dgrad(a["dy"], a["weight"], (s.N, s.H, s.W, s.C), out=a["dx"], **common)
    elif case.direction == "wgrad":
        conv2d.wgrad(a["x"], a["dy"], (s.R, s.S), bias=False, out=a["dweight"], **common)
    else:
        conv2d.wgrad(a["x"], a["dy"], (s.R, s.S), bias=False, sgd=sgd_parameters(case, a), **common)


def samples(case: Case, values: dict[str, Values], rng: np.random.Generator) -> list[Sample]:
    """Some elements of every output in float64."""
    s = conv(case)
    if case.direction.startswith("fprop"):
        index, (n, p, q, k) = choose(rng, (s.N, s.P, s.Q, s.K))
        expected, terms = _fprop(s, values, n, p, q, k)
        if case.direction == "fprop_fused":
            expected = np.maximum(expected + values["bias"].at(k), 0)
        return [Sample("y", index, expected, terms)]
    if case.direction == "dgrad":
        index, (n, h, w, c) = choose(rng, (s.N, s.H, s.W, s.C))
        return [Sample("dx", index, *_dgrad(s, values, n, h, w, c))]
    shape = (s.K, s.R, s.S, s.C // s.groups)
    index, at = choose(rng, shape, _WGRAD_SAMPLES)
    gradient, terms = _wgrad(s, values, *at)
    if case.direction == "wgrad":
        return [Sample("dweight", index, gradient, terms)]
    return update_samples(case, values, index, at, gradient, terms)


def _taps(s: Conv, channels: int) -> tuple[Array, Array, Array]:
    """r, s and c of every product of a sum over a filter's taps and channels, each [R S channels]."""
    grid = np.meshgrid(np.arange(s.R), np.arange(s.S), np.arange(channels), indexing="ij")
    return grid[0].reshape(-1), grid[1].reshape(-1), grid[2].reshape(-1)


def _products(a: Array, b: Array, inside: Array) -> tuple[Array, Array]:
    products = np.where(inside, a * b, 0.0)
    return products.sum(axis=1), dot_terms(products.shape[1], np.square(products).sum(axis=1))


def _fprop(s: Conv, v: dict[str, Values], n: Array, p: Array, q: Array, k: Array) -> tuple[Array, Array]:
    r, t, c = _taps(s, s.C // s.groups)
    n, p, q, k = (i[:, None] for i in (n, p, q, k))
    h, w = p * s.stride - s.padding + r, q * s.stride - s.padding + t
    inside = (h >= 0) & (h < s.H) & (w >= 0) & (w < s.W)
    group = k // (s.K // s.groups)
    x = v["x"].at(n, h.clip(0, s.H - 1), w.clip(0, s.W - 1), group * (s.C // s.groups) + c)
    return _products(x, v["weight"].at(k, r, t, c), inside)


def _dgrad(s: Conv, v: dict[str, Values], n: Array, h: Array, w: Array, c: Array) -> tuple[Array, Array]:
    r, t, k = _taps(s, s.K // s.groups)
    n, h, w, c = (i[:, None] for i in (n, h, w, c))
    p, rest_p = np.divmod(h + s.padding - r, s.stride)
    q, rest_q = np.divmod(w + s.padding - t, s.stride)
    inside = (rest_p == 0) & (rest_q == 0) & (p >= 0) & (p < s.P) & (q >= 0) & (q < s.Q)
    group, channel = np.divmod(c, s.C // s.groups)
    filters = group * (s.K // s.groups) + k
    dy = v["dy"].at(n, p.clip(0, s.P - 1), q.clip(0, s.Q - 1), filters)
    return _products(dy, v["weight"].at(filters, r, t, channel), inside)


def _wgrad(s: Conv, v: dict[str, Values], k: Array, r: Array, t: Array, c: Array) -> tuple[Array, Array]:
    n, p, q = np.ogrid[: s.N, : s.P, : s.Q]
    sums, terms = np.empty(len(k)), np.empty(len(k))
    for i in range(len(k)):  # one after the other: each is a sum over all positions
        h, w = p * s.stride - s.padding + r[i], q * s.stride - s.padding + t[i]
        inside = (h >= 0) & (h < s.H) & (w >= 0) & (w < s.W)
        group = k[i] // (s.K // s.groups)
        channel = group * (s.C // s.groups) + c[i]
        x = v["x"].at(n, h.clip(0, s.H - 1), w.clip(0, s.W - 1), channel)
        one = np.broadcast_to(inside, x.shape).reshape(1, -1)
        total, units = _products(x.reshape(1, -1), v["dy"].at(n, p, q, k[i]).reshape(1, -1), one)
        sums[i], terms[i] = total[0], units[0]
    return sums, terms
