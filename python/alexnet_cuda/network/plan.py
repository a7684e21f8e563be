"""The plan of a network as data: its steps, their shapes, and what crosses between two towers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from ..base.windows import Padding, count, sides
from ..config import NORMALISED, NORMALISED_WITHIN, POOLED, SPLIT, Config

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One operation of the network. All shapes are logical: of the whole network, per image, NHWC without N.

    Attributes
    ----------
    name : str
        ``conv1``, ``lrn1``, ``pool1``, ..., ``fc6``, ``dropout6``, ..., ``fc8``.
    op : str
        ``conv2d``, ``lrn``, ``map_lrn``, ``max_pool``, ``avg_pool``, ``linear`` or ``dropout``; of fc6 and fc7 without
        links ``conv2d``, whose filter is as large as the image.
    input, output : tuple of int
        ``(height, width, channels)``, or ``(features,)``.
    groups : int
        Independent blocks of channels: a convolution's groups, or how many windows LRN keeps apart.
    crosses : bool
        Whether with two towers each one needs the other's half of the input.
    activation : str
        ``relu``, ``tanh``, ``logistic`` or ``none``, applied to the output of a convolution, FC layer or pool.
    kernel, stride, padding, ceil_mode : int, int, Padding, bool
        Of a convolution or pool, as the operations take them.
    index : int
        The layer's number, 1 to 8.
    init_std, init_bias : float
        Of the published initial parameters; see `Config`.
    """

    name: str
    op: str
    input: Shape
    output: Shape
    index: int
    groups: int = 1
    crosses: bool = False
    activation: str = "none"
    kernel: int = 0
    stride: int = 1
    padding: Padding = 0
    ceil_mode: bool = False
    init_std: float = 0.0
    init_bias: float = 0.0

    @property
    def makes_logits(self) -> bool:
        """Whether it is the network's last layer."""
        return self.op == "linear" and self.activation == "none"

    @property
    def weight_shape(self) -> Shape:
        """[K, R, S, C / groups] of a convolution, [out, in] of an FC layer, () of anything else."""
        if self.op == "conv2d":
            return (self.output[-1], self.kernel, self.kernel, self.input[-1] // self.groups)
        return (self.output[0], math.prod(self.input)) if self.op == "linear" else ()

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return math.prod(self.weight_shape) + self.output[-1] if self.weight_shape else 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the forward pass of one image, in convolutions and FC layers."""
        return math.prod(self.output[:-1]) * math.prod(self.weight_shape) if self.weight_shape else 0


@dataclass(frozen=True)
class Exchange:
    """What crosses between two towers: ``floats`` numbers an image in each direction, before step ``before``."""

    before: str
    floats: int


@dataclass(frozen=True)
class Plan:
    """The steps in order, and the exchanges that two towers make."""

    steps: tuple[Step, ...]
    exchanges: tuple[Exchange, ...]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The steps that have parameters, conv1 to fc8."""
        return tuple(step.name for step in self.steps if step.weight_shape)

    def parameter_shapes(self) -> dict[str, Shape]:
        """Name to shape of every logical parameter tensor, in order: ``conv1.weight``, ``conv1.bias``, ..."""
        shapes: dict[str, Shape] = {}
        for step in self.steps:
            if step.weight_shape:
                shapes[f"{step.name}.weight"] = step.weight_shape
                shapes[f"{step.name}.bias"] = (step.output[-1],)
        return shapes

    def tower_parameter_shapes(self, tower: int, towers: int) -> dict[str, Shape]:
        """Like `parameter_shapes`, of what one tower holds: its rows of every tensor."""
        held: dict[str, Shape] = {}
        for name, shape in self.parameter_shapes().items():
            lo, hi = share(shape[0], tower, towers)
            held[name] = (hi - lo, *shape[1:])
        return held


def layer_of(parameter: str) -> str:
    """The step that a parameter belongs to."""
    return parameter.rpartition(".")[0]


def share(n: int, tower: int, towers: int) -> tuple[int, int]:
    """The half-open range of `n` channels that a tower owns; the first tower takes the odd one."""
    return -(-n * tower // towers), -(-n * (tower + 1) // towers)


class _Builder:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.shape: Shape = (config.padded_size, config.padded_size, 3)
        self.steps: list[Step] = []

    def add(self, name: str, op: str, index: int, output: Shape, **fields: object) -> None:
        step = Step(name, op, self.shape, output, index)
        self.steps.append(dataclasses.replace(step, **fields))  # type: ignore[arg-type]
        self.shape = output

    def spatial(self, kernel: int, stride: int, padding: Padding, name: str, ceil_mode: bool = False) -> Shape:
        output = tuple(count(self.shape[i], kernel, stride, sides(padding)[i], ceil_mode) for i in (0, 1))
        if min(output) < 1:
            least = kernel - min(map(sum, sides(padding)))
            raise ValueError(f"{name} needs an input of at least {least} pixels a side, it has {self.shape[0]}")
        return output

    def conv(self, i: int) -> None:
        c = self.config
        kernel, stride, padding = c.conv_kernels[i], c.conv_strides[i], c.conv_paddings[i]
        groups = c.groups if i in SPLIT or (i > 0 and not c.links) else 1
        name = f"conv{i + 1}"
        output = (*self.spatial(kernel, stride, padding, name), c.conv_widths[i])
        self.add(
            name,
            "conv2d",
            i + 1,
            output,
            groups=groups,
            crosses=i > 0 and groups == 1,
            activation="none" if i + 1 in c.activation_after_pool else c.activation,
            kernel=kernel,
            stride=stride,
            padding=padding,
            init_std=c.conv_init_std[i],
            init_bias=c.bias_init if i in SPLIT else 0.0,
        )

    def lrn(self, i: int) -> None:
        groups = self.config.groups if self.config.lrn_window == "tower" else 1
        self.add(f"lrn{i + 1}", "lrn", i + 1, self.shape, groups=groups, crosses=groups == 1)
        if self.config.map_lrn_size and i in NORMALISED_WITHIN:
            self.add(f"map_lrn{i + 1}", "map_lrn", i + 1, self.shape)

    def pool(self, i: int) -> None:
        c = self.config
        output = (*self.spatial(c.pool_size, c.pool_stride, 0, f"pool{i + 1}", c.pool_ceil), self.shape[-1])
        self.add(
            f"pool{i + 1}",
            "max_pool" if c.pool == "max" else "avg_pool",
            i + 1,
            output,
            activation=c.activation if i + 1 in c.activation_after_pool else "none",
            kernel=c.pool_size,
            stride=c.pool_stride,
            ceil_mode=c.pool_ceil,
        )

    def dropout(self, index: int) -> None:
        if self.config.dropout > 0:
            self.add(f"dropout{index}", "dropout", index, self.shape)

    def linear(self, i: int) -> None:
        c = self.config
        hidden = i < len(c.fc_widths)
        width = c.fc_widths[i] if hidden else c.num_classes
        fields: dict[str, Any] = {
            "activation": c.activation if hidden else "none",
            "init_std": c.fc_init_std[i],
            "init_bias": c.bias_init if hidden else 0.0,
        }
        if hidden and not c.links:  # in groups, which convolutions have
            fields |= {"groups": c.groups, "kernel": self.shape[0]}
            self.add(f"fc{i + 6}", "conv2d", i + 6, (1, 1, width), **fields)
        else:
            self.add(f"fc{i + 6}", "linear", i + 6, (width,), crosses=True, **fields)


def _steps(config: Config) -> tuple[Step, ...]:
    b = _Builder(config)
    for i in range(len(config.conv_widths)):
        b.conv(i)
        normalised = config.lrn and i in NORMALISED
        if normalised and config.lrn_before_pool:
            b.lrn(i)
        if i in POOLED:
            b.pool(i)
        if normalised and not config.lrn_before_pool:
            b.lrn(i)
    for i in range(len(config.fc_widths)):
        if config.dropout_before:
            b.dropout(i + 6)
        b.linear(i)
        if not config.dropout_before:
            b.dropout(i + 6)
    b.linear(len(config.fc_widths))
    return tuple(b.steps)


@lru_cache(maxsize=32)
def build_plan(config: Config) -> Plan:
    """The plan of a configuration.

    Raises
    ------
    ValueError
        An image that some layer would reduce to nothing.
    """
    steps = _steps(config)
    exchanges = [Exchange(s.name, math.prod(s.input) // 2) for s in steps if s.crosses]
    exchanges.append(Exchange("logits", config.num_classes // 2))
    return Plan(steps, tuple(exchanges))
