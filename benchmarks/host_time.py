#!/usr/bin/env python3
"""What the host computes for a training step and for a batch of inference, beside what the driver does with it.

    python benchmarks/host_time.py [--profile CASE]

Needs no GPU: the tests' stand-in for the driver, with every function of it that a step calls returning at once, so
that what is left is this package's Python. The network has every stage of the paper's and few channels; the batch is
128 images of 256 x 256, of which each tower sees all. Time is the processor time of the calling thread, the median and
the mean of many steps after the first few: what other processes do does not count. Random crops are drawn ahead for
many steps at once, so the mean has their share and the median has not.

To compare two trees run this file with each one's `python` folder as PYTHONPATH.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cupy
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.cuda import standin

WARM, _STEPS = 5, 320
_NETWORK: dict[str, Any] = {"num_classes": 1000, "conv_widths": (8, 12, 16, 16, 8), "fc_widths": (20, 18)}
_PLACES = {"one tower": "cuda:0", "two towers": ("cuda:0", "cuda:1"), "one GPU twice": ("cuda:0", "cuda:0")}


def _nothing(*_: Any, **__: Any) -> None:
    """In the place of a function of the driver."""


def install_idle_driver(patch: pytest.MonkeyPatch) -> None:
    """Put a driver of two GPUs in place that computes nothing."""
    patch.setattr(standin.Extension, "__getattr__", _extension)
    for name in ("put", "wait_event", "synchronize"):
        patch.setattr(standin.Stream, name, _nothing)
    patch.setattr(standin.Stream, "record", lambda self, event=None: event)
    patch.setattr(standin.Capture, "launch", _nothing)
    standin.Driver(2, 0).install(patch)
    for name in ("memcpyAsync", "memcpyPeerAsync", "memsetAsync"):
        patch.setattr(cupy.cuda.runtime, name, _nothing)
    patch.setattr(cupy.cuda, "alloc_pinned_memory", _pinned())
    patch.setattr(cupy.cuda, "Event", _Event)


class _Event:
    """Of which nothing is wanted."""

    done = True
    synchronize = _nothing

    def __init__(self, **_: Any) -> None:
        pass


def _extension(self: standin.Extension, name: str) -> Any:
    function = getattr(standin._simt, name)
    return _nothing if name in standin.LAUNCHES else function


def _pinned() -> Callable[[int], bytearray]:
    """As CuPy's pool: memory that was given back is handed out again."""
    pool: dict[int, bytearray] = {}
    return lambda size: pool.setdefault(size, bytearray(size))


def cases(batch: int = 128) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    from alexnet_cuda import Model

    rng = np.random.default_rng(0)
    host = rng.integers(0, 256, (batch, 256, 256, 3), dtype=np.uint8)
    labels = rng.integers(0, 1000, batch)
    found: dict[str, Callable[[], Any]] = {}
    for place, devices in _PLACES.items():
        with cupy.cuda.Device(0):
            there, labels_there = cupy.empty(host.shape, np.uint8), cupy.empty(labels.shape, np.int64)
        model = Model(devices=devices, init="he", **_NETWORK)
        batches = {"on the GPU": (there, labels_there), "on the host": (host, labels)}
        if hasattr(model, "prefetch"):
            (batches["prefetched"],) = model.prefetch([(host, labels)])
        for where, (images, classes) in batches.items():
            found[f"step, {place}, images {where}"] = lambda m=model, i=images, c=classes: m.train_step(i, c)
            found[f"batch, {place}, images {where}"] = lambda m=model, i=images: m.forward(i)
    return found


def microseconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Median and mean processor time of a call."""
    for _ in range(WARM):
        work()
    times = []
    for _ in range(_STEPS):
        start = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - start)
    return statistics.median(times) / 1e3, statistics.fmean(times) / 1e3


def main() -> int:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--profile", metavar="CASE", help="only this one, and where its time goes")
    chosen = parser.parse_args().profile
    with pytest.MonkeyPatch.context() as patch:
        install_idle_driver(patch)
        for name, work in cases().items():
            if chosen is None:
                median, mean = microseconds(work)
                print(f"{name:42} {median:8.0f} us   mean {mean:8.0f}")
            elif chosen == name:
                for _ in range(WARM):
                    work()
                profile = cProfile.Profile()
                profile.enable()
                for _ in range(_STEPS):
                    work()
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    return 0


if __name__ == "__main__":
    sys.exit(main())
