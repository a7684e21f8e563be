"""A tower: one device's share of the network, and the link between two of them.

With one device its only tower holds everything and the grouped operations run both groups. With two, each holds its
own rows of every weight and its own channels of every activation, as the two GPUs of 2012 did. Before a stage that
crosses each sends its half of the input to the other; while it travels the stage works on the half that is there.
In the backward pass each sends back the gradient of the half it was lent.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import ops
from .backends.cpu.dropout import DropoutParams
from .backends.cpu.lrn import LrnParams
from .backends.cpu.sgd import SgdParams
from .config import Config
from .philox import Purpose
from .plan import Plan, Step, share
from .precision import activation_dtype, parameter_dtype
from .stages import Stage

Array = Any


@dataclass(frozen=True)
class Update:
    """How `Tower.backward` updates the parameters: v <- momentum v - decay lr w - lr g; w <- w + v.

    Biases learn `bias_rate` times as fast and do not decay; the learning rate lies in the tower's `learning_rate`.
    """

    momentum: float
    weight_decay: float
    bias_rate: float


@dataclass(frozen=True)
class Pass:
    """What a forward or backward pass depends on beside its input.

    Attributes
    ----------
    train : bool
        Whether activations are dropped out, and kept for a backward pass.
    gradient_scale : float
        What the gradients are to be multiplied by, once they are whole, to be those of the mean loss.
    update : Update or None
        How the backward pass updates the parameters; None: it keeps their gradients.
    """

    train: bool
    gradient_scale: float = 1.0
    update: Update | None = None


@dataclass(frozen=True)
class Arrival:
    """The other tower's half of something: where it arrives, and when it has."""

    array: Array
    event: Any


class Tower:
    """One device's share: its parameters, its activations, and its part of every stage.

    Parameters
    ----------
    config : Config
    plan : Plan
    index, count : int
        Which tower of how many (1 or 2).
    device : CpuDevice or another of the same interface

    Attributes
    ----------
    parameters, gradients, velocity : dict of array
        By name, this tower's rows of each tensor, of the dtype of parameters.
    step_counter, learning_rate : array of one element
        Read by the kernels when they run.
    """

    def __init__(self, config: Config, plan: Plan, index: int, count: int, device: Any) -> None:
        self.config, self.plan, self.index, self.count, self.device = config, plan, index, count, device
        self.dtype, self.sums = activation_dtype(config.precision), parameter_dtype(config.precision)
        # How kernels are to multiply float32 arrays; everything else the dtype says.
        self._precision = "tf32" if config.precision == "tf32" else None
        shapes = plan.tower_parameter_shapes(index, count)
        self.parameters: dict[str, Array] = {n: device.empty(s, self.sums) for n, s in shapes.items()}
        self.gradients: dict[str, Array] = {}
        self.velocity: dict[str, Array] = {}
        self.step_counter: Array = None
        self.learning_rate: Array = None
        # 16-bit copies of the weights, which the products take.
        self._copies: dict[str, Array] = {}
        if self.dtype != self.sums:
            weights = [name for name in shapes if name.endswith(".weight")]
            self._copies = {name: device.empty(shapes[name], self.dtype) for name in weights}
        self._buffers: dict[str, Array] = {}
        self._saved: dict[str, Any] = {}

    # --- parameters

    def start_training(self, gradients: bool) -> None:
        """Make room for velocities, which begin at zero, and for gradients; nothing if there is already."""
        if not self.velocity:
            for name, value in self.parameters.items():
                self.velocity[name] = self.device.empty(value.shape, value.dtype)
                with self.device.active():
                    self.device.zero(self.velocity[name])
        if gradients and not self.gradients:
            self.gradients = {n: self.device.empty(v.shape, v.dtype) for n, v in self.parameters.items()}

    def assign(self, kind: str, name: str, whole: Array) -> None:
        """Set this tower's rows of a parameter or velocity from the whole tensor on the host."""
        lo, hi = self.channels(len(whole))
        target = getattr(self, kind)[name]
        with self.device.active():
            self.device.upload(target, whole[lo:hi])
            if kind == "parameters":
                self._refresh(name)

    def _refresh(self, name: str) -> None:
        if name in self._copies:
            ops.copy.cast(self.parameters[name], out=self._copies[name])

    def _weight(self, stage: Stage) -> Array:
        name = f"{stage.name}.weight"
        return self._copies.get(name, self.parameters[name])

    def update(self, update: Update, gradient_scale: float) -> None:
        """Update all parameters from their gradients."""
        with self.device.active():
            for name in self.parameters:
                ops.sgd.update(self._sgd(name, update, gradient_scale), self.gradients[name])

    def _sgd(self, name: str, update: Update, gradient_scale: float) -> SgdParams:
        bias = name.endswith(".bias")
        return SgdParams(
            self.parameters[name],
            self.velocity[name],
            self.learning_rate,
            update.momentum,
            0.0 if bias else update.weight_decay,
            update.bias_rate if bias else 1.0,
            gradient_scale,
            self._copies.get(name),
        )

    # --- memory

    def channels(self, total: int) -> tuple[int, int]:
        """The half-open range of `total` channels that this tower owns."""
        return share(total, self.index, self.count)

    def other_channels(self, total: int) -> tuple[int, int]:
        """The range of the other of two towers."""
        return share(total, 1 - self.index, self.count)

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """An array that keeps its memory from step to step; a smaller batch uses a part of it."""
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        size = math.prod(shape)
        flat = self._buffers.get(name)
        if flat is None or flat.size < size or flat.dtype != dtype:
            self._buffers.pop(name, None)
            del flat  # give the old one back before asking for the new one
            self._buffers[name] = flat = self.device.empty((size,), dtype)
        return flat[:size].reshape(shape)

    def held(self) -> list[Array]:
        """All arrays of this tower, without its device's workspace."""
        kinds = (self.parameters, self.gradients, self.velocity, self._copies, self._buffers)
        return [array for kind in kinds for array in kind.values()]

    # --- forward

    def forward(self, number: int, stage: Stage, x: Array, arrival: Arrival | None, run: Pass) -> Array:
        """A stage: from this tower's channels of its input, and the other's if it crosses, those of its output."""
        lo, hi = self.channels(stage.output[-1])
        # Without a backward pass an output is dead after the next stage, unless it is being sent: two buffers in turn.
        name = stage.name if run.train or self.count == 2 else f"forward{number % 2}"
        dtype = self.sums if stage.name == "fc8" else self.dtype
        y = self.buffer(name, (len(x), *stage.output[:-1], hi - lo), dtype)
        with self.device.active():
            saved = getattr(self, "_forward_" + stage.op)(stage, x, arrival, y, run)
        if run.train:
            self._saved[stage.name] = (x, None if arrival is None else arrival.array, saved)
        return y

    def _wait(self, arrival: Arrival) -> Array:
        self.device.wait(arrival.event)
        return arrival.array

    def _forward_product(
        self, stage: Stage, x: Array, arrival: Arrival | None, y: Array, dropout: DropoutParams | None
    ) -> None:
        """A convolution or FC layer: the half of the input that is here first, the other half when it has come."""
        step, bias = stage.step, self.parameters[f"{stage.name}.bias"]
        ends: dict[str, Any] = {"activation": step.activation, "dropout": dropout, "out": y}
        if arrival is None:
            self._fprop(stage, x, self._weight(stage), bias=bias, **ends)
            return
        own, other = self._ranges(stage, self._weight(stage))
        partial = self.buffer("partial", y.shape, self.sums)
        self._fprop(stage, x, own, out=partial)
        self._fprop(stage, self._wait(arrival), other, bias=bias, addend=partial, **ends)

    def _ranges(self, stage: Stage, weight: Array) -> tuple[Array, Array]:
        """The weights of the channels of the input that are here, and of those of the other tower, as views."""
        channels = stage.step.input[-1]
        if weight.ndim == 2 and len(stage.step.input) == 3:  # fc6: a filter as large as the image
            weight = weight.reshape(len(weight), *stage.step.input)
        (lo, hi), (first, last) = self.channels(channels), self.other_channels(channels)
        return weight[..., lo:hi], weight[..., first:last]

    def _fprop(self, stage: Stage, x: Array, weight: Array, **arguments: Any) -> None:
        if weight.ndim == 2:
            ops.linear.fprop(x.reshape(len(x), -1), weight, precision=self._precision, **arguments)
            return
        if stage.op == "linear":
            images = {name: _as_images(arguments[name]) for name in ("addend", "out") if name in arguments}
            ops.conv2d.fprop(x, weight, precision=self._precision, **(arguments | images))
            return
        ops.conv2d.fprop(x, weight, precision=self._precision, **self._geometry(stage), **arguments)

    def _geometry(self, stage: Stage) -> dict[str, Any]:
        step = stage.step
        groups = step.groups if step.groups == 1 else step.groups // self.count
        return {"stride": step.stride, "padding": step.padding, "groups": groups}

    def _forward_conv2d(self, stage: Stage, x: Array, arrival: Arrival | None, y: Array, run: Pass) -> Array:
        self._forward_product(stage, x, arrival, y, None)
        return y

    def _forward_linear(self, stage: Stage, x: Array, arrival: Arrival | None, y: Array, run: Pass) -> Array:
        dropout = self._dropout(stage.dropout) if stage.dropout is not None and run.train else None
        self._forward_product(stage, x, arrival, y, dropout)
        return y

    def _lrn_parameters(self, stage: Stage) -> LrnParams:
        c, step = self.config, stage.step
        channels = step.input[-1] if stage.crosses else step.input[-1] // self.count
        groups = 1 if step.crosses else step.groups // self.count
        return ops.lrn.parameters(channels, c.lrn_size, c.lrn_k, c.lrn_alpha, c.lrn_beta, c.lrn_alpha_over_size, groups)

    def _forward_lrn(self, stage: Stage, x: Array, arrival: Arrival | None, y: Array, run: Pass) -> Array:
        if arrival is None:
            return ops.lrn.fprop(x, self._lrn_parameters(stage), out=y)
        # The window reaches into the other tower's channels: normalise all, keep ours.
        whole = self.buffer(f"{stage.name}.whole", (*x.shape[:-1], stage.step.input[-1]))
        self.join(whole, x, arrival)
        normalised = ops.lrn.fprop(whole, self._lrn_parameters(stage), out=self.buffer("lrn", whole.shape))
        lo, hi = self.channels(whole.shape[-1])
        ops.copy.cast(normalised[..., lo:hi], out=y)
        return whole

    def join(self, whole: Array, half: Array, arrival: Arrival) -> None:
        """Put this tower's half and the other's side by side."""
        (lo, hi), (first, last) = self.channels(whole.shape[-1]), self.other_channels(whole.shape[-1])
        ops.copy.cast(half, out=whole[..., lo:hi])
        ops.copy.cast(self._wait(arrival), out=whole[..., first:last])

    def _forward_lrn_max_pool(self, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> Array | None:
        argmax = self.buffer(f"{stage.name}.argmax", y.shape, np.uint8) if run.train else None
        p = self._lrn_parameters(stage)
        ops.lrn_max_pool.fprop(x, p, train=run.train, out=y, argmax_out=argmax, **_window(stage.pool))
        return argmax

    def _forward_max_pool(self, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> tuple[Array, Array | None]:
        argmax = self.buffer(f"{stage.name}.argmax", y.shape, np.uint8) if run.train else None
        ops.max_pool.fprop(x, train=run.train, out=y, argmax_out=argmax, **_window(stage.step))
        return y, argmax

    def _forward_avg_pool(self, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> Array:
        return ops.avg_pool.fprop(x, out=y, **_window(stage.step))

    def _forward_dropout(self, stage: Stage, x: Array, _: None, y: Array, run: Pass) -> Array:
        if run.train:
            self._drop(stage, x, y)
        else:
            self.device.copy(y, x)
        return y

    def _dropout(self, step: Step) -> DropoutParams:
        channels = step.input[-1]
        return ops.dropout.parameters(
            self.config.dropout,
            seed=self.config.seed,
            purpose=Purpose.DROPOUT + step.index,
            step=self.step_counter,
            start=self.channels(channels)[0],
            row_stride=channels,
        )

    def _drop(self, stage: Stage, x: Array, out: Array) -> None:
        rows = (-1, x.shape[-1])
        ops.dropout.apply(x.reshape(rows), self._dropout(stage.step), out=out.reshape(rows))

    # --- backward

    def backward_lent(self, stage: Stage, dy: Array, run: Pass) -> Array:
        """Of a stage that crosses: the gradient of the half of its input that the other tower lent."""
        _, lent, saved = self._saved[stage.name]
        with self.device.active():
            if stage.op == "lrn":
                return self._backward_lrn_whole(stage, saved, dy, lent)
            _, weight = self._ranges(stage, self._weight(stage))
            dx = self.buffer(f"{stage.name}.lent", lent.shape, self.sums)
            self._dgrad(stage, dy, weight, lent, dx)
            return dx

    def backward(self, number: int, stage: Stage, dy: Array, arrival: Arrival | None, run: Pass) -> Array | None:
        """From the gradient of a stage's output, that of its input; parameters' gradients, or updates, on the way.

        `arrival` brings the other tower's share of the gradient, of a stage that crosses. Nothing needs the gradient
        of the images, so the first stage returns None.
        """
        x, lent, saved = self._saved[stage.name]
        dx = self.buffer(f"backward{number % 2}", x.shape) if number else None
        with self.device.active():
            getattr(self, "_backward_" + stage.op)(stage, x, lent, saved, dy, dx, arrival, run)
        return dx

    def activation_backward(self, stage: Stage, dy: Array) -> None:
        """Take the gradient, in place, through the activation of a stage that the stage after it did not undo."""
        with self.device.active():
            _, _, y = self._saved[stage.name]
            getattr(ops, stage.step.activation).bprop(dy, y, out=dy)

    def _backward_conv2d(
        self,
        stage: Stage,
        x: Array,
        lent: Array | None,
        y: Array,
        dy: Array,
        dx: Array | None,
        arrival: Arrival | None,
        run: Pass,
    ) -> None:
        """The gradients of a convolution or FC layer; by the input first, which takes the weights before an update."""
        if dx is not None and arrival is None:
            self._dgrad(stage, dy, self._weight(stage), x, dx)
        if arrival is None:
            self._wgrad(stage, dy, run, [(x, slice(None))])
            return
        own, _ = self._ranges(stage, self._weight(stage))
        partial = self.buffer("partial", x.shape, self.sums)
        self._dgrad(stage, dy, own, x, partial)
        halves = [(x, self.channels), (lent, self.other_channels)]
        self._wgrad(stage, dy, run, [(half, slice(*part(stage.step.input[-1]))) for half, part in halves])
        ops.copy.cast(partial, addend=self._wait(arrival), out=dx)

    _backward_linear = _backward_conv2d

    def _dgrad(self, stage: Stage, dy: Array, weight: Array, x: Array, dx: Array) -> None:
        arguments: dict[str, Any] = {"precision": self._precision, "out": dx}
        if stage.undoes_relu:
            arguments["mask"] = x
            arguments["mask_scale"] = 1.0 / (1.0 - self.config.dropout) if stage.undoes_dropout else 1.0
        if weight.ndim == 2:
            flat = {name: arguments[name].reshape(len(x), -1) for name in ("mask", "out") if name in arguments}
            ops.linear.dgrad(dy, weight, **(arguments | flat))
        elif stage.op == "linear":
            ops.conv2d.dgrad(_as_images(dy), weight, x.shape, **arguments)
        else:
            ops.conv2d.dgrad(dy, weight, x.shape, **self._geometry(stage), **arguments)

    def _wgrad(self, stage: Stage, dy: Array, run: Pass, parts: list[tuple[Array, slice]]) -> None:
        """The gradients by weight and bias, or the updates, from parts of the input and their ranges of channels."""
        weight, bias = f"{stage.name}.weight", f"{stage.name}.bias"
        update = run.update if self.device.fuses_update or run.update is None else None
        keep = self.gradients if update is None else {}
        dbias = keep[bias] if bias in keep else self.buffer("dbias", self.parameters[bias].shape, self.sums)
        for number, (x, channels) in enumerate(parts):
            sgd = None if update is None else self._sgd(weight, update, run.gradient_scale)
            arrays = {name: self._range(stage, array, channels) for name, array in _tensors(keep.get(weight), sgd)}
            if sgd is not None:
                sgd = replace(sgd, weight=arrays["weight"], velocity=arrays["velocity"], copy=arrays["copy"])
            self._wgrad_part(stage, x, dy, arrays["out"], dbias if number == 0 else None, sgd)
        if update is not None:
            p = self._sgd(bias, update, run.gradient_scale)
            ops.sgd.update(p, dbias)

    def _range(self, stage: Stage, tensor: Array | None, channels: slice) -> Array | None:
        if tensor is None or channels == slice(None):
            return tensor
        if tensor.ndim == 2 and len(stage.step.input) == 3:
            tensor = tensor.reshape(len(tensor), *stage.step.input)
        return tensor[..., channels]

    def _wgrad_part(
        self, stage: Stage, x: Array, dy: Array, out: Array | None, dbias: Array | None, sgd: SgdParams | None
    ) -> None:
        options: dict[str, Any] = {"out": out, "bias_out": dbias, "bias": dbias is not None, "sgd": sgd}
        options["precision"] = self._precision
        shaped: Array = out if sgd is None else sgd.weight
        if shaped.ndim == 2:
            ops.linear.wgrad(x.reshape(len(x), -1), dy, **options)
        elif stage.op == "linear":
            height, width, _ = stage.step.input
            ops.conv2d.wgrad(x, _as_images(dy), (height, width), **options)
        else:
            ops.conv2d.wgrad(x, dy, (stage.step.kernel, stage.step.kernel), **self._geometry(stage), **options)

    def _backward_lrn_whole(self, stage: Stage, whole: Array, dy: Array, lent: Array) -> Array:
        """The gradient of all channels, ours left in a buffer for `_backward_lrn`, the other tower's returned."""
        (lo, hi), (first, last) = self.channels(whole.shape[-1]), self.other_channels(whole.shape[-1])
        padded = self.buffer("lrn", whole.shape)
        self.device.zero(padded)
        ops.copy.cast(dy, out=padded[..., lo:hi])
        dwhole = self.buffer("lrn.gradient", whole.shape)
        ops.lrn.bprop(padded, whole, self._lrn_parameters(stage), relu=stage.undoes_relu, out=dwhole)
        return ops.copy.cast(dwhole[..., first:last], out=self.buffer(f"{stage.name}.lent", lent.shape))

    def _backward_lrn(
        self,
        stage: Stage,
        x: Array,
        lent: Array | None,
        saved: Array,
        dy: Array,
        dx: Array,
        arrival: Arrival | None,
        run: Pass,
    ) -> None:
        if arrival is None:
            ops.lrn.bprop(dy, x, self._lrn_parameters(stage), relu=stage.undoes_relu, out=dx)
            return
        lo, hi = self.channels(saved.shape[-1])
        dwhole = self.buffer("lrn.gradient", saved.shape)
        ops.copy.cast(dwhole[..., lo:hi], addend=self._wait(arrival), out=dx)

    def _backward_lrn_max_pool(
        self, stage: Stage, x: Array, _: None, argmax: Array, dy: Array, dx: Array, __: None, run: Pass
    ) -> None:
        p = self._lrn_parameters(stage)
        ops.lrn_max_pool.bprop(dy, argmax, x, p, relu=stage.undoes_relu, out=dx, **_window(stage.pool))

    def _backward_max_pool(
        self, stage: Stage, x: Array, _: None, saved: Any, dy: Array, dx: Array, __: None, run: Pass
    ) -> None:
        y, argmax = saved
        given = y if stage.undoes_relu else None
        ops.max_pool.bprop(dy, argmax, x.shape, y=given, out=dx, **_window(stage.step))

    def _backward_avg_pool(
        self, stage: Stage, x: Array, _: None, y: Array, dy: Array, dx: Array, __: None, run: Pass
    ) -> None:
        ops.avg_pool.bprop(dy, x.shape, out=dx, **_window(stage.step))

    def _backward_dropout(
        self, stage: Stage, x: Array, _: None, y: Array, dy: Array, dx: Array, __: None, run: Pass
    ) -> None:
        self._drop(stage, dy, dx)


def _tensors(out: Array | None, sgd: SgdParams | None) -> list[tuple[str, Array | None]]:
    if sgd is None:
        return [("out", out)]
    return [("out", out), ("weight", sgd.weight), ("velocity", sgd.velocity), ("copy", sgd.copy)]


def _window(step: Step | None) -> dict[str, int]:
    return {} if step is None else {"size": step.kernel, "stride": step.stride}


def _as_images(rows: Array) -> Array:
    """Rows [N, K] as images of one position [N, 1, 1, K]."""
    return rows.reshape(len(rows), 1, 1, rows.shape[-1])


class Link:
    """Sends halves between two towers; ``moved[name]`` is the floats a direction of a stage's last exchange."""

    def __init__(self, towers: list[Tower]) -> None:
        self.towers = towers
        self.moved: Counter[str] = Counter()
        self._begun: list[Any] = []
        if towers[0].device.kind == "cuda":
            towers[0].device.enable_peer(towers[1].device)
            towers[1].device.enable_peer(towers[0].device)

    def begin(self) -> None:
        """Begin a pass: what was sent in the one before may be overwritten when both towers are done with it."""
        self._begun = [tower.device.record() for tower in self.towers]
        for tower in self.towers:
            for event in self._begun:
                tower.device.wait(event)

    def exchange(self, name: str, halves: list[Array]) -> list[Arrival]:
        """Send each tower's array to the other; returns what each will get."""
        arrivals: list[Arrival] = [None, None]  # type: ignore[list-item]
        for sender, receiver in ((0, 1), (1, 0)):
            half = halves[sender]
            target = self.towers[receiver].buffer(f"{name}.received", half.shape, half.dtype)
            device = self.towers[sender].device
            event = device.send(target, half, [device.record(), *self._begun])
            arrivals[receiver] = Arrival(target, event)
        self.moved[name] = math.prod(halves[1].shape)
        return arrivals
