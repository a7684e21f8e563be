"""A tower: one device's share of the network: its parameters, its activations, its part of every stage.

With one device its only tower holds everything and the grouped operations run both groups. With two, each holds its
own rows of every weight and its own channels of every activation, as the two GPUs of 2012 did. Before a stage that
crosses each sends its half of the input to the other; while it travels the stage works on the local half.
In the backward pass each sends back the gradient of the half that came from the other.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..backends.protocol import Device
from ..base.array import constant
from ..base.params import SgdParams
from ..base.precision import activation_dtype, parameter_dtype
from ..config import Config
from .plan import Plan, layer_of, share

Array = Any


class Update(NamedTuple):
    """How a backward pass updates the parameters: v <- momentum v - decay lr w - lr g; w <- w + v.

    Biases learn `bias_rate` times as fast and do not decay; the learning rate lies in the tower's `learning_rate`.
    `rates` has factors of it by layer, 1 where it names none; a layer of 0 is frozen: its parameters and their momentum
    stay as they are.
    """

    momentum: float
    weight_decay: float
    bias_rate: float
    rates: tuple[tuple[str, float], ...] = ()

    def rate(self, layer: str) -> float:
        """The factor of a layer."""
        return dict(self.rates).get(layer, 1.0)


class Pass(NamedTuple):
    """What a forward or backward pass depends on beside its input.

    Attributes
    ----------
    train : bool
        Whether activations are dropped out, and kept for a backward pass.
    gradient_scale : float
        What the gradients are to be multiplied by, once they are whole, to be those of the mean loss.
    update : Update or None
        How the backward pass updates the parameters; None: it keeps their gradients.
    lowest : int
        The number of the stage at which the backward pass ends.
    batch : int
        Images that the mean loss is of.
    first : int
        The place in that batch of the first image that passes; from the second part on gradients are added to those
        of the parts before.
    """

    train: bool
    gradient_scale: float = 1.0
    update: Update | None = None
    lowest: int = 0
    batch: int = 0
    first: int = 0

    def trains(self, layer: str) -> bool:
        """Whether the gradients of a layer's parameters are computed."""
        return self.update is None or self.update.rate(layer) != 0


class Arrival(NamedTuple):
    """The other tower's half of something: where it arrives, and when it has."""

    array: Array
    event: Any


class Kept(NamedTuple):
    """What a stage's backward pass wants: its input, the other tower's half of that, and what its forward returned."""

    x: Array
    remote: Array
    own: Any


class Tower:
    """One device's share: its parameters, its activations, and its part of every stage.

    Parameters
    ----------
    config : Config
    plan : Plan
    index, count : int
        Which tower of how many (1 or 2).
    device : Device

    Attributes
    ----------
    parameters, gradients, velocity : dict of array
        By name, this tower's rows of each tensor, of the dtype of parameters.
    precision : str or None
        How float32 arrays are to be multiplied; None: as their dtype says.
    dtype, accumulator : dtype
        Of activations; of parameters, gradients and logits.
    step_counter, learning_rate : array of one element
        Read by the kernels when they run.
    """

    def __init__(self, config: Config, plan: Plan, index: int, count: int, device: Device) -> None:
        self.config, self.plan, self.index, self.count, self.device = config, plan, index, count, device
        self.dtype, self.accumulator = activation_dtype(config.precision), parameter_dtype(config.precision)
        self.precision = "tf32" if config.precision == "tf32" else None
        shapes = plan.tower_parameter_shapes(index, count)
        self.parameters: dict[str, Array] = {n: device.empty(s, self.accumulator) for n, s in shapes.items()}
        self.gradients: dict[str, Array] = {}
        self.velocity: dict[str, Array] = {}
        self.step_counter: Array = None
        self.learning_rate: Array = None
        # 16-bit copies of the weights, which the products take.
        self._copies: dict[str, Array] = {}
        if self.dtype != self.accumulator:
            weights = [name for name in shapes if name.endswith(".weight")]
            self._copies = {name: device.empty(shapes[name], self.dtype) for name in weights}
        # By layer its weights as `weight` marks them; None once somebody else writes to them too.
        self._constant: dict[str, Array] | None = {}
        self._buffers: dict[str, tuple[Array, Array]] = {}  # all of each, and what of it was used last, in its shape
        self.kept: dict[str, Kept] = {}

    # --- parameters

    def start_training(self, gradients: bool) -> None:
        """Make room for velocities, which begin at zero, and for gradients; nothing if there is already."""
        if self._constant:
            self._constant.clear()  # what inference kept
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
                self._changes(name)
                self._refresh(name)

    def _refresh(self, name: str) -> None:
        if name in self._copies:
            ops.copy.cast(self.parameters[name], out=self._copies[name])

    def _changes(self, name: str) -> None:
        if self._constant is not None:
            self._constant.pop(name, None)

    def lend(self, name: str) -> Array:
        """A parameter for others to write to at any time: from now on none is taken for constant."""
        self._constant = None
        return self.parameters[name]

    def weight(self, layer_name: str, keep: bool = False) -> Array:
        """A layer's weights as products take them, of the activations' dtype.

        With `keep` products may keep what they make of them, as panels on the CPU, until they change.
        """
        name = f"{layer_name}.weight"
        weight = self._copies.get(name, self.parameters[name])
        if not keep or self._constant is None:
            return weight
        if name not in self._constant:
            self._constant[name] = constant(weight)
        return self._constant[name]

    def update(self, update: Update, gradient_scale: float) -> None:
        """Update the parameters from their gradients."""
        with self.device.active():
            for name in (name for name in self.parameters if update.rate(layer_of(name))):
                ops.sgd.update(self.sgd(name, update, gradient_scale), self.gradients[name])

    def sgd(self, name: str, update: Update, gradient_scale: float) -> SgdParams:
        """The update of one parameter, which is about to change."""
        self._changes(name)
        bias = name.endswith(".bias")
        return SgdParams(
            self.parameters[name],
            self.velocity[name],
            self.learning_rate,
            update.momentum,
            0.0 if bias else update.weight_decay,
            update.rate(layer_of(name)) * (update.bias_rate if bias else 1.0),
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
        flat, last = self._buffers.get(name, (None, None))
        if last is not None and last.shape == shape and last.dtype == dtype:
            return last
        size = math.prod(shape)
        if flat is None or flat.size < size or flat.dtype != dtype:
            self._buffers.pop(name, None)
            del flat, last  # give the old one back before asking for the new one
            flat = self.device.empty((size,), dtype)
        last = flat[:size].reshape(shape)
        self._buffers[name] = flat, last
        return last

    def held(self) -> list[Array]:
        """All arrays of this tower, without its device's workspace."""
        kinds = (self.parameters, self.gradients, self.velocity, self._copies)
        return [array for kind in kinds for array in kind.values()] + [flat for flat, _ in self._buffers.values()]

    # --- the other tower's half

    def wait(self, arrival: Arrival) -> Array:
        """The other tower's half, which the kernels from now on find complete."""
        self.device.wait(arrival.event)
        return arrival.array

    def join(self, whole: Array, half: Array, arrival: Arrival) -> None:
        """Put this tower's half and the other's side by side."""
        (lo, hi), (first, last) = self.channels(whole.shape[-1]), self.other_channels(whole.shape[-1])
        ops.copy.cast(half, out=whole[..., lo:hi])
        ops.copy.cast(self.wait(arrival), out=whole[..., first:last])
