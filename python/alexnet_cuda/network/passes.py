"""The passes through the network: every stage on every tower, and the exchanges between."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..config import Config
from .inputs import label_buffer
from .link import Link
from .plan import Plan
from .result import StepResult
from .stages import Stage, fuse
from .tower import Array, Arrival, Pass, Tower


class Network:
    """The towers, the link between them, and the stages they go through.

    Parameters
    ----------
    config : Config
    plan : Plan
    devices : list of devices
        One a tower.
    """

    def __init__(self, config: Config, plan: Plan, devices: list[Any]) -> None:
        self._config = config
        self.stages = fuse(plan, len(devices))
        self.towers = [Tower(config, plan, i, len(devices), device) for i, device in enumerate(devices)]
        self.link = Link(self.towers) if len(devices) == 2 else None

    def forward(self, halves: list[Array], run: Pass) -> list[Array]:
        """The logits [N, num_classes], whole on every tower, from each tower's input."""
        if self.link:
            self.link.begin()
        for number, stage in enumerate(self.stages):
            arrivals = self._exchange(stage, stage.name, halves)
            each = zip(self.towers, halves, arrivals, strict=True)
            halves = [tower.forward(number, stage, x, arrival, run) for tower, x, arrival in each]
        if self.link is None:
            return halves
        arrived = self.link.exchange("logits", halves)
        whole = [self._logits(tower, len(halves[0])) for tower in self.towers]
        for tower, logits, half, arrival in zip(self.towers, whole, halves, arrived, strict=True):
            with tower.device.active():
                tower.join(logits, half, arrival)
        return whole

    def _exchange(self, stage: Stage, name: str, halves: list[Array]) -> list[Arrival] | list[None]:
        return self.link.exchange(name, halves) if self.link and stage.crosses else [None] * len(halves)

    def _logits(self, tower: Tower, batch: int) -> Array:
        name = "fc8" if self.link is None else "logits"
        return tower.buffer(name, (batch, self._config.num_classes), tower.sums)

    def backward(self, batch: int, run: Pass) -> None:
        """After `forward` on so many images: losses, and the gradients, or updates, of all parameters."""
        halves = [self._loss(tower, batch, run) for tower in self.towers]
        for number in reversed(range(len(self.stages))):
            stage = self.stages[number]
            lent: list[Array] = []
            if stage.crosses:
                lent = [tower.backward_lent(stage, dy) for tower, dy in zip(self.towers, halves, strict=True)]
            arrivals = self._exchange(stage, f"{stage.name}.gradient", lent or halves)
            each = zip(self.towers, halves, arrivals, strict=True)
            halves = [tower.backward(number, stage, dy, arrival, run) for tower, dy, arrival in each]
            before = self.stages[number - 1]
            if number and before.step.activation != "none" and not stage.undoes_relu:
                for tower, dy in zip(self.towers, halves, strict=True):
                    tower.activation_backward(before, dy)

    def _loss(self, tower: Tower, batch: int, run: Pass) -> Array:
        """Each image's loss and correctness, into buffers; returns the gradient of the tower's own logits."""
        lo, hi = tower.channels(self._config.num_classes)
        half = tower.buffer("dlogits", (batch, hi - lo))
        loss, correct = self._loss_buffers(tower, batch)
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

    def logits(self, batch: int) -> Array:
        """What `forward` gave for so many images, on the host."""
        tower = self.towers[0]
        logits: Array = tower.device.download(self._logits(tower, batch))
        return logits

    @staticmethod
    def _loss_buffers(tower: Tower, batch: int) -> tuple[Array, Array]:
        return tower.buffer("loss", (batch,), tower.sums), tower.buffer("correct", (batch,), np.bool_)

    def result(self, batch: int) -> StepResult:
        """What `backward` saw, on its way to the host."""
        tower = self.towers[0]
        return StepResult(tower.device.fetch(self._loss_buffers(tower, batch)))
