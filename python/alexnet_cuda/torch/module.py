"""A model's network as a module of PyTorch, on the model's own weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..base.philox import Purpose
from ..model import Model
from ..network.layers.lrn import parameters
from ..network.layers.max_pool import window
from ..network.stages import Stage, fuse
from . import functional, operators


def as_module(model: Model) -> SharedModel:
    """The network of a model as an `nn.Module` whose parameters are the model's own memory.

    What an optimiser of PyTorch does to one is done to the other, and what `train_step`, `sgd_step` or `set_parameters`
    do as well. `module.to(...)` and copies of the module part from it.

    Parameters
    ----------
    model : Model
        One tower, on the CPU or a GPU, in float32, tf32 or float64. On a GPU the two run in streams of their own: wait
        (``torch.cuda.synchronize()``) between what one and what the other does.

    Returns
    -------
    SharedModel
        Takes images [N, 3, size, size], preprocessed as for `Model.forward`; gives logits [N, num_classes].

    Raises
    ------
    ValueError
        Two towers, each of which has half of the weights; 16 bits, where a model keeps a copy that PyTorch would not
        update; the CPU executor; what sets preset ``original`` apart.
    """
    c = model.config
    if len(model.towers) != 1:
        raise ValueError(f"as_module takes a model of one tower, got one on {' and '.join(model.devices)}")
    if model.towers[0].dtype.itemsize == 2:
        raise ValueError(f"as_module takes float32, tf32 or float64, got {c.precision}; 16 bits come by torch.autocast")
    if model.towers[0].device.kind == "simt":
        raise ValueError("as_module takes a model on the CPU or a GPU, got one on 'simt'")
    if c.pad_to_stride or c.activation_after_pool or c.map_lrn_size or not c.dropout_scaled:
        raise ValueError(
            "as_module has no pad_to_stride, activation_after_pool or map_lrn_size (preset original), and its dropout "
            "scales in training"
        )
    return SharedModel(model)


class SharedModel(nn.Module):  # type: ignore[misc]
    """The layers of a model, by the names of its stages; see `as_module`.

    Attributes
    ----------
    step : int64 buffer of one element
        Forward passes in training so far, from the model's own step on; with the model's seed it keys dropout.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._stages = fuse(model.plan, 1)
        for stage in self._stages:
            self.add_module(stage.name, _Layer(model, stage))
        device = next(self.parameters()).device
        self.register_buffer("step", torch.full((1,), model.step, dtype=torch.int64, device=device))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x, step = images, operators.advance(self.step) if self.training else None
        for layer in self.children():
            x = layer(x, step)
        return x


class _Layer(nn.Module):  # type: ignore[misc]
    """A stage, with the tower's arrays as its parameters."""

    def __init__(self, model: Model, stage: Stage) -> None:
        super().__init__()
        self._stage, self._config, tower = stage, model.config, model.towers[0]
        self._precision = tower.precision
        self._lrn = parameters(tower, stage) if stage.step.op == "lrn" else None
        for kind in ("weight", "bias") if stage.step.weight_shape else ():
            shared = _tensor(tower.lend(f"{stage.name}.{kind}"))
            self.register_parameter(kind, nn.Parameter(shared.permute(0, 3, 1, 2) if shared.dim() == 4 else shared))

    def forward(self, x: Tensor, step: Tensor | None) -> Tensor:
        """The stage; `step` keys its dropout, None where there is none."""
        stage = self._stage
        if self._lrn is not None:
            if stage.pool is None:
                return functional.lrn(x, self._lrn)
            return functional.lrn_max_pool(x, self._lrn, **window(stage.pool))
        if stage.op == "max_pool":
            return functional.max_pool(x, **window(stage.step))
        if stage.op == "avg_pool":
            return nn.functional.avg_pool2d(x, stage.step.kernel, stage.step.stride)
        if stage.step.weight_shape:
            x = self._product(x)
        dropped = stage.step if stage.op == "dropout" else stage.dropout
        if dropped is None or step is None:
            return x
        purpose, rate = Purpose.DROPOUT + dropped.index, self._config.dropout
        return functional.dropout(x, rate, seed=self._config.seed, step=step, purpose=purpose)

    def _product(self, x: Tensor) -> Tensor:
        step = self._stage.step
        how: dict[str, Any] = {"activation": step.activation, "precision": self._precision}
        if step.op == "linear":
            rows = x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x  # as the columns of fc6's weights lie
            return functional.linear(rows, self.weight, self.bias, **how)
        geometry: dict[str, Any] = {"stride": step.stride, "padding": step.padding, "groups": step.groups}
        return functional.conv2d(x, self.weight, self.bias, **geometry, **how)


def _tensor(array: Any) -> Tensor:
    """A tensor on an array's memory."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else torch.from_dlpack(array)
