"""Random numbers for inputs of any size: a prime number of them, read again and again from another place.

An input is never generated whole. Element i of the tensor `name` of set s is number ``(start(name, s) + i) mod PERIOD``
of one table, so a device fills it by copying the table, and the check on the host knows any element without holding
the tensor. PERIOD is prime, so no row, image or filter lines up with another.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from .cases import Tensor, Tensors

Array = npt.NDArray[Any]
PERIOD = 4194301  # the largest prime below 2**22
CLASSES = 1000  # labels are below it

_NUMPY = {"bfloat16": ml_dtypes.bfloat16}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name, bfloat16 included."""
    return np.dtype(_NUMPY.get(name, name))


def round_to_tf32(values: Array) -> Array:
    """float32 values to the 10 bits of mantissa that TF32 multiplies, to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32((1 << 12) - 1) + ((bits >> np.uint32(13)) & np.uint32(1))
    return ((bits + half) & ~np.uint32((1 << 13) - 1)).view(np.float32)


@lru_cache(maxsize=8)
def table(dtype: str, scale: int, rounded: str) -> Array:
    """The numbers of a dtype, [PERIOD]: standard normal times ``2 ** scale``, perhaps rounded; any byte; a label."""
    rng = np.random.default_rng(20121203)
    if dtype == "uint8":
        return rng.integers(0, 256, PERIOD, np.uint8)
    if dtype == "int64":
        return rng.integers(0, CLASSES, PERIOD, np.int64)
    values = np.ldexp(rng.standard_normal(PERIOD, np.float32), scale)
    if rounded == "tf32":
        return round_to_tf32(values)
    return values.astype(numpy_dtype(rounded or dtype)).astype(numpy_dtype(dtype))


def start(name: str, index: int) -> int:
    """Where in the table the tensor `name` of set `index` begins."""
    return (zlib.crc32(name.encode()) + 1000003 * index) % PERIOD


@dataclass(frozen=True)
class Values:
    """A tensor of random numbers that is not held in memory."""

    name: str
    tensor: Tensor
    set_index: int = 0

    @property
    def table(self) -> Array:
        """The numbers it repeats."""
        return table(self.tensor.dtype, self.tensor.scale, self.tensor.rounded)

    @property
    def start(self) -> int:
        """Where in the table it begins."""
        return start(self.name, self.set_index)

    def at(self, *index: Any) -> Array:
        """The elements at these coordinates, which broadcast against each other, in float64."""
        flat = np.ravel_multi_index(np.broadcast_arrays(*index), self.tensor.shape)
        return self.table[(self.start + flat) % PERIOD].astype(np.float64)

    def array(self) -> Array:
        """The whole tensor."""
        return self.table[(self.start + np.arange(self.tensor.size)) % PERIOD].reshape(self.tensor.shape)


def values_of(tensors: Tensors, set_index: int = 0) -> dict[str, Values]:
    """The random numbers of every tensor that an operation reads."""
    read = {**tensors.inputs, **tensors.updated}
    return {name: Values(name, tensor, set_index) for name, tensor in read.items()}
