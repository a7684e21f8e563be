"""Parameters, gradients and momentum of a model as users see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .towers import Tower

Array = npt.NDArray[Any]


class Tensors(Mapping[str, Array]):
    """Whole logical tensors by name, copied to the host from the towers when asked for."""

    def __init__(self, towers: list[Tower], kind: str, scale: Callable[[], float] = lambda: 1.0) -> None:
        self._towers, self._kind, self._scale = towers, kind, scale

    def __getitem__(self, name: str) -> Array:
        parts = [tower.device.download(getattr(tower, self._kind)[name]) for tower in self._towers]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        scale = self._scale()  # of the last backward pass, whenever this mapping was asked for
        return whole if scale == 1.0 else whole * whole.dtype.type(scale)

    def __iter__(self) -> Iterator[str]:
        return iter(getattr(self._towers[0], self._kind))

    def __len__(self) -> int:
        return len(getattr(self._towers[0], self._kind))
