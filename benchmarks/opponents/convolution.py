"""How a convolution may be put to a library: as it is, group by group, or with conv1's channels padded.

What a variant needs beside the library's own kernels (copies into padded tensors and out of them) is part of its time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..harness.bench import Unavailable
from ..harness.cases import Case, Conv, conv

Pointers = dict[str, int]


@dataclass(frozen=True)
class Call:
    """One call of a library: its convolution, elements from one position to the next, and where its operands begin."""

    conv: Conv
    x_pitch: int
    y_pitch: int
    x_offset: int = 0
    y_offset: int = 0
    weight_offset: int = 0


@dataclass(frozen=True)
class Variant:
    """The calls that do one convolution, and the channels that its input and weights are padded to (0: none)."""

    name: str
    calls: tuple[Call, ...]
    padded: int = 0


def variants(case: Case) -> list[Variant]:
    """All variants of a case."""
    c = conv(case)
    found = [Variant("", (Call(c, c.C, c.K),))]
    if c.groups > 1:
        half = dataclasses.replace(c, C=c.C // c.groups, K=c.K // c.groups, groups=1)
        filters = half.K * half.R * half.S * half.C
        calls = tuple(Call(half, c.C, c.K, g * half.C, g * half.K, g * filters) for g in range(c.groups))
        found.append(Variant("a call a group", calls))
    if c.C == 3:
        for channels in (4, 8):
            padded = dataclasses.replace(c, C=channels)
            found.append(Variant(f"padded to {channels} channels", (Call(padded, channels, c.K),), channels))
    return found


Copy = Callable[[Any, Any], None]


def strided_copy(bench: Any) -> Copy:
    """What copies between arrays that differ in their last extent alone: as many channels as both have.

    PyTorch's copy kernel where PyTorch is, else cuDNN's cudnnTransformTensor.
    """
    from .torch_tensors import load, on_stream, tensor

    try:
        load()
    except Unavailable:
        return _transform(bench)

    def copy(source: Any, target: Any) -> None:
        channels = min(source.shape[-1], target.shape[-1])
        with on_stream(bench.device.stream()):
            tensor(target)[..., :channels].copy_(tensor(source)[..., :channels])

    return copy


def _transform(bench: Any) -> Copy:
    from .library import Cudnn

    cudnn = Cudnn()
    bench.cleanup.callback(cudnn.close)
    descriptors: dict[tuple[Any, ...], Any] = {}

    def describe(array: Any, channels: int, dtype: str) -> Any:
        key = (array.shape, channels, dtype)
        if key not in descriptors:
            descriptors[key] = cudnn.nhwc(dtype, *array.shape[:3], channels, array.shape[3])
        return descriptors[key]

    def copy(source: Any, target: Any) -> None:
        channels = min(source.shape[-1], target.shape[-1])
        cudnn.use_stream(bench.device.stream())
        a, b = (describe(array, channels, array.dtype.name) for array in (source, target))
        one, zero = cudnn.one, cudnn.zero
        cudnn("cudnnTransformTensor", cudnn.handle, one, a, source.data.ptr, zero, b, target.data.ptr)

    return copy


class Operands:
    """The arrays that a library's calls read and write, for every set: the case's own, padded copies, 16-bit outputs.

    Parameters
    ----------
    bench : Bench
    variant : Variant
    """

    def __init__(self, bench: Any, variant: Variant) -> None:
        self.bench, self.variant = bench, variant
        self.direction = bench.case.direction.partition("_")[0]
        self.arrays = [self._of(i) for i in range(len(bench.sets))]
        self._copy = strided_copy(bench) if variant.padded else None

    def _of(self, index: int) -> dict[str, Any]:
        bench, case = self.bench, self.bench.case
        held = {name: bench.sets[index][name] for name in bench.tensors.all()}
        c = conv(case)
        if self.direction == "wgrad":  # cuDNN gives weight gradients in the type of the activations
            shape = (c.K, c.R, c.S, (self.variant.padded or c.C) // c.groups)
            held["dweight"] = bench.device.empty(shape, case.dtype)
        if self.variant.padded:
            held["x"] = self._padded((c.N, c.H, c.W, self.variant.padded))
            if "weight" in held:
                held["weight"] = self._padded((c.K, c.R, c.S, self.variant.padded))
            if self.direction == "wgrad":
                held["narrow"] = bench.device.empty((c.K, c.R, c.S, c.C), case.dtype)
        if "bias" in held and case.dtype != "float32":
            from ..harness.values import numpy_dtype, values_of

            bias = values_of(bench.tensors, index)["bias"].array().astype(numpy_dtype(case.dtype))
            held["bias"] = bench.device.upload(bias)
        return held

    def _padded(self, shape: tuple[int, ...]) -> Any:
        array = self.bench.device.empty(shape, self.bench.case.dtype)
        self.bench.device.clear(array)
        return array

    def before(self, index: int) -> None:
        """Enqueue what a padded variant must do before its calls."""
        if self._copy is not None:
            for name in {"x", "weight"} & set(self.bench.tensors.inputs):
                self._copy(self.bench.sets[index][name], self.arrays[index][name])

    def after(self, index: int) -> None:
        """Enqueue what it must do after them."""
        if self._copy is not None and self.direction == "wgrad":
            self._copy(self.arrays[index]["dweight"], self.arrays[index]["narrow"])

    def pointers(self, index: int, call: Call) -> Pointers:
        """Where a call's operands begin."""
        held, width = self.arrays[index], 4 if self.bench.case.dtype == "float32" else 2
        offsets = {"x": call.x_offset, "dx": call.x_offset, "y": call.y_offset, "dy": call.y_offset}
        offsets |= {"weight": call.weight_offset, "dweight": call.weight_offset, "bias": call.y_offset}
        return {name: held[name].data.ptr + offsets[name] * width for name in offsets if name in held}

    def outputs(self) -> dict[str, Any]:
        """Host copies of set 0's outputs, under the case's names."""
        held = self.arrays[0]
        name = {"fprop": "y", "dgrad": "dx", "wgrad": "dweight"}[self.direction]
        return {name: self.bench.device.download(held["narrow" if self.variant.padded and name == "dweight" else name])}
