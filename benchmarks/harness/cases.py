"""What is measured: cases, their tensors, and the random numbers in these. Needs no GPU.

A tensor is never generated whole on the host. Element i of the tensor `name` of set s is number
``(start(name, s) + i) mod PERIOD`` of one table, so a device fills it by copying the table, and the check on the host
knows any element. PERIOD is prime, so no row, image or filter repeats in step with another.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.ops.tolerance import PRECISIONS as FORMATS

from alexnet_cuda.config import Config
from alexnet_cuda.network.plan import Step, build_plan

Array = npt.NDArray[Any]
BATCHES = (128, 256, 1024)
# Of a 16-bit network's activations and weights; "tf32" is a way to multiply float32 numbers.
DTYPES = {"bfloat16": "bfloat16", "float16": "float16", "tf32": "float32", "float32": "float32"}
PRECISIONS = tuple(DTYPES)
CONFIG = Config()  # the network that is measured: the paper's
PLAN = build_plan(CONFIG)
PERIOD = 4194301  # the largest prime below 2**22
CLASSES = CONFIG.num_classes  # labels are below it


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

    @property
    def step(self) -> Step:
        """The layer in the network's plan."""
        return next(s for s in PLAN.steps if s.name == self.layer)

    @classmethod
    def from_key(cls, key: str) -> Case:
        """The case of a `key`; ValueError where the text is none."""
        try:
            name, layer, batch, precision = key.split("/")
            op, direction = name.split(".")
            return cls(op, direction, layer, int(batch), precision)
        except ValueError as error:
            raise ValueError(f"expected op.direction/layer/batch/precision, got {key!r}") from error


@dataclass(frozen=True)
class Tensor:
    """A tensor of a case. Its random numbers are standard normal times ``2 ** scale``, which changes no rounding."""

    axes: str  # a letter for each extent, so that tensors of a case are cut alike; "c" is C within a group
    shape: tuple[int, ...]
    dtype: str
    role: str = "input"  # "output"; "updated": read and written; "kept": a preparation's result that is read
    scale: int = 0
    rounded: str = ""  # precision that float32 values are rounded to, so that whoever multiplies in it loses nothing
    needed: int | None = None  # bytes that any implementation must move, where these are not those of the tensor

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def moved(self) -> int:
        """Bytes that any implementation must move: once, or twice where they are updated."""
        return self.nbytes * (2 if self.role == "updated" else 1) if self.needed is None else self.needed


Tensors = dict[str, Tensor]


def layers(op: str) -> tuple[str, ...]:
    """The names of the plan's steps of an operation."""
    return tuple(s.name for s in PLAN.steps if s.op == op)


def of_role(tensors: Tensors, *roles: str) -> Tensors:
    """Those of some roles."""
    return {name: t for name, t in tensors.items() if t.role in roles}


@lru_cache(maxsize=8)
def table(dtype: str, scale: int, rounded: str) -> Array:
    """The numbers of a dtype, [PERIOD]: standard normal times ``2 ** scale``, perhaps rounded; any byte; a label."""
    rng = np.random.default_rng(20121203)
    if dtype in ("uint8", "int64"):
        return rng.integers(0, 256 if dtype == "uint8" else CLASSES, PERIOD, np.dtype(dtype))
    values = np.ldexp(rng.standard_normal(PERIOD, np.float32), scale)
    return FORMATS[rounded or dtype].array(values).astype(dtype)


def start(name: str, set_index: int) -> int:
    """Where in the table the tensor `name` of a set begins."""
    return (zlib.crc32(name.encode()) + 1000003 * set_index) % PERIOD


def numbers(name: str, tensor: Tensor, set_index: int = 0, at: Sequence[Array] | None = None) -> Array:
    """The random numbers of a tensor, or those at some indices along each of its axes."""
    at = at or [np.arange(extent) for extent in tensor.shape]
    rest = np.zeros((), np.int64)
    for extent, indices in zip(tensor.shape[1:], at[1:], strict=True):
        rest = rest[..., None] * extent + indices
    source = table(tensor.dtype, tensor.scale, tensor.rounded)
    out = np.empty((len(at[0]), *rest.shape), source.dtype)
    for i, first in enumerate(at[0] * math.prod(tensor.shape[1:]) + start(name, set_index)):
        out[i] = source[(rest + first) % PERIOD]
    return out
