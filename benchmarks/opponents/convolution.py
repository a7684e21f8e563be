"""How a convolution may be put to a library: as it is, group by group, or with conv1's channels padded.

What a variant needs beside the library's own kernels (copies into padded tensors and out of them) is part of its time.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from alexnet_cuda.ops import copy

from ..harness.bench import Bench
from ..harness.cases import Case, numbers
from ..harness.check import Outputs

OUTPUT = {"fprop": "y", "fprop_fused": "y", "dgrad": "dx", "wgrad": "dweight"}


@dataclass(frozen=True)
class Conv:
    """The sizes of a convolution, one batch."""

    N: int
    H: int
    W: int
    C: int
    K: int
    R: int
    P: int
    Q: int
    stride: int
    padding: int
    groups: int


@dataclass(frozen=True)
class Call:
    """One call of a library: its convolution, elements from one position to the next, and where its operands begin."""

    conv: Conv
    x_pitch: int
    y_pitch: int
    x_offset: int = 0
    y_offset: int = 0
    weight_offset: int = 0

    def addresses(self, beginnings: dict[str, int], itemsize: int) -> dict[str, int]:
        """Where the call's operands begin, from where the tensors do."""
        x, y, weight = self.x_offset, self.y_offset, self.weight_offset
        offsets = {"x": x, "dx": x, "y": y, "dy": y, "bias": y, "weight": weight, "dweight": weight}
        return {name: at + offsets[name] * itemsize for name, at in beginnings.items() if name in offsets}


@dataclass(frozen=True)
class Variant:
    """The calls that do one convolution, and the channels that its input and weights are padded to (0: none)."""

    name: str
    calls: tuple[Call, ...]
    padded: int = 0


def variants(case: Case) -> list[Variant]:
    """All variants of a case."""
    s = case.step
    sizes = (case.batch, *s.input, s.output[2], s.kernel, *s.output[:2], s.stride, s.padding, s.groups)
    c = Conv(*sizes)
    found = [Variant("", (Call(c, c.C, c.K),))]
    if c.groups > 1:
        half = dataclasses.replace(c, C=c.C // c.groups, K=c.K // c.groups, groups=1)
        filters = half.K * half.R**2 * half.C
        calls = tuple(Call(half, c.C, c.K, g * half.C, g * half.K, g * filters) for g in range(c.groups))
        found.append(Variant("a call a group", calls))
    if c.C == 3:
        for channels in (4, 8):
            padded = dataclasses.replace(c, C=channels)
            found.append(Variant(f"padded to {channels} channels", (Call(padded, channels, c.K),), channels))
    return found


class Operands:
    """The arrays that a library's calls read and write, for every set: the case's own, padded, 16-bit outputs."""

    def __init__(self, bench: Bench, variant: Variant) -> None:
        self.bench, self.variant = bench, variant
        self.result = OUTPUT[bench.case.direction]
        self.arrays = [self._of(i) for i in range(len(bench.sets))]

    def _of(self, index: int) -> dict[str, Any]:
        bench, dtype, padded = self.bench, self.bench.case.dtype, self.variant.padded
        held = {name: bench.sets[index][name] for name in bench.tensors}
        if self.result == "dweight":  # cuDNN gives weight gradients in the type of the activations
            held["dweight"] = bench.device.empty(held["dweight"].shape, dtype)
            held["narrow"] = held["dweight"]
        for name in ("x", "weight", "dweight"):
            if padded and name in held:
                held[name] = bench.device.empty((*held[name].shape[:-1], padded), dtype)
                bench.device.clear(held[name])
        if "bias" in held and dtype != "float32":
            held["bias"] = bench.device.upload(numbers("bias", bench.tensors["bias"], index).astype(np.dtype(dtype)))
        return held

    def before(self, index: int) -> None:
        """Enqueue what a padded variant must do before its calls."""
        if self.variant.padded:
            for name in {"x", "weight"} & set(self.bench.tensors):
                copy.cast(self.bench.sets[index][name], out=self.arrays[index][name][..., :3])

    def after(self, index: int) -> None:
        """Enqueue what it must do after them."""
        if self.variant.padded and self.result == "dweight":
            copy.cast(self.arrays[index]["dweight"][..., :3], out=self.arrays[index]["narrow"])

    def addresses(self) -> list[list[dict[str, int]]]:
        """Where the operands of every call begin, by set."""
        itemsize = np.dtype(self.bench.case.dtype).itemsize
        beginnings = [{n: int(a.data.ptr) for n, a in held.items() if n != "narrow"} for held in self.arrays]
        return [[call.addresses(each, itemsize) for call in self.variant.calls] for each in beginnings]

    def outputs(self) -> Outputs:
        """Host copies of set 0's outputs, under the case's names."""
        held = self.arrays[0]
        return self.bench.download(**{self.result: held["narrow" if self.result == "dweight" else self.result]})
