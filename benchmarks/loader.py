#!/usr/bin/env python3
"""Images a second from files and from a store, with no network behind them, beside Pillow and PyTorch's DataLoader.

    python benchmarks/loader.py SOURCE [--workers N] [--rounds N] [--images N]

SOURCE holds files to decode (a folder or archive), of which a store is made in a temporary folder, or is a store. All
give squares of 256 x 256 in shuffled batches of 128, of the same files, which the page cache holds after the first
round; that one is not counted. Rounds take turns. CPU time is that of this process and of those that it starts: on a
machine that does other things, only that compares.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from alexnet_cuda.base.cores import available_cores
from alexnet_cuda.data import ImageSource, Loader, StoreSource, open_source, prepare

SIDE, BATCH = 256, 128
IMAGENET = 1_281_167  # training images of ILSVRC 2012


class Figure(NamedTuple):
    """Of one way, medians over the rounds."""

    name: str
    rate: float  # images a second
    cpu: float  # seconds of processor time an image


def plain_square(data: bytes) -> np.ndarray[Any, Any]:
    """What people write with Pillow."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    scale = SIDE / min(width, height)
    image = image.resize((max(SIDE, round(width * scale)), max(SIDE, round(height * scale))), Image.Resampling.BILINEAR)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def _loader(source: ImageSource, workers: int) -> Callable[[int], int]:
    loader = Loader(source, SIDE, BATCH, shuffle=True, workers=workers, cache_bytes=0)

    def epoch(number: int) -> int:
        with closing(loader.epoch(number)) as batches:
            return sum(len(batch.labels) for batch in batches)

    return epoch


def _pillow(source: ImageSource) -> Callable[[int], int]:
    def epoch(number: int) -> int:
        order = np.random.default_rng(number).permutation(len(source)).tolist()
        for start in range(0, len(order), BATCH):
            np.stack([plain_square(source.contents(index)) for index in order[start : start + BATCH]])
        return len(order)

    return epoch


def _torch(source: ImageSource, workers: int) -> Callable[[int], int] | None:
    try:
        import torch
        from torch.utils.data import DataLoader, Dataset
    except ImportError:
        return None

    class Files(Dataset[Any]):
        def __len__(self) -> int:
            return len(source)

        def __getitem__(self, index: int) -> Any:
            return torch.from_numpy(plain_square(source.contents(index)).copy())

    def epoch(_number: int) -> int:
        # Its processes are new in each epoch, as by default; waited for, so that their time is counted.
        return sum(len(batch) for batch in DataLoader(Files(), BATCH, shuffle=True, num_workers=workers))

    return epoch


def ways(source: ImageSource, folder: Path, workers: int) -> Iterator[tuple[str, Callable[[int], int]]]:
    """What is timed: a name, and a function that goes through an epoch and gives the number of images."""
    store = source if isinstance(source, StoreSource) else None
    if store is None:
        yield "Pillow, plain loop", _pillow(source)
        if (torch := _torch(source, workers)) is not None:
            yield f"PyTorch DataLoader, {workers} processes", torch
        yield "Loader, from files, 1 thread", _loader(source, 1)
        yield f"Loader, from files, {workers} threads", _loader(source, workers)

        def make(number: int) -> int:
            return len(prepare(source, folder / str(number), side=SIDE, workers=workers))

        yield f"prepare, {workers} threads", make
        store = prepare(source, folder / "store", side=SIDE, workers=workers)
    yield "Loader, from a store, 1 thread", _loader(store, 1)
    yield f"Loader, from a store, {workers} threads", _loader(store, workers)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(source: ImageSource, folder: Path, workers: int, rounds: int) -> list[Figure]:
    """Figures of all ways."""
    timed = list(ways(source, folder, workers))
    rates: dict[str, list[float]] = {name: [] for name, _ in timed}
    cpu: dict[str, list[float]] = {name: [] for name, _ in timed}
    for number in range(rounds + 1):
        for name, epoch in timed:
            start, used = time.perf_counter(), _cpu_seconds()
            images = epoch(number)
            seconds, used = time.perf_counter() - start, _cpu_seconds() - used
            if number:  # the first brings the files into the page cache
                rates[name].append(images / seconds)
                cpu[name].append(used / images)
    return [Figure(name, statistics.median(rates[name]), statistics.median(cpu[name])) for name, _ in timed]


def main(arguments: list[str] | None = None) -> int:
    """Print a line a way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("source", help="folder, archive or store")
    parser.add_argument("--workers", type=int, default=available_cores(), help="threads, and DataLoader's processes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="only so many of SOURCE, from the first")
    given = parser.parse_args(arguments)
    source = open_source(given.source, minimum_classes=1)
    if given.images is not None and not isinstance(source, StoreSource):
        source = source.subset(range(min(given.images, len(source))))
    print(f"{source.name}: {len(source):,} images; {available_cores()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        for name, rate, cpu in measure(source, Path(folder), given.workers, given.rounds):
            total = f"{IMAGENET:,} images take {IMAGENET / rate / 60:7.1f} min"
            print(f"{name:40} {rate:9,.0f} images/s {1e6 * cpu:9,.0f} us of CPU an image   {total}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
