"""What is measured: cases, their tensors, and AlexNet's layers as the network's plan gives them. Needs no GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from alexnet_cuda.config import Config
from alexnet_cuda.network.plan import Plan, Step, build_plan

BATCHES = (128, 256, 1024)
PRECISIONS = ("bfloat16", "float16", "tf32", "float32")
# Of a 16-bit network's activations and weights; "tf32" is a way to multiply float32 numbers.
DTYPES = {"bfloat16": "bfloat16", "float16": "float16", "tf32": "float32", "float32": "float32"}
ITEMSIZE = {"bfloat16": 2, "float16": 2, "float32": 4, "uint8": 1, "bool": 1, "int64": 8}


@dataclass(frozen=True)
class Case:
    """One thing to measure: an operation and direction of a layer, at a batch size, in a precision."""

    op: str
    direction: str
    layer: str
    batch: int
    precision: str

    @property
    def key(self) -> str:
        """The name of the case in results, unique: ``conv2d.fprop/conv2/128/bfloat16``."""
        return f"{self.op}.{self.direction}/{self.layer}/{self.batch}/{self.precision}"

    @property
    def dtype(self) -> str:
        """Of activations and weights."""
        return DTYPES[self.precision]

    @classmethod
    def from_key(cls, key: str) -> Case:
        """The case of a `key`.

        Raises
        ------
        ValueError
            Text that is no key.
        """
        try:
            name, layer, batch, precision = key.split("/")
            op, direction = name.split(".")
            return cls(op, direction, layer, int(batch), precision)
        except ValueError as error:
            raise ValueError(f"expected op.direction/layer/batch/precision, got {key!r}") from error


@dataclass(frozen=True)
class Tensor:
    """A tensor of a case.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
    scale : int
        Random values are standard normal times ``2 ** scale``: a power of two changes no rounding.
    counted : bool
        Whether the operation must read or write it; what only an opponent needs, or the check, is not counted.
    rounded : str
        "tf32" or a 16-bit type that float32 values are rounded to, so that whoever multiplies or keeps them in that
        type loses nothing.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: int = 0
    counted: bool = True
    rounded: str = ""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.size * ITEMSIZE[self.dtype]


@dataclass(frozen=True)
class Tensors:
    """The tensors of a case by name.

    Attributes
    ----------
    inputs, outputs : dict
    updated : dict
        Read and written in place.
    kept : dict
        Written by a preparation and read by the operation: a pool's argmax.
    part_bytes : int
        Read of a tensor that is not counted itself.
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor] = field(default_factory=dict)
    updated: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    part_bytes: int = 0

    @property
    def floor_bytes(self) -> int:
        """What any implementation must move: each input once, each output once, what is updated twice."""
        once = [*self.inputs.values(), *self.outputs.values(), *self.kept.values()]
        whole = sum(t.nbytes for t in once if t.counted)
        return self.part_bytes + whole + 2 * sum(t.nbytes for t in self.updated.values())

    @property
    def resident_bytes(self) -> int:
        """What one set of the tensors takes of the device's memory."""
        return sum(t.nbytes for t in self.all().values())

    def all(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        return {**self.inputs, **self.outputs, **self.updated, **self.kept}


@dataclass(frozen=True)
class Conv:
    """The sizes of a convolution, one batch."""

    N: int
    H: int
    W: int
    C: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride: int
    padding: int
    groups: int

    @property
    def flops(self) -> int:
        """Of one direction: two a multiply-add."""
        return 2 * self.N * self.P * self.Q * self.K * self.R * self.S * (self.C // self.groups)


@lru_cache(maxsize=1)
def plan() -> Plan:
    """The network that is measured: the paper's."""
    return build_plan(Config())


def step(layer: str) -> Step:
    """The plan's step of a layer."""
    return next(s for s in plan().steps if s.name == layer)


def conv(case: Case) -> Conv:
    """The convolution of a case of `conv2d`."""
    s = step(case.layer)
    (h, w, c), (p, q, k) = s.input, s.output
    return Conv(case.batch, h, w, c, k, s.kernel, s.kernel, p, q, s.stride, s.padding, s.groups)


def layers(op: str) -> tuple[str, ...]:
    """The names of the plan's steps of an operation."""
    return tuple(s.name for s in plan().steps if s.op == op)


def as_json(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Shapes and dtypes, for results and tables."""
    return {name: [list(t.shape), t.dtype] for name, t in tensors.items()}
