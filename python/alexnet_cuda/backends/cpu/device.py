"""The CPU as a device that a tower can live on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class CpuDevice:
    """Main memory. The methods are what every device offers to `alexnet_cuda.towers.Tower`."""

    name = "cpu"
    precisions = ("float32", "float64")

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An uninitialised array on this device."""
        return np.empty(shape, dtype)

    def upload(self, array: Array) -> Array:
        """A host array on this device."""
        return array

    def download(self, array: Array) -> Array:
        """An array of this device on the host."""
        return array

    def copy_from(self, target: Array, source: Array) -> None:
        """Copy an array of any device of this kind into one of this device."""
        np.copyto(target, source)
