"""The CPU executor as a device that a tower can live on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .array import SimtArray, array, empty

Array = npt.NDArray[Any]


class SimtDevice:
    """Guarded main memory, on which the CUDA kernels run; see `CpuDevice` for the methods."""

    name = "simt"
    precisions = ("float32",)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> SimtArray:
        """An array of poison on this device."""
        return empty(shape, dtype)

    def upload(self, values: Array) -> SimtArray:
        """A host array on this device."""
        return array(values)

    def download(self, values: Array) -> Array:
        """An array of this device on the host: a copy."""
        return np.array(values, subok=False)

    def copy_from(self, target: Array, source: Array) -> None:
        """Copy an array of this kind into another."""
        np.copyto(target, source)
