"""A batch on its way to the towers: images, labels, views, step and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from . import ops, views
from .backends.cpu.augment import Views
from .backends.kernels._runtime import array_kind
from .config import Config
from .layers.product import input_layout
from .towers import Tower

Array = Any

# Of DLPack's dlpack.h.
_DLPACK_HOSTS = (1, 3)  # kDLCPU, kDLCUDAHost
_DLPACK_CUDA = 2


def as_array(thing: Any) -> Array:
    """A NumPy or CuPy array of what a user gives: one of these, anything with DLPack, without a copy, or a sequence.

    Raises
    ------
    TypeError
        An array on a device that no backend knows, or of a dtype that NumPy has not.
    """
    if isinstance(thing, np.ndarray) or type(thing).__module__.partition(".")[0] == "cupy":
        return thing
    device = getattr(thing, "__dlpack_device__", None)
    if device is None:
        return np.asarray(thing)
    kind, number = map(int, device())
    if kind != _DLPACK_CUDA and kind not in _DLPACK_HOSTS:
        raise TypeError(f"expected an array on the host or on an NVIDIA GPU, got one on DLPack's device type {kind}")
    try:
        if kind in _DLPACK_HOSTS:
            return np.from_dlpack(thing)
        import cupy

        with cupy.cuda.Device(number):
            return cupy.from_dlpack(thing)
    except (BufferError, ImportError, RuntimeError, TypeError, ValueError) as error:
        # Of PyTorch: a tensor that requires its gradient, or of a dtype that the other side does not know.
        raise TypeError(f"cannot take the {type(thing).__name__} as an array: {error}") from error


class Inputs:
    """Brings batches to the towers; what differs from step to step lies in device memory in one block.

    Parameters
    ----------
    config : Config
    towers : list of Tower
    """

    def __init__(self, config: Config, towers: list[Tower]) -> None:
        self._config, self._towers = config, towers
        self._layouts = [input_layout(tower) for tower in towers]
        self._places: list[_Place | None] = [None for _ in towers]

    def load(
        self,
        images: Array,
        chosen: Views | None,
        step: int,
        labels: Array | None = None,
        learning_rate: float = 0.0,
    ) -> list[Array]:
        """Each tower's input of conv1, [N, size, size, 3] or folded as `input_layout` says.

        `chosen` are the views of uint8 images, None: the centre.
        """
        if images.dtype == np.uint8 and chosen is None:
            chosen = views.fixed_views(images.shape, self._config, "centre", False)
        on_host = labels if labels is not None and array_kind(labels) == "cpu" else None
        with self._towers[0].device.active():  # refuses, before anything is done, while somebody else records a graph
            block = self._pack(len(images), chosen, step, on_host, learning_rate)
        inputs: list[Array] = []
        for tower in self._towers:
            with (
                self._borrowed(tower, "images", images) as images_there,
                self._borrowed(tower, "labels", labels) as labels_there,
                tower.device.active(),
            ):
                place = self._place(tower, images)
                tower.device.upload(place.block, block)
                parts = place.parts
                tower.step_counter, tower.learning_rate = parts["step"], parts["learning_rate"]
                if labels_there is not None:
                    tower.device.copy(parts["labels"], labels_there)
                inputs.append(self._input(tower, images, images_there, place))
        return inputs

    def _place(self, tower: Tower, images: Array) -> _Place:
        """Where a tower's share of what comes with such images goes, the same from step to step."""
        key, place = (images.shape, images.dtype), self._places[tower.index]
        if place is not None and place.key == key and place.made == tower.device.allocations:
            return place
        self._places[tower.index] = place = None  # before other buffers are made: it holds the old ones
        c, layout, batch = self._config, self._layouts[tower.index], len(images)
        shape = (batch, c.image_size, c.image_size, 3) if layout is None else (batch, *layout.shape)
        block, x = tower.buffer("block", (_block_bytes(batch),), np.uint8), tower.buffer("input", shape)
        parts, augment = _parts(block, batch, tower.sums), None
        if images.dtype == np.uint8:
            chosen = Views(parts["top"], parts["left"], parts["mirrored"], parts["shift"])
            colours: dict[str, Any] = {"mean": c.mean, "std": c.std, "channel_order": c.channel_order}
            augment = ops.augment.prepare(images.shape, chosen, out=x, folded=layout, **colours)
        self._places[tower.index] = place = _Place(key, tower.device.allocations, block, parts, x, augment)
        return place

    def _pack(
        self, batch: int, chosen: Views | None, step: int, labels: Array | None, learning_rate: float
    ) -> npt.NDArray[np.uint8]:
        sums = self._towers[0].sums
        block = np.zeros(_block_bytes(batch), np.uint8)
        parts = _parts(block, batch, sums)
        parts["step"][0], parts["learning_rate"][0] = step, learning_rate
        if labels is not None:
            parts["labels"][...] = labels
        if chosen is not None:
            for name in ("top", "left", "shift", "mirrored"):
                parts[name][...] = getattr(chosen, name)
        return block

    def _input(self, tower: Tower, images: Array, there: Array | None, place: _Place) -> Array:
        """`there` are the images on the tower's device, None if they are on the host.

        They are read here alone: the result is the tower's own.
        """
        layout, x = self._layouts[tower.index], place.x
        if place.augment is not None:
            if there is None:
                there = tower.buffer("images", images.shape, np.uint8)
                tower.device.upload(there, np.ascontiguousarray(images))
            place.augment(there)
            return x
        if there is None or there.dtype != tower.dtype or not there.flags.c_contiguous or layout is None:
            x = x if layout is None else tower.buffer("unfolded", images.shape)
            if there is None:
                tower.device.upload(x, images)
            else:
                ops.copy.cast(there, out=x)
            there = x
        return there if layout is None else ops.conv2d.fold(there, layout, out=place.x)

    @contextmanager
    def _borrowed(self, tower: Tower, name: str, array: Array | None) -> Iterator[Array | None]:
        """An array of one of the towers' devices, on this one's, while the context lasts; None for one on the host.

        Not to be entered while a device is active: the tower's stream waits for the current one, its owner's, and that
        one, at the end, for what the tower still does with the array.
        """
        if array is None or array_kind(array) == "cpu":
            yield None
            return
        if (own := tower.device.adopt(array)) is not None:
            yield own
            tower.device.hand_back(own, tower.device.record())
            return
        for owner in self._towers:
            if (source := owner.device.adopt(array)) is not None:
                target = tower.buffer(f"{name}.received", array.shape, array.dtype)
                sent = owner.device.send(target, source, [owner.device.record(), tower.device.record()])
                owner.device.hand_back(source, sent)
                tower.device.wait(sent)
                yield target
                return
        where = " and ".join(t.device.name for t in self._towers)
        raise TypeError(f"{name} must be on the host or on {where}, got an array on {array.device}")

    def load_labels(self, labels: Array) -> None:
        """Labels alone, for the batch that was loaded last."""
        for tower in self._towers:
            target = label_buffer(tower, len(labels))
            with self._borrowed(tower, "labels", labels) as there, tower.device.active():
                if there is None:
                    tower.device.upload(target, labels)
                else:
                    tower.device.copy(target, there)

    def load_learning_rate(self, learning_rate: float) -> None:
        """The learning rate alone."""
        for tower in self._towers:
            with tower.device.active():
                tower.device.upload(tower.learning_rate, np.full(1, learning_rate, tower.sums))


@dataclass(frozen=True)
class _Place:
    """Where batches of a shape and dtype go: the block and its parts, the network's input, and what writes that.

    It is good until its tower's device has made another array than the `made` of then.
    """

    key: tuple[Any, ...]
    made: int
    block: Array
    parts: dict[str, Array]
    x: Array
    augment: Callable[[Array], None] | None  # of uint8 images


def label_buffer(tower: Tower, batch: int) -> Array:
    """Where a tower finds the labels [N], int64."""
    return _parts(tower.buffer("block", (_block_bytes(batch),), np.uint8), batch, tower.sums)["labels"]


@lru_cache(maxsize=64)
def _layout(batch: int, sums: Any) -> list[tuple[str, slice, np.dtype[Any], tuple[int, ...]]]:
    """Name, place, dtype and shape of the block's parts, the most aligned first; each of the scalars takes 8 bytes."""
    found: list[tuple[str, slice, np.dtype[Any], tuple[int, ...]]] = []
    offset = 0
    for name, kind, shape in (
        ("step", np.uint64, (1,)),
        ("learning_rate", sums, (1,)),
        ("labels", np.int64, (batch,)),
        ("top", np.int64, (batch,)),
        ("left", np.int64, (batch,)),
        ("shift", np.float32, (batch, 3)),
        ("mirrored", np.bool_, (batch,)),
    ):
        dtype = np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        found.append((name, slice(offset, offset + size), dtype, shape))
        offset += max(size, 8) if name == "learning_rate" else size
    return found


def _block_bytes(batch: int) -> int:
    return 16 + batch * (3 * 8 + 3 * 4 + 1)


def _parts(block: Array, batch: int, sums: Any) -> dict[str, Array]:
    return {name: block[place].view(dtype).reshape(shape) for name, place, dtype, shape in _layout(batch, sums)}
