"""Parameters, gradients and momentum of a model as users see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.turns import Turns
from .checks import check_tensors
from .tower import Tower

Array = npt.NDArray[Any]


class Tensors(Mapping[str, Array]):
    """Whole logical tensors by name, copied to the host from the towers when asked for.

    The copies are read-only: what was written into one would be lost. Pickled, or copied, it is a plain dictionary.
    """

    def __init__(self, towers: list[Tower], kind: str, turns: Turns, scale: Callable[[], float] = lambda: 1.0) -> None:
        self._towers, self._kind, self._turns, self._scale = towers, kind, turns, scale

    def __getitem__(self, name: str) -> Array:
        with self._turns.take("read"):
            parts = [tower.device.download(getattr(tower, self._kind)[name]) for tower in self._towers]
            scale = self._scale()  # of the last backward pass, whenever this mapping was asked for
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if scale != 1.0:
            whole = whole * whole.dtype.type(scale)
        whole.flags.writeable = False
        return whole

    def replace(self, mapping: Mapping[str, Array]) -> None:
        """Set them all, or none where a name, shape or type is wrong; see `Model.set_parameters`."""
        arrays = check_tensors(self._kind, mapping, self._towers[0].plan.parameter_shapes())
        with self._turns.take("write"):
            for tower in self._towers:
                if self._kind == "velocity":
                    tower.start_training(gradients=False)
                for name, array in arrays.items():
                    tower.assign(self._kind, name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        with self._turns.take("read"):
            return dict, (dict(self),)

    def __iter__(self) -> Iterator[str]:
        return iter(list(getattr(self._towers[0], self._kind)))  # another thread's first step makes them

    def __len__(self) -> int:
        return len(getattr(self._towers[0], self._kind))
