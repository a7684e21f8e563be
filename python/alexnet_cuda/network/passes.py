"""The passes through the network: every stage on every tower, and the exchanges between."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..backends.protocol import Device
from ..base.array import DeviceMemoryError
from ..base.params import Views
from ..base.precision import loss_scale
from ..config import Config
from . import layers
from .inputs import Inputs, label_buffer
from .link import Link
from .memory import advice
from .plan import Plan
from .result import StepResult, split
from .stages import Stage, fuse
from .tower import Array, Arrival, Pass, Tower, Update


class Network:
    """The towers, the link between them, and the stages they go through.

    Every pass raises a MemoryError that says which batch would fit where one does not.

    Parameters
    ----------
    config : Config
    plan : Plan
    devices : sequence of Device
        One a tower.

    Attributes
    ----------
    inputs : Inputs
    gradient_scale : float
        What the gradients of the last pass are to be multiplied by.
    """

    def __init__(self, config: Config, plan: Plan, devices: Sequence[Device]) -> None:
        self._config, self._plan = config, plan
        self.stages = fuse(plan, len(devices))
        self.towers = [Tower(config, plan, i, len(devices), device) for i, device in enumerate(devices)]
        self.link = Link(self.towers) if len(devices) == 2 else None
        self.inputs = Inputs(config, self.towers)
        self.gradient_scale = 1.0
        self._device, self._others = devices[0], tuple(devices[1:])
        # By images, the arrays made when a training step on them had all its memory: a later one may replace some.
        self._preallocated: dict[tuple[Any, ...], list[int]] = {}

    def forward(self, images: Array, chosen: Views | None, step: int, train: bool) -> Array:
        """The logits [N, num_classes] on the host; with `train` `backward` may follow."""
        try:
            with self._device.active():
                halves, run = self.inputs.load(images, chosen, step), Pass(train)
                if train:
                    self._forward(halves, run)
                else:
                    self._device.run(("forward", len(images)), partial(self._forward, halves, run), *self._others)
                logits: Array = self._device.download(self._logits(self.towers[0], len(images)))
                return logits
        except DeviceMemoryError as error:
            raise self._too_large(images.shape, images.dtype.name, train) from error

    def features(self, images: Array, wanted: Collection[str]) -> dict[str, Array]:
        """The outputs [N, ...] of these steps of the plan at test, whole and on the host; the pass ends at the last."""
        found: dict[str, Array] = {}
        try:
            with self._device.active():
                halves = self.inputs.load(images, None, 0)
                for stage, outputs in self._outputs(fuse(self._plan, len(self.towers), wanted), halves, Pass(False)):
                    if names := [name for name in stage.ends if name in wanted]:
                        parts = [tower.device.download(x) for tower, x in zip(self.towers, outputs, strict=True)]
                        whole = np.concatenate(parts, axis=-1).astype(self.towers[0].accumulator)
                        found |= dict.fromkeys(names, whole)
                    if len(found) == len(wanted):
                        break
        except DeviceMemoryError as error:
            raise self._too_large(images.shape, images.dtype.name, False) from error
        return found

    def backward(self, shape: tuple[int, ...]) -> StepResult:
        """The gradients of all parameters, after `forward` of images [N, H, W, 3] and `Inputs.load_labels`."""
        try:
            with self._device.active():
                for tower in self.towers:
                    tower.start_training(gradients=True)
                self._backward(shape[0], self._training_pass(shape[0], None))
                return self._result(shape[0])
        except DeviceMemoryError as error:
            raise self._too_large(shape, "uint8", True) from error

    def train_step(
        self, images: Array, labels: Array, chosen: Views | None, step: int, learning_rate: float, update: Update
    ) -> StepResult:
        """Forward, backward and update."""
        run = self._training_pass(len(images), update)
        try:
            with self._device.active():
                for tower in self.towers:
                    tower.start_training(gradients=False)
                self._preallocate(images, chosen, labels, run)
                halves = self.inputs.load(images, chosen, step, labels, learning_rate)
                key = ("train_step", len(images), update)
                self._device.run(key, partial(self._step, halves, run), *self._others)
                return self._result(len(images))
        except DeviceMemoryError as error:
            raise self._too_large(images.shape, images.dtype.name, True) from error

    def _training_pass(self, batch: int, update: Update | None) -> Pass:
        self.gradient_scale = 1.0 / loss_scale(self._config.precision, batch)
        run = Pass(True, self.gradient_scale, update)
        learning = (n for n, stage in enumerate(self.stages) if stage.step.weight_shape and run.trains(stage.name))
        return run._replace(lowest=next(learning))

    def _preallocate(self, images: Array, chosen: Views | None, labels: Array, run: Pass) -> None:
        """Make all arrays of a step before its work begins: half done, it would leave half of the weights updated."""
        key = (images.shape, images.dtype, run.update and run.update.rates)  # what is frozen takes less
        if self._preallocated.get(key) == self._allocations():
            return
        with ExitStack() as devices:
            for tower in self.towers:
                devices.enter_context(tower.device.preallocation())
            self._step(self.inputs.load(images, chosen, 0, labels), run)
        self._preallocated[key] = self._allocations()

    def _allocations(self) -> list[int]:
        return [tower.device.allocations for tower in self.towers]

    def _too_large(self, shape: tuple[int, ...], dtype: str, train: bool) -> MemoryError:
        return MemoryError(advice(type(self), self._config, self.towers, tuple(shape), dtype, train))

    def _step(self, halves: list[Array], run: Pass) -> None:
        self._forward(halves, run)
        self._backward(len(halves[0]), run)

    def _forward(self, halves: list[Array], run: Pass) -> None:
        """The logits [N, num_classes], whole on every tower, from each tower's input."""
        for _, half in self._outputs(self.stages, halves, run):
            halves = half
        if self.link is None:
            return
        arrived = self.link.exchange("logits", halves)
        for tower, half, arrival in zip(self.towers, halves, arrived, strict=True):
            with tower.device.active():
                tower.join(self._logits(tower, len(half)), half, arrival)

    def _outputs(self, stages: Sequence[Stage], halves: list[Array], run: Pass) -> Iterator[tuple[Stage, list[Array]]]:
        """Each stage with each tower's channels of its output, good until the next one is asked for."""
        if self.link is not None:
            self.link.begin()
        for number, stage in enumerate(stages):
            arrivals = self._exchange(stage, stage.name, halves)
            each = zip(self.towers, halves, arrivals, strict=True)
            halves = [layers.forward(tower, number, stage, x, arrival, run) for tower, x, arrival in each]
            yield stage, halves

    def _exchange(self, stage: Stage, name: str, halves: list[Array]) -> list[Arrival] | list[None]:
        return self.link.exchange(name, halves) if self.link and stage.crosses else [None] * len(halves)

    def _logits(self, tower: Tower, batch: int) -> Array:
        name = self.stages[-1].name if self.link is None else "logits"
        return tower.buffer(name, (batch, self._config.num_classes), tower.accumulator)

    def _backward(self, batch: int, run: Pass) -> None:
        """After `_forward` on so many images: losses, and the gradients, or updates, of the parameters that learn."""
        halves = [self._loss(tower, batch, run) for tower in self.towers]
        for number in reversed(range(run.lowest, len(self.stages))):
            stage, last = self.stages[number], number == run.lowest
            arrivals: list[Arrival] | list[None] = [None] * len(halves)
            if stage.crosses and not last:
                remote = [
                    layers.backward_remote(tower, stage, dy) for tower, dy in zip(self.towers, halves, strict=True)
                ]
                arrivals = self._exchange(stage, f"{stage.name}.gradient", remote)
            each = zip(self.towers, halves, arrivals, strict=True)
            halves = [layers.backward(tower, number, stage, dy, arrival, run) for tower, dy, arrival in each]
            before = self.stages[number - 1]
            if not last and before.activation != "none" and not stage.undoes_relu:
                for tower, dx in zip(self.towers, halves, strict=True):
                    layers.activation_backward(tower, before.activation, stage, dx)

    def _loss(self, tower: Tower, batch: int, run: Pass) -> Array:
        """Each image's loss and correctness, into buffers; returns the gradient of the tower's own logits."""
        lo, hi = tower.channels(self._config.num_classes)
        half = tower.buffer("dlogits", (batch, hi - lo))
        size = batch * (tower.accumulator.itemsize + 1)
        loss, correct = split(tower.buffer("result", (size,), np.uint8), tower.accumulator)
        with tower.device.active():
            ops.softmax_cross_entropy.fprop(
                self._logits(tower, batch),
                label_buffer(tower, batch),
                scale=1.0 / (run.gradient_scale * batch),
                dlogits=half,
                first_column=lo,
                loss_out=loss,
                correct_out=correct,
            )
        return half

    def _result(self, batch: int) -> StepResult:
        """What `_backward` saw, on its way to the host."""
        tower = self.towers[0]
        size = batch * (tower.accumulator.itemsize + 1)
        return StepResult(tower.device.fetch(tower.buffer("result", (size,), np.uint8)), tower.accumulator)
