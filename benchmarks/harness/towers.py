"""Two towers against one: the step's time, what crosses, how long that takes, and how much of it is hidden."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import timing
from .cases import DTYPES
from .results import Record
from .steps import LEARNING_RATE, Inputs, followed

Interval = tuple[float, float]


def overlap(copies: Iterable[Interval], kernels: Iterable[Interval]) -> tuple[float, float]:
    """How long copies ran, and how much of that some kernel ran too, wherever several ran at once."""
    steps = sorted((at, which, change) for which, spans in enumerate((copies, kernels)) for at, change in _steps(spans))
    running, total, hidden, before = [0, 0], 0.0, 0.0, 0.0
    for at, which, change in steps:
        total += (at - before) * (running[0] > 0)
        hidden += (at - before) * (min(running) > 0)
        running[which] += change
        before = at
    return total, hidden


def _steps(spans: Iterable[Interval]) -> Iterable[tuple[float, int]]:
    return [step for start, end in spans for step in ((start, 1), (end, -1))]


def exchanged_bytes(moved: dict[str, int], dtype: str) -> dict[str, int]:
    """Bytes a direction and step, by exchange, from the link's counts of numbers."""
    return {name: int(numbers) * np.dtype(dtype).itemsize for name, numbers in moved.items()}


def measure(device: Any, options: Record, seconds: float) -> Record:
    """One tower and two, interleaved; on one GPU both towers are there."""
    import alexnet_cuda

    batch, precision = options["batch"], options["precision"]
    pair = ("cuda:0", "cuda:1" if device.cupy.cuda.runtime.getDeviceCount() > 1 else "cuda:0")
    inputs = Inputs(device, batch, precision)
    models, steps, losses = {}, {}, {}
    for name, devices in (("one tower", "cuda:0"), ("two towers", pair)):
        models[name] = model = alexnet_cuda.Model(devices=devices, precision=precision, init="he")
        train = functools.partial(model.train_step, inputs.images, inputs.labels, learning_rate=LEARNING_RATE)
        steps[name] = followed(model, train)
        for _ in range(4):
            losses[name] = float(steps[name]().loss)
    times = timing.interleaved(device, [timing.Candidate(name, step) for name, step in steps.items()], seconds)
    link = models["two towers"].link
    record: Record = {
        "kind": "towers",
        "key": f"towers/{batch}/{precision}",
        "batch": batch,
        "precision": precision,
        "devices": list(pair),
        "losses": losses,
        "contenders": {name: {"family": "ours", "status": "ok", "cold": t} for name, t in times.items()},
        "exchanged_bytes": exchanged_bytes(dict(link.moved), DTYPES[precision]),
    }
    with contextlib.suppress(Exception):  # PyTorch's profiler, where there is one, says what overlapped
        record["profile"] = {name: hidden_share(device, step) for name, step in steps.items()}
    return record


def hidden_share(device: Any, step: Any) -> Record:
    """Launches, microseconds of copies and the share of them under which a kernel ran, a step, from a profile."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    steps = 3
    device.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(steps):
            step()
        device.synchronize()
        torch.cuda.synchronize()
    events = [e for e in profiled.events() if str(e.device_type).endswith("CUDA")]
    return summarize_profile([(e.name, float(e.time_range.start), float(e.time_range.end)) for e in events], steps)


def summarize_profile(events: list[tuple[str, float, float]], steps: int) -> Record:
    """Launches, exchange and hidden share a step from (name, start, end) in microseconds of device activities."""
    copies = [(a, b) for name, a, b in events if name.startswith("Memcpy") and ("PtoP" in name or "DtoD" in name)]
    kernels = [(a, b) for name, a, b in events if not name.startswith(("Memcpy", "Memset"))]
    total, hidden = overlap(copies, kernels)
    return {
        "launches": round(len(kernels) / steps, 1),
        "copies": round(len(copies) / steps, 1),
        "exchange_us": round(total / steps, 1),
        "hidden_share": round(hidden / total, 3) if total else None,
    }
