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
from functools import partial
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


class _Event:
    """An event that has always happened."""

    done = True
    synchronize = _nothing

    def __init__(self, **_: Any) -> None:
        pass


def _extension(self: standin.Extension, name: str) -> Any:
    return _nothing if name in standin.LAUNCHES else getattr(standin._simt, name)


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
    # As CuPy's pool: memory that was given back is handed out again.
    pool: dict[int, bytearray] = {}
    patch.setattr(cupy.cuda, "alloc_pinned_memory", lambda size: pool.setdefault(size, bytearray(size)))
    patch.setattr(cupy.cuda, "Event", _Event)


def cases(batch: int = 128) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    from alexnet_cuda import Model

    rng = np.random.default_rng(0)
    host = rng.integers(0, 256, (batch, 256, 256, 3), dtype=np.uint8)
    labels = rng.integers(0, 1000, batch)
    found: dict[str, Callable[[], Any]] = {}
    for place, devices in _PLACES.items():
        with cupy.cuda.Device(0):
            on_gpu = cupy.empty(host.shape, np.uint8), cupy.empty(labels.shape, np.int64)
        model = Model(devices=devices, init="he", **_NETWORK)
        batches: dict[str, Any] = {"on the GPU": on_gpu, "on the host": (host, labels)}
        if hasattr(model, "prefetch"):
            (batches["prefetched"],) = model.prefetch([(host, labels)])
        for where, (images, classes) in batches.items():
            found[f"step, {place}, images {where}"] = partial(model.train_step, images, classes)
            found[f"batch, {place}, images {where}"] = partial(model.forward, images)
    return found


def thread_seconds(work: Callable[[], Any]) -> list[float]:
    """Processor time of many calls, after the first few."""
    for _ in range(WARM):
        work()
    times = []
    for _ in range(_STEPS):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return times


def main() -> int:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--profile", metavar="CASE", help="only this one, and where its time goes")
    chosen = parser.parse_args().profile
    with pytest.MonkeyPatch.context() as patch:
        install_idle_driver(patch)
        for name, work in cases().items():
            if chosen is None:
                times = [1e6 * seconds for seconds in thread_seconds(work)]
                print(f"{name:42} {statistics.median(times):8.0f} us   mean {statistics.fmean(times):8.0f}")
            elif chosen == name:
                thread_seconds(work)  # records what the profile is to replay
                with cProfile.Profile() as profile:
                    thread_seconds(work)
                pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    return 0


if __name__ == "__main__":
    sys.exit(main())
