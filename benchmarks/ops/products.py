"""Convolutions and fully connected layers: alone, with bias and activation, their gradients, the gradient's update."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from alexnet_cuda import ops

from ..harness.cases import Array, Case, Tensor, Tensors, layers
from .base import (
    GRADIENT_SCALE,
    LEARNING_RATE,
    WEIGHT_SCALE,
    Arrays,
    Operation,
    Part,
    sgd_parameters,
    some,
    updated_tensors,
    upload_rate,
)


class Product(Operation):
    """x [N, ..., C], weight [K, ..., C / groups], y [N, ..., K]; gradients of weights are float32."""

    def cases(self, batch: int, precision: str) -> list[Case]:
        """Nothing needs the gradient by conv1's input, the images."""
        return [c for c in super().cases(batch, precision) if (c.layer, c.direction) != ("conv1", "dgrad")]

    @property
    def multiplies(self) -> bool:
        return True

    def tensors(self, case: Case) -> Tensors:
        """For TF32 operands of numbers that it does not round."""
        s, conv = case.step, self.name == "conv2d"
        tf32, dtype = "tf32" if case.precision == "tf32" else "", case.dtype
        x = Tensor("NHWC" if conv else "NC", (case.batch, *(s.input if conv else s.weight_shape[1:])), dtype)
        x = dataclasses.replace(x, rounded=tf32)
        weight = Tensor("KRSc" if conv else "Kc", s.weight_shape, dtype, scale=WEIGHT_SCALE, rounded=tf32)
        y = Tensor("NPQK" if conv else "NK", (case.batch, *s.output), dtype, "output")
        dy = dataclasses.replace(y, role="input", scale=GRADIENT_SCALE, rounded=tf32)
        if case.direction.startswith("fprop"):
            # Of numbers that a library which wants the bias in the network's type keeps as they are.
            bias = Tensor("K", s.output[-1:], "float32", rounded=dtype)
            return {"x": x, "weight": weight, **({"bias": bias} if case.direction == "fprop_fused" else {}), "y": y}
        if case.direction == "dgrad":
            return {"dy": dy, "weight": weight, "dx": Tensor(x.axes, x.shape, dtype, "output")}
        if case.direction == "wgrad":
            return {"x": x, "dy": dy, "dweight": Tensor(weight.axes, weight.shape, "float32", "output")}
        return {"x": x, "dy": dy, **updated_tensors(case, weight.axes, weight.shape)}

    def prepare(self, case: Case, a: Arrays, upload: Callable[[Array], Any], part: Part) -> None:
        if case.direction == "wgrad_sgd":
            upload_rate(a, upload)

    def call(self, case: Case, a: Arrays) -> None:
        """On the CPU TF32 is no way to multiply: float64 is exact for its numbers."""
        s, conv, operation = case.step, self.name == "conv2d", getattr(ops, self.name)
        options: dict[str, Any] = {"stride": s.stride, "padding": s.padding, "groups": s.groups} if conv else {}
        if case.precision == "tf32" and type(next(iter(a.values()))) is not np.ndarray:
            options["precision"] = "tf32"
        if case.direction.startswith("fprop"):
            options["activation"] = s.activation if case.direction == "fprop_fused" else "none"
            operation.fprop(a["x"], a["weight"], a.get("bias"), out=a["y"], **options)
        elif case.direction == "dgrad":
            operation.dgrad(a["dy"], a["weight"], *((a["dx"].shape,) if conv else ()), out=a["dx"], **options)
        else:
            kernel = ((s.kernel, s.kernel),) if conv else ()
            sgd = sgd_parameters(a) if case.direction == "wgrad_sgd" else None
            operation.wgrad(a["x"], a["dy"], *kernel, bias=False, sgd=sgd, out=a.get("dweight"), **options)

    def part(self, case: Case) -> Part:
        """Whole sums of some results: images and filters, images and channels, or filters and channels."""
        k, *_, c = case.step.weight_shape
        groups = case.step.groups

        def per_group(chosen: Array, extent: int) -> Array:
            return np.concatenate([g * extent + chosen for g in range(groups)])

        conv = self.name == "conv2d"
        images = {"N": some(case.batch, 3 if conv else 16)}
        filters = {"K": per_group(some(k // groups, 16), k // groups)}
        # A convolution's weight gradient is a sum over all positions of all images: two channels, of conv1's large
        # images one, are enough.
        channels = some(c, 2 if conv and case.direction.startswith("wgrad") else 16)
        channels = channels[-1:] if c == 3 else channels
        chosen = {"c": channels, "C": per_group(channels, c)}
        if case.direction.startswith("fprop"):
            return images | filters
        return images | chosen if case.direction == "dgrad" else filters | chosen

    def product_sums(self, case: Case, a: Arrays) -> tuple[int, Array, float]:
        """The squares' sums by one more product."""
        direction = case.direction.partition("_")[0]
        name = {"fprop": "y", "dgrad": "dx", "wgrad": "dweight"}[direction]
        squares = {n: np.square(a[n]) for n in ("x", "dy", "weight") if n in a}
        squares[name] = np.empty_like(a["master" if "master" in a else name])
        self.call(dataclasses.replace(case, direction=direction), squares)
        if direction == "wgrad":
            depth = math.prod(a["dy"].shape[:-1])
        else:
            weight = a["weight"].shape
            depth = math.prod(weight[1:] if direction == "fprop" else weight[:-1])
        return depth, squares[name], LEARNING_RATE if "master" in a else 1.0


_DIRECTIONS = ("fprop", "dgrad", "wgrad", "fprop_fused", "wgrad_sgd")
CONV2D = Product("conv2d", _DIRECTIONS, layers("conv2d"))
LINEAR = Product("linear", _DIRECTIONS, layers("linear"))
