"""A tower: one device's share of the network, and the link between two of them.

With one device its only tower holds everything and the grouped operations run both groups. With two, each holds its
own rows of every weight and its own channels of every activation, as the two GPUs of 2012 did; before a step whose
plan says that it crosses, each fetches the other's half, and in the backward pass it returns what belongs there.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops
from .backends.cpu.lrn import LrnParams
from .config import Config
from .philox import Purpose
from .plan import Plan, Step, share

Array = Any


@dataclass(frozen=True)
class Pass:
    """What a forward or backward pass depends on beside its input: training or not, and the key of the dropout."""

    train: bool
    seed: int
    step: int


class Tower:
    """One device's share: its parameters, its activations, and its part of every step.

    Parameters
    ----------
    config : Config
    plan : Plan
    index, count : int
        Which tower of how many (1 or 2).
    device : CpuDevice or another of the same interface
    """

    def __init__(self, config: Config, plan: Plan, index: int, count: int, device: Any) -> None:
        self.config, self.plan, self.index, self.count, self.device = config, plan, index, count, device
        self.dtype = np.dtype(config.precision)
        shapes = plan.tower_parameter_shapes(index, count)
        self.parameters: dict[str, Array] = {n: device.empty(s, self.dtype) for n, s in shapes.items()}
        self.gradients: dict[str, Array] = {}
        self.velocity: dict[str, Array] = {}
        self._buffers: dict[str, Array] = {}
        self._saved: dict[str, tuple[Array, Array]] = {}

    def start_training(self) -> None:
        """Make room for gradients and velocities, the latter zero; nothing if there is already."""
        if not self.gradients:
            for name, value in self.parameters.items():
                self.gradients[name] = self.device.empty(value.shape, value.dtype)
                self.velocity[name] = self.device.empty(value.shape, value.dtype)
                self.velocity[name][...] = 0

    def channels(self, total: int) -> tuple[int, int]:
        """The half-open range of `total` channels that this tower owns."""
        return share(total, self.index, self.count)

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """An array that keeps its memory from step to step; a smaller batch uses a part of it."""
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        size = math.prod(shape)
        flat = self._buffers.get(name)
        if flat is None or flat.size < size or flat.dtype != dtype:
            self._buffers[name] = flat = None  # give the old one back before asking for the new one
            self._buffers[name] = flat = self.device.empty((size,), dtype)
        return flat[:size].reshape(shape)

    def forward(self, number: int, x: Array, run: Pass) -> Array:
        """Step `number` of the plan: from what it reads, this tower's channels of its output."""
        step = self.plan.steps[number]
        lo, hi = self.channels(step.output[-1])
        # Without a backward pass an output is dead after the next step: two buffers in turn are enough.
        name = step.name if run.train else f"forward{number % 2}"
        y = self.buffer(name, (len(x), *step.output[:-1], hi - lo))
        saved = getattr(self, "_forward_" + step.op)(step, x, y, run)
        if run.train:
            self._saved[step.name] = (x, saved)
        return y

    def backward(self, number: int, dy: Array, run: Pass) -> Array | None:
        """From the gradient of step `number`'s output, that of all it read; parameters' gradients on the way.

        Nothing needs the gradient of the images, so the first step returns None.
        """
        step = self.plan.steps[number]
        x, saved = self._saved[step.name]
        dx = self.buffer(f"backward{number % 2}", x.shape) if number else None
        getattr(self, "_backward_" + step.op)(step, x, saved, dy, dx, run)
        return dx

    def _conv_arguments(self, step: Step) -> dict[str, Any]:
        groups = step.groups if step.groups == 1 else step.groups // self.count
        return {"stride": step.stride, "padding": step.padding, "groups": groups}

    def _forward_conv2d(self, step: Step, x: Array, y: Array, run: Pass) -> Array:
        weight, bias = self.parameters[f"{step.name}.weight"], self.parameters[f"{step.name}.bias"]
        return ops.conv2d.fprop(x, weight, bias, activation=step.activation, out=y, **self._conv_arguments(step))

    def _backward_conv2d(self, step: Step, x: Array, y: Array, dy: Array, dx: Array | None, run: Pass) -> None:
        self._backward_activation(step, y, dy)
        weight, arguments = f"{step.name}.weight", self._conv_arguments(step)
        out, bias_out = self.gradients[weight], self.gradients[f"{step.name}.bias"]
        ops.conv2d.wgrad(x, dy, (step.kernel, step.kernel), out=out, bias_out=bias_out, **arguments)
        if dx is not None:
            ops.conv2d.dgrad(dy, self.parameters[weight], x.shape, out=dx, **arguments)

    def _forward_linear(self, step: Step, x: Array, y: Array, run: Pass) -> Array:
        weight, bias = self.parameters[f"{step.name}.weight"], self.parameters[f"{step.name}.bias"]
        return ops.linear.fprop(x.reshape(len(x), -1), weight, bias, activation=step.activation, out=y)

    def _backward_linear(self, step: Step, x: Array, y: Array, dy: Array, dx: Array, run: Pass) -> None:
        self._backward_activation(step, y, dy)
        weight = f"{step.name}.weight"
        out, bias_out = self.gradients[weight], self.gradients[f"{step.name}.bias"]
        ops.linear.wgrad(x.reshape(len(x), -1), dy, out=out, bias_out=bias_out)
        ops.linear.dgrad(dy, self.parameters[weight], out=dx.reshape(len(x), -1))

    def _backward_activation(self, step: Step, y: Array, dy: Array) -> None:
        if step.activation != "none":
            getattr(ops, step.activation).bprop(dy, y, out=dy)

    def _lrn_parameters(self, step: Step) -> LrnParams:
        c = self.config
        channels = step.input[-1] if step.crosses else step.input[-1] // self.count
        groups = 1 if step.crosses else step.groups // self.count
        return ops.lrn.parameters(channels, c.lrn_size, c.lrn_k, c.lrn_alpha, c.lrn_beta, c.lrn_alpha_over_size, groups)

    def _forward_lrn(self, step: Step, x: Array, y: Array, run: Pass) -> Array:
        if x.shape == y.shape:
            ops.lrn.fprop(x, self._lrn_parameters(step), out=y)
        else:  # the window reaches into the other tower's channels: normalise all, keep ours
            lo, hi = self.channels(step.output[-1])
            whole = ops.lrn.fprop(x, self._lrn_parameters(step), out=self.buffer("lrn", x.shape))
            self.device.copy_from(y, whole[..., lo:hi])
        return y

    def _backward_lrn(self, step: Step, x: Array, y: Array, dy: Array, dx: Array, run: Pass) -> None:
        if dy.shape != x.shape:
            lo, hi = self.channels(step.output[-1])
            whole = self.buffer("lrn", x.shape)
            whole[...] = 0
            whole[..., lo:hi] = dy
            dy = whole
        ops.lrn.bprop(dy, x, self._lrn_parameters(step), out=dx)

    def _forward_max_pool(self, step: Step, x: Array, y: Array, run: Pass) -> Array | None:
        argmax = self.buffer(f"{step.name}.argmax", y.shape, np.uint8) if run.train else None
        ops.max_pool.fprop(x, size=step.kernel, stride=step.stride, train=run.train, out=y, argmax_out=argmax)
        return argmax

    def _backward_max_pool(self, step: Step, x: Array, argmax: Array, dy: Array, dx: Array, run: Pass) -> None:
        ops.max_pool.bprop(dy, argmax, x.shape, size=step.kernel, stride=step.stride, out=dx)

    def _forward_avg_pool(self, step: Step, x: Array, y: Array, run: Pass) -> Array:
        return ops.avg_pool.fprop(x, size=step.kernel, stride=step.stride, out=y)

    def _backward_avg_pool(self, step: Step, x: Array, y: Array, dy: Array, dx: Array, run: Pass) -> None:
        ops.avg_pool.bprop(dy, x.shape, size=step.kernel, stride=step.stride, out=dx)

    def _forward_dropout(self, step: Step, x: Array, y: Array, run: Pass) -> Array:
        if run.train:
            self._mask(step, x, y, run)
        else:
            self.device.copy_from(y, x)
        return y

    def _backward_dropout(self, step: Step, x: Array, y: Array, dy: Array, dx: Array, run: Pass) -> None:
        self._mask(step, dy, dx, run)

    def _mask(self, step: Step, x: Array, out: Array, run: Pass) -> None:
        lo, hi = self.channels(step.input[-1])
        ops.dropout.apply(
            x.reshape(-1, hi - lo),
            self.config.dropout,
            seed=run.seed,
            purpose=Purpose.DROPOUT + step.index,
            step=run.step,
            start=lo,
            row_stride=step.input[-1],
            out=out.reshape(-1, hi - lo),
        )


class Link:
    """Copies halves between two towers, and counts them: ``moved[name]`` is the floats a direction of the last time."""

    def __init__(self, towers: list[Tower]) -> None:
        self.towers = towers
        self.moved: Counter[str] = Counter()

    def gather(self, name: str, halves: list[Array], channels: int) -> list[Array]:
        """Each tower's copy of the whole: its own half and the other's. `channels` is the whole's last extent."""
        shape = (*halves[0].shape[:-1], channels)
        whole = [t.buffer(f"{name}.gathered", shape) for t in self.towers]
        for tower, target in zip(self.towers, whole, strict=True):
            for source_tower, half in zip(self.towers, halves, strict=True):
                lo, hi = source_tower.channels(channels)
                tower.device.copy_from(target[..., lo:hi], half)
        self.moved[name] = math.prod(halves[1].shape)
        return whole

    def reduce(self, name: str, wholes: list[Array]) -> list[Array]:
        """Each tower's half of the sum of both towers' gradients of a gathered input."""
        out = []
        channels = wholes[0].shape[-1]
        for tower, other in ((0, 1), (1, 0)):
            lo, hi = self.towers[tower].channels(channels)
            own, remote = wholes[tower][..., lo:hi], wholes[other][..., lo:hi]
            received = self.towers[tower].buffer("received", remote.shape)
            self.towers[tower].device.copy_from(received, remote)
            # The sum may not be written where a tower still reads its copy of the whole: a buffer of its own.
            total = self.towers[tower].buffer(f"{name}.reduced", remote.shape)
            # Tower 0's share first on both sides, so that both orders of the towers add alike.
            np.add(*((own, received) if tower == 0 else (received, own)), out=total)
            out.append(total)
        return out
