"""How much memory a batch takes, found by going through a step without doing it."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backends.protocol import Device
from ..backends.simt.device import SimtDevice
from ..backends.simt.memory import SimtArray, as_simt_array
from ..config import Config
from .plan import Plan, build_plan
from .tower import Update

_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)  # Python 3.11


class PlanningDevice(SimtDevice):
    """A device that counts what is asked of it and does nothing; its arrays have addresses and no memory."""

    preallocating = True

    def _make(self, shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> SimtArray:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        # Pages that are never touched take no memory.
        pages = mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        return as_simt_array(pages, shape, dtype)

    def download(self, array: SimtArray) -> npt.NDArray[Any]:
        """Zeros."""
        return np.zeros(array.shape, array.dtype)

    def fetch(self, array: SimtArray) -> Callable[[], npt.NDArray[Any]]:
        """Zeros."""
        return lambda: self.download(array)


@lru_cache(maxsize=64)
def memory_needed(
    build: Callable[[Config, Plan, Sequence[Device]], Any],
    config: Config,
    towers: int,
    shape: tuple[int, ...],
    dtype: str,
    train: bool,
) -> int:
    """Bytes that the larger tower of the `Network` that `build` makes on given devices takes for a training step, or a
    forward pass, on images [N, H, W, 3]."""
    devices = [PlanningDevice(f"tower {i}") for i in range(towers)]
    network = build(config, build_plan(config), devices)
    images = np.broadcast_to(np.zeros((), np.uint8 if dtype == "uint8" else np.float32), shape)
    if train:
        network.train_step(images, np.zeros(shape[0], np.int64), None, 0, 0.0, Update(0.0, 0.0, 1.0))
    else:
        network.forward(images, None, 0, False)
    return max(device.allocated_bytes for device in devices)


def advice(
    build: Callable[[Config, Plan, Sequence[Device]], Any],
    config: Config,
    towers: Sequence[Any],
    shape: tuple[int, ...],
    dtype: str,
    train: bool,
) -> str:
    """What to say when a batch does not fit: what it needs, what there is, and the largest batch that fits."""
    what = f"{'training on' if train else 'a forward pass on'} a batch of {shape[0]}"
    if all(t.device.memory() is None for t in towers):
        return f"{what} needs more memory than the system gives this process; try a smaller batch"
    tower = min(towers, key=lambda t: (t.device.memory() or (1 << 62, 0))[0])
    free, total = tower.device.memory() or (0, 0)
    held = sum(array.nbytes for array in tower.held())
    batch, available = shape[0], free + held

    def needed(images: int) -> int:
        return memory_needed(build, config, len(towers), (images, *shape[1:]), dtype, train)

    low, high = 0, batch
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= available else (low, middle)
    fits = f"a batch of {low} would fit" if low else "not even one image would fit"
    if needed(batch) <= available:
        fits = "that would fit, but lies in pieces that are too small: begin anew with a smaller batch"
    return (
        f"{what} needs {_amount(needed(batch))} on {tower.device.name}, of whose {_amount(total)} "
        f"there are {_amount(available)} for this model; {fits}"
    )


def _amount(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
