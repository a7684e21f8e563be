"""The backends and precisions that every operation is tested on; the fixtures are in conftest.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Backend:
    """Where operations run: how arrays get there and back, and which precisions it offers."""

    name: str
    precisions: tuple[str, ...]
    to_device: Callable[[Array], Any]
    to_host: Callable[[Any], Array]

    def poisoned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """An array to write to, full of NaN (of 255, if it holds bytes), so that what is left unwritten shows."""
        dtype = np.dtype(dtype)
        return self.to_device(np.full(shape, 255 if dtype.kind == "u" else np.nan, dtype))


def _copy(array: Array) -> Array:
    return np.array(array, order="C")


BACKENDS = {
    # float64 is the reference itself; it is held against loops and differences in the tests named "reference".
    "cpu": Backend("cpu", ("float32",), _copy, np.asarray),
}
