"""A batch on its way to the towers: images, labels, views, step and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import ops
from ..base.array import PinnedArray, array_kind, is_cupy, is_staged
from ..base.params import FoldedLayout, Views
from ..config import Config
from . import checks, views
from .layers.product import input_layout
from .tower import Tower

Array = Any

# Of DLPack's dlpack.h.
_DLPACK_HOSTS = (1, 3)  # kDLCPU, kDLCUDAHost
_DLPACK_CUDA = 2
_DLPACK_VERSION = (1, 0)  # which CuPy reads; from it on an array may be read-only
_LEGACY_STREAM, _PER_THREAD_STREAM = 1, 2  # CUDA's own streams, as the protocol names them


def as_array(thing: Any) -> Array:
    """A NumPy or CuPy array of what a user gives: one of these, anything with DLPack, without a copy, or a sequence.

    Raises
    ------
    TypeError
        An array on a device that no backend knows, or of a dtype that NumPy has not.
    """
    if _is_array(thing):
        return thing
    device = getattr(thing, "__dlpack_device__", None)
    if device is None:
        return np.asarray(thing)
    kind, number = map(int, device())
    if kind != _DLPACK_CUDA and kind not in _DLPACK_HOSTS:
        raise TypeError(f"expected an array on the host or on an NVIDIA GPU, got one on DLPack's device type {kind}")
    try:
        return np.from_dlpack(thing) if kind in _DLPACK_HOSTS else _from_gpu(thing, number)
    except (BufferError, ImportError, RuntimeError, TypeError, ValueError) as error:
        # Of PyTorch: a tensor that requires its gradient, or of a dtype that the other side does not know.
        raise TypeError(f"cannot take the {type(thing).__name__} as an array: {error}") from error


def _is_array(thing: Any) -> bool:
    return isinstance(thing, np.ndarray) or is_cupy(thing)


def _from_gpu(thing: Any, number: int) -> Array:
    """A CuPy array of what has DLPack: what its producer's stream had to do with it comes before CuPy's current stream.

    By the protocol the producer has the stream that it is told wait for its own.
    """
    import cupy

    with cupy.cuda.Device(number):
        current = cupy.cuda.get_current_stream()
        # The default stream of each thread (2) is one that producers need not know; PyTorch refuses it.
        told = cupy.cuda.Stream(non_blocking=True) if current.ptr == _PER_THREAD_STREAM else current
        try:
            capsule = thing.__dlpack__(stream=told.ptr or _LEGACY_STREAM, max_version=_DLPACK_VERSION)
        except TypeError:  # a producer from before DLPack 1.0
            capsule = thing.__dlpack__(stream=told.ptr or _LEGACY_STREAM)
        if told is not current:
            current.wait_event(told.record())
        return cupy.from_dlpack(capsule)


class Inputs:
    """Brings batches to the towers; what differs from step to step lies in device memory in one block.

    Parameters
    ----------
    config : Config
    towers : list of Tower
    """

    def __init__(self, config: Config, towers: list[Tower]) -> None:
        self._config, self._towers = config, towers
        self._arrivals = [_Arrivals(tower, towers) for tower in towers]
        self._layouts = [_image_layout(config, tower) for tower in towers]
        self._places: list[_Place | None] = [None for _ in towers]
        self._host_block: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._host_parts: dict[str, Array] = {}
        self._packed: Views | None = None  # whose values are on the device
        self._centre: tuple[tuple[int, ...], Views | None] = ((), None)  # shape of images, their views

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
            if self._centre[0] != images.shape:
                self._centre = images.shape, views.fixed_views(images.shape, self._config, "centre", False)
            chosen = self._centre[1]
        on_host = labels is not None and array_kind(labels) == "cpu"
        block = self._pack(len(images), chosen, step, labels if on_host else None, learning_rate)
        with self._towers[0].device.active():  # refuses, before anything is done, while somebody else records a graph
            given = {"images": self._staged(images)}
            if labels is not None and not on_host:
                given["labels"] = labels
            divisor = 1.0 if chosen is None else chosen.divisor
            return [self._load(tower, block, given, divisor) for tower in self._towers]

    def _load(self, tower: Tower, block: npt.NDArray[np.uint8], given: dict[str, Array], divisor: float) -> Array:
        with tower.device.active(), self._arrivals[tower.index].of(given) as on_device:
            place = self._place(tower, given["images"], divisor)
            tower.device.upload(place.block, block)
            tower.step_counter, tower.learning_rate = place.parts["step"], place.parts["learning_rate"]
            if "labels" in on_device:
                tower.device.copy(place.parts["labels"], on_device["labels"])
            return self._input(tower, on_device["images"], place)

    def prefetch(self, batches: Iterable[tuple[Any, ...]]) -> Generator[tuple[Any, ...]]:
        """See `alexnet_cuda.Model.prefetch`."""
        if self._towers[0].device.kind != "cuda":
            yield from batches
            return
        ready: tuple[Any, ...] | None = None
        with ThreadPoolExecutor(1, "alexnet-cuda-staging") as thread:
            for images, *others in batches:
                staging: Future[PinnedArray] | None = None
                if isinstance(images, np.ndarray) and not is_staged(images):
                    # The memory is made here: CUDA is left to the thread that trains, which records no graph now.
                    staging = thread.submit(self._check_and_fill, self._room_for(images), images)
                if ready is not None:
                    yield ready
                # Waited for before the next batch is taken: it may come in the same array.
                ready = (images if staging is None else staging.result(), *others)
            if ready is not None:
                yield ready

    def _check_and_fill(self, pinned: PinnedArray, images: Array) -> PinnedArray:
        return _fill(pinned, checks.check_images(images, self._config))

    def _staged(self, images: Array) -> Array:
        """Images on the host in pinned memory, once for all towers; others as they are."""
        device, dtype = self._towers[0].device, self._dtype_of(images)
        if device.kind == "cpu" or device.preallocating or array_kind(images) != "cpu":
            return images
        if is_staged(images) and images.dtype == dtype and images.flags.c_contiguous:
            return images
        return _fill(self._room_for(images), images)

    def _room_for(self, images: Array) -> PinnedArray:
        pinned: PinnedArray = self._towers[0].device.pinned(images.shape, self._dtype_of(images))
        return pinned

    def _dtype_of(self, images: Array) -> Any:
        """What images from the host are on a device."""
        return np.dtype(np.uint8) if images.dtype == np.uint8 else self._towers[0].dtype

    def _place(self, tower: Tower, images: Array, divisor: float) -> _Place:
        """Where a tower's share of what comes with such images goes, the same from step to step."""
        key, place = (images.shape, images.dtype, divisor), self._places[tower.index]
        if place is not None and place.key == key and place.made == tower.device.allocations:
            return place
        self._places[tower.index] = place = None  # before other buffers are made: it holds the old ones
        c, layout, batch = self._config, self._layouts[tower.index], len(images)
        shape = (batch, c.image_size, c.image_size, 3) if layout is None else (batch, *layout.shape)
        block, x = tower.buffer("block", (_block_bytes(batch),), np.uint8), tower.buffer("input", shape)
        parts, augment = _parts(block, batch, tower.accumulator), None
        if images.dtype == np.uint8:
            chosen = Views(parts["top"], parts["left"], parts["mirrored"], parts["shift"], divisor)
            colours: dict[str, Any] = {"mean": c.mean, "std": c.std, "channel_order": c.channel_order}
            augment = ops.augment.prepare(images.shape, chosen, out=x, folded=layout, **colours)
        self._places[tower.index] = place = _Place(key, tower.device.allocations, block, parts, x, augment)
        return place

    def _pack(
        self, batch: int, chosen: Views | None, step: int, labels: Array | None, learning_rate: float
    ) -> npt.NDArray[np.uint8]:
        if self._host_block.size != _block_bytes(batch):
            self._host_block, self._packed = np.zeros(_block_bytes(batch), np.uint8), None
            self._host_parts = _parts(self._host_block, batch, self._towers[0].accumulator)
        parts = self._host_parts
        parts["step"][0], parts["learning_rate"][0] = step, learning_rate
        if labels is not None:
            parts["labels"][...] = labels
        if chosen is not None and chosen is not self._packed:
            for name in ("top", "left", "shift", "mirrored"):
                parts[name][...] = getattr(chosen, name)
            self._packed = chosen
        return self._host_block

    def _input(self, tower: Tower, on_device: Array, place: _Place) -> Array:
        """From the images on the tower's device, which are read here alone: the result is the tower's own."""
        layout, x = self._layouts[tower.index], place.x
        if place.augment is not None:
            place.augment(on_device)
            return x
        if on_device.dtype != tower.dtype or not on_device.flags.c_contiguous or layout is None:
            on_device = ops.copy.cast(on_device, out=x if layout is None else tower.buffer("unfolded", on_device.shape))
        return on_device if layout is None else ops.conv2d.fold(on_device, layout, out=x)

    def wait_until_read(self, *given: Any) -> None:
        """Wait until the last batch was read if something of it came by DLPack.

        Its producer's streams are not known here, so none of them can be told to wait.
        """
        if any(not _is_array(thing) and hasattr(thing, "__dlpack_device__") for thing in given):
            for mark in (mark for arrivals in self._arrivals for mark in arrivals.marks):
                mark.synchronize()

    def load_labels(self, labels: Array) -> None:
        """Labels alone, for the batch that was loaded last."""
        on_host = array_kind(labels) == "cpu"
        given = {} if on_host else {"labels": labels}
        for tower in self._towers:
            target = label_buffer(tower, len(labels))
            with tower.device.active(), self._arrivals[tower.index].of(given) as on_device:
                if on_host:
                    tower.device.upload(target, labels)
                else:
                    tower.device.copy(target, on_device["labels"])

    def load_learning_rate(self, learning_rate: float) -> None:
        """The learning rate alone."""
        for tower in self._towers:
            with tower.device.active():
                tower.device.upload(tower.learning_rate, np.full(1, learning_rate, tower.accumulator))


def _image_layout(config: Config, tower: Tower) -> FoldedLayout | None:
    """How images are laid out for a tower's first layer: folded where it wants that, and padded where they are."""
    layout, size, padded = input_layout(tower), config.image_size, config.padded_size
    if size == padded:
        return layout
    # A fold has zeros where the image has ended; that of one position a cell only adds them.
    whole = (padded, padded, 3)
    return replace(layout or FoldedLayout(whole, (1, 1), (0, 0), whole), unfolded=(size, size, 3))


class _Arrivals:
    """Arrays of the host and of all towers' devices on one tower's, while a context lasts and its device is active.

    Those of the host, images, come into two arrays in turn: one is filled while kernels read the other.

    Attributes
    ----------
    marks : list
        After the last batch's arrays on GPUs were read.
    """

    def __init__(self, tower: Tower, towers: list[Tower]) -> None:
        self._tower, self._towers = tower, towers
        self.marks: list[Any] = []
        self._given: dict[str, Array] = {}
        self._adopted: list[Array] = []
        self._turn, self._filled = 0, False
        self._made: tuple[Any, ...] = ()  # shape and dtype of the two arrays, and allocations that they are good for
        self._arrays: list[Array] = []
        self._read: list[Any] = []  # of each of the two: the mark after the kernel that read it last

    def of(self, given: dict[str, Array]) -> _Arrivals:
        """The context for these arrays, by name."""
        self._given = given
        return self

    def __enter__(self) -> dict[str, Array]:
        device, given = self._tower.device, self._given
        self._given = {}  # what is not kept here is free when the caller has done with it
        on_device = {name: own for name, array in given.items() if (own := device.adopt(array)) is not None}
        self._adopted, self.marks, self._filled = list(on_device.values()), [], False
        if on_device:
            device.await_owner()
        for owner in self._towers if len(on_device) < len(given) else ():
            adopted = {n: own for n, array in given.items() if (own := owner.device.adopt(array)) is not None}
            if owner is not self._tower and adopted:
                on_device |= self._sent(owner, adopted)
        for name, array in given.items():
            if name in on_device:
                continue
            if array_kind(array) != "cpu":
                where = " and ".join(t.device.name for t in self._towers)
                raise TypeError(f"{name} must be on the host or on {where}, got an array on {array.device}")
            on_device[name] = self._brought(array)
        return on_device

    def __exit__(self, *error: object) -> None:
        mark = self._tower.device.record()
        adopted, self._adopted = self._adopted, []
        if adopted:
            self._hand_back(self._tower, adopted, mark)
        if self._filled:
            self._read[self._turn] = mark

    def _hand_back(self, owner: Tower, arrays: list[Array], mark: Any) -> None:
        owner.device.hand_back(arrays, mark)
        if owner.device.kind == "cuda":
            self.marks.append(mark)

    def _sent(self, owner: Tower, adopted: dict[str, Array]) -> dict[str, Array]:
        """What lies on the other tower's device, on this one's."""
        on_device = {n: self._tower.buffer(f"{n}.received", array.shape, array.dtype) for n, array in adopted.items()}
        owner.device.await_owner()
        after, sent = [owner.device.record(), self._tower.device.record()], None
        for name, array in adopted.items():
            sent = owner.device.send(on_device[name], array, after)
            after = []
        self._hand_back(owner, list(adopted.values()), sent)
        self._tower.device.wait(sent)
        return on_device

    def _brought(self, images: Array) -> Array:
        device, dtype = self._tower.device, np.dtype(np.uint8) if images.dtype == np.uint8 else self._tower.dtype
        if self._made != (images.shape, dtype, device.allocations):
            self._arrays = []  # give the memory back before asking for more
            self._arrays = [self._tower.buffer(f"images{turn}", images.shape, dtype) for turn in range(2)]
            self._made = images.shape, dtype, device.allocations
            # Memory made anew may be what the kernels have given up in this pass and still work on.
            self._read = [device.record(), device.record()]
        self._turn, self._filled = 1 - self._turn, True
        device.bring(self._arrays[self._turn], images, self._read[self._turn])
        return self._arrays[self._turn]


def _fill(pinned: PinnedArray, images: Array) -> PinnedArray:
    np.copyto(pinned, images, casting="unsafe")
    pinned.flags.writeable = False
    return pinned


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
    return _parts(tower.buffer("block", (_block_bytes(batch),), np.uint8), batch, tower.accumulator)["labels"]


@lru_cache(maxsize=64)
def _layout(batch: int, accumulator: Any) -> list[tuple[str, slice, np.dtype[Any], tuple[int, ...]]]:
    """Name, place, dtype and shape of the block's parts, the most aligned first; each of the scalars takes 8 bytes."""
    found: list[tuple[str, slice, np.dtype[Any], tuple[int, ...]]] = []
    offset = 0
    for name, kind, shape in (
        ("step", np.uint64, (1,)),
        ("learning_rate", accumulator, (1,)),
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


def _parts(block: Array, batch: int, accumulator: Any) -> dict[str, Array]:
    return {name: block[place].view(dtype).reshape(shape) for name, place, dtype, shape in _layout(batch, accumulator)}
