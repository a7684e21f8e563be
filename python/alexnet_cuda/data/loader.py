"""Batches of squares in a repeatable order, decoded ahead by threads and kept in memory."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..base.locks import ForkLock, Level
from ..base.notices import say_once
from ..base.philox import Purpose, permutation
from .base import ImageSource, Int64Array
from .image import DecodeError, ReadError, UInt8Array
from .memory import default_cache_bytes


class Batch(NamedTuple):
    """Images with their labels and their indices in the source."""

    images: UInt8Array  # [n, side, side, 3], C-contiguous, RGB
    labels: Int64Array  # [n]
    indices: Int64Array  # [n]


class TooManyBroken(ValueError):
    """More images are broken than is allowed."""


class BrokenImages:
    """The broken images of one source or of several, and how many there may be.

    Parameters
    ----------
    most : float
        Part of the images of all the sources together that may be broken, 0 to 1.
    *sources : ImageSource

    Raises
    ------
    ValueError
        `most` is out of range.
    """

    def __init__(self, most: float, *sources: ImageSource) -> None:
        if not 0 <= most <= 1:
            raise ValueError(f"max_broken must lie in 0..1, got {most}")
        self.most = most
        self.images = sum(map(len, sources))
        self._names = " and ".join(dict.fromkeys(source.name for source in sources))
        self._found: set[tuple[str, str]] = set()
        self.lock = ForkLock(Level.LOADER)  # of what loaders note

    @property
    def share(self) -> float:
        """Part of the images that is known to be broken."""
        return len(self._found) / self.images

    def add(self, source: ImageSource, index: int, reason: str) -> None:
        """Count image `index` of a `source`, broken for a `reason`, once however many loaders meet it.

        Raises
        ------
        TooManyBroken
            It is one more than is allowed.
        """
        file = source.names[index]
        self._found.add((source.name, file))
        if self.share > self.most:
            broken = len(self._found)
            raise TooManyBroken(
                f"{broken} of the {self.images} images of {self._names} {'is' if broken == 1 else 'are'} broken so far,"
                f" more than the part of {self.most:g} that max_broken (--max-broken) allows: mend them or allow more;"
                f" {file}: {reason}"
            )


class Loader:
    """Squares of a source's images, in batches.

    The batches of an epoch are a function of the source, `side`, `batch_size`, `seed`, `shuffle` and the epoch's number
    alone: `workers`, `cache_bytes` and the batch that an epoch is entered at change nothing. The last batch of an epoch
    is shorter where `batch_size` does not divide the number of images.

    A file that is broken, so that it cannot be decoded, is noted in `skipped`. In a shuffled epoch its place is taken
    by the next image of the epoch's order that can be decoded (after the last comes the first), so that every epoch has
    ``len(loader)`` batches of known sizes. In order (``shuffle=False``, for evaluation) its place is left out, so that
    every image counts once; a batch of which nothing is left is not delivered. A class of which nothing is left is
    named at once, on standard error. A file that cannot be read ends the epoch.

    Parameters
    ----------
    source : ImageSource
    side : int
        Of the squares, in pixels.
    batch_size : int
    seed : int
        64-bit unsigned; with the epoch's number it gives the order.
    shuffle : bool
        A new order each epoch, or always the source's own.
    workers : int
        Threads that decode, each a batch at a time; ``workers + 1`` batches are under way at most.
    cache_bytes : int, optional
        Memory for squares, so that later epochs decode nothing; what does not fit is decoded anew. By default a quarter
        of the available memory, at most 2 GiB; 0 for none, as of squares that a store holds in any case.
    max_broken : float or BrokenImages
        Part of the images that may be broken, 0 to 1, of this source or of those that are counted together.
    mode : str
        Which square: see `Config.resize_mode`.

    Raises
    ------
    ValueError
        The source is empty, or a number is out of range.
    """

    def __init__(
        self,
        source: ImageSource,
        side: int,
        batch_size: int,
        seed: int = 0,
        *,
        shuffle: bool,
        workers: int = 2,
        cache_bytes: int | None = None,
        max_broken: float | BrokenImages = 1.0,
        mode: str = "square",
    ) -> None:
        for name, value in (("side", side), ("batch_size", batch_size), ("workers", workers)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if cache_bytes is not None and cache_bytes < 0:
            raise ValueError(f"cache_bytes must not be negative, got {cache_bytes}")
        if len(source) == 0:
            raise ValueError(f"{source.name} has no images to load")
        self.source = source
        self.side, self.mode = side, mode
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.workers = workers
        self.broken = max_broken if isinstance(max_broken, BrokenImages) else BrokenImages(max_broken, source)
        room = default_cache_bytes() if cache_bytes is None else cache_bytes
        if source.holds(side, mode):  # nothing to decode, and in memory already where the system has room
            room = 0
        # The first images of the source are the cached ones. Memory is only taken as pages are written.
        self._cache = np.empty((min(len(source), room // (side * side * 3)), side, side, 3), np.uint8)
        self._cached = np.zeros(len(self._cache), np.bool_)
        self._skipped: dict[int, str] = {}
        self._left = np.bincount(source.labels, minlength=len(source.classes))  # images not known to be broken

    def __len__(self) -> int:
        """Batches an epoch; without shuffling, one fewer for each batch of which nothing can be decoded."""
        return -(-len(self.source) // self.batch_size)

    @property
    def skipped(self) -> dict[str, str]:
        """Files that could not be decoded so far, each with the reason; in the order of the source."""
        return {self.source.names[index]: self._skipped[index] for index in sorted(self._skipped)}

    def epoch(self, epoch: int, start_batch: int = 0, *, rank: int = 0, ranks: int = 1) -> Generator[Batch]:
        """The batches of one epoch from number `start_batch` on, or of each batch the part of one rank.

        Rank `rank` of `ranks` takes the places rank, rank + ranks, rank + 2 ranks, ... of each batch, which of a last
        short batch may be none. Every rank is handed as many batches.

        The threads end with the iterator: when it is exhausted, closed, dropped, or left by an exception.

        Raises
        ------
        ValueError
            `epoch`, `start_batch` or `rank` is out of range, or no image of the source can be decoded.
        TooManyBroken
            More than `max_broken` of the images are broken.
        ReadError
            A file cannot be read.
        """
        if epoch < 0:
            raise ValueError(f"epoch must not be negative, got {epoch}")
        if not 0 <= start_batch <= len(self):
            raise ValueError(f"start_batch must lie in 0..{len(self)}, got {start_batch}")
        if not 0 <= rank < ranks:
            raise ValueError(f"rank must lie in 0..{ranks - 1}, got {rank}")
        return self._batches(epoch, start_batch, rank, ranks)

    def _order(self, epoch: int) -> Int64Array:
        n = len(self.source)
        return permutation(self.seed, Purpose.ORDER, epoch, n) if self.shuffle else np.arange(n)

    def _batches(self, epoch: int, start_batch: int, rank: int, ranks: int) -> Generator[Batch]:
        order = self._order(epoch)
        stop, process = threading.Event(), os.getpid()
        pool = ThreadPoolExecutor(self.workers, "alexnet-cuda-loader")
        try:
            starts = range(start_batch * self.batch_size, len(order), self.batch_size)
            places = (range(start + rank, min(start + self.batch_size, len(order)), ranks) for start in starts)
            tasks = (pool.submit(self._batch, order, part, stop) for part in places)
            ahead: deque[Future[Batch]] = deque(islice(tasks, self.workers + 1))
            while ahead:
                if os.getpid() != process:
                    raise RuntimeError(
                        "this epoch's threads are in the process that this one was forked from; begin it anew here, "
                        "loader.epoch(epoch, start_batch)"
                    )
                batch = ahead.popleft().result()
                ahead.extend(islice(tasks, 1))
                if len(batch.labels) or ranks > 1:
                    yield batch
            if len(self._skipped) == len(self.source):
                raise self._nothing_left()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _batch(self, order: Int64Array, places: range, stop: threading.Event) -> Batch:
        images = np.empty((len(places), self.side, self.side, 3), np.uint8)
        indices = np.empty(len(places), np.int64)
        filled = 0
        for place in places:
            if stop.is_set():
                break
            index = self._fill(images[filled], order, place)
            if index is not None:
                indices[filled] = index
                filled += 1
        indices = indices[:filled]
        return Batch(images[:filled], self.source.labels[indices], indices)

    def _fill(self, out: UInt8Array, order: Int64Array, place: int) -> int | None:
        """Write the square for one place of the order; return its index, or None if the place is left out."""
        for step in range(len(order) if self.shuffle else 1):
            index = int(order[(place + step) % len(order)])
            if self._square(index, out):
                return index
        if self.shuffle:
            raise self._nothing_left()
        return None

    def _square(self, index: int, out: UInt8Array) -> bool:
        if index in self._skipped:
            return False
        if index < len(self._cached) and self._cached[index]:
            out[...] = self._cache[index]
            return True
        try:
            self.source.read_into(index, out, self.mode)
        except DecodeError as error:
            self._note_broken(index, error.reason)
            return False
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            name = error.filename or self.source.names[index]
            raise ReadError(error.errno or errno.EIO, reason, name) from error
        if index < len(self._cached):
            self._cache[index] = out
            self._cached[index] = True
        return True

    def _note_broken(self, index: int, reason: str) -> None:
        source, label = self.source, int(self.source.labels[index])
        with self.broken.lock:
            if index in self._skipped:  # by another thread
                return
            self._skipped[index] = reason
            self._left[label] -= 1
            if not self._left[label]:
                line = f"{source.name}: no image of class {source.classes[label]} can be decoded, not one of"
                line += f" {np.count_nonzero(source.labels == label)}; {source.names[index]}: {reason}"
                say_once(line, line)
            self.broken.add(source, index, reason)

    def _nothing_left(self) -> TooManyBroken:
        name, reason = next(iter(self.skipped.items()))
        return TooManyBroken(  # which a run that has done something ends with its checkpoint at
            f"none of the {len(self.source)} images of {self.source.name} can be decoded; the first, {name}: {reason}"
        )
