"""GFLOP/s of every product of the paper's network on one core, by `_cpu` and by NumPy.

    python benchmarks/cpu_layers.py [--batch 64] [--rounds 7] [--output FILE.json]

In turn, the best of the rounds in the thread's own processor time, so that others who use the machine count little.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["ALEXNET_CUDA_NUM_THREADS"] = "1"  # before the package reads it

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))

from alexnet_cuda.backends.cpu import conv2d as numpy_conv2d
from alexnet_cuda.backends.cpu import linear as numpy_linear
from alexnet_cuda.backends.cpu.native import conv2d as native_conv2d
from alexnet_cuda.backends.cpu.native import linear as native_linear
from alexnet_cuda.base.array import constant
from alexnet_cuda.base.blas import one_blas_thread
from alexnet_cuda.ops import conv2d
from alexnet_cuda.ops.sgd import SgdParams
from benchmarks.cpu_vs_peers import machine

CONVOLUTIONS = {  # input, filters, filter, stride, padding, groups
    "conv1": ((227, 227, 3), 96, 11, 4, 0, 1),
    "conv2": ((27, 27, 96), 256, 5, 1, 2, 2),
    "conv3": ((13, 13, 256), 384, 3, 1, 1, 1),
    "conv4": ((13, 13, 384), 384, 3, 1, 1, 2),
    "conv5": ((13, 13, 384), 256, 3, 1, 1, 2),
}
LINEAR = {"fc6": (9216, 4096), "fc7": (4096, 4096), "fc8": (4096, 1000)}
Calls = dict[str, Callable[[Any], None]]  # of a module of either kind, by direction


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def convolution(batch: int, name: str) -> tuple[float, Calls]:
    """FLOPs of a direction, and the directions as in a training step; in inference weights were packed before."""
    hwc, k, r, stride, padding, groups = CONVOLUTIONS[name]
    x, weight = normal(batch, *hwc), normal(k, r, r, hwc[2] // groups) * np.float32(0.01)
    s = conv2d.problem(x.shape, k, (r, r), stride, padding, groups)
    y, dy, dx, bias = (normal(*shape) for shape in ((batch, s.P, s.Q, k), (batch, s.P, s.Q, k), x.shape, (k,)))
    update, kept = SgdParams(weight, np.zeros_like(weight), 1e-6), constant(weight)
    calls: Calls = {
        "fprop": lambda m: m.fprop(x, weight, bias, s, "relu", y),
        "inference": lambda m: m.fprop(x, kept, bias, s, "relu", y),
        "dgrad": lambda m: m.dgrad(dy, weight, s, dx, mask=x),
        "wgrad": lambda m: m.wgrad(x, dy, s, None, bias, sgd=update),
    }
    if name == "conv1":  # nobody asks for it
        del calls["dgrad"]
    return 2.0 * y.size * s.depth, calls


def linear(batch: int, name: str) -> tuple[float, Calls]:
    """As `convolution`."""
    inputs, outputs = LINEAR[name]
    x, weight, dy = normal(batch, inputs), normal(outputs, inputs) * np.float32(0.01), normal(batch, outputs)
    y, dx, bias = np.empty_like(dy), np.empty_like(x), normal(outputs)
    update, kept = SgdParams(weight, np.zeros_like(weight), 1e-6), constant(weight)
    return 2.0 * batch * weight.size, {
        "fprop": lambda m: m.fprop(x, weight, bias, "relu", y),
        "inference": lambda m: m.fprop(x, kept, bias, "relu", y),
        "dgrad": lambda m: m.dgrad(dy, weight, dx, mask=x),
        "wgrad": lambda m: m.wgrad(x, dy, None, bias, sgd=update),
    }


def best(runs: list[Callable[[], None]], rounds: int) -> list[float]:
    """Seconds of each, in turn."""
    times = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = time.thread_time()
            run()
            times[i] = min(times[i], time.thread_time() - start)
    return times


def rows(batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Rates of every layer and direction."""
    for name in (*CONVOLUTIONS, *LINEAR):
        flops, calls = convolution(batch, name) if name in CONVOLUTIONS else linear(batch, name)
        modules = (native_conv2d, numpy_conv2d) if name in CONVOLUTIONS else (native_linear, numpy_linear)
        for direction, call in calls.items():
            native, numpy = best([lambda m=m, call=call: call(m) for m in modules], rounds)  # type: ignore[misc]
            yield {
                "layer": name,
                "direction": direction,
                "ms": native * 1e3,
                "gflops": flops / native * 1e-9,
                "numpy_gflops": flops / numpy * 1e-9,
            }


def main() -> None:
    """Parse the command line, measure, print, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description="GFLOP/s of the network's products on one core.")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    a, b, c = (np.ones((1024, 1024), np.float32) for _ in range(3))
    with one_blas_thread():
        (seconds,) = best([lambda: np.matmul(a, b, out=c)], 5 * arguments.rounds)
    limits = {"sgemm_gflops": 2 * 1024**3 / seconds * 1e-9}
    print(json.dumps(limits))
    found = []
    for row in rows(arguments.batch, arguments.rounds):
        found.append(row)
        times = row["gflops"] / row["numpy_gflops"]
        print(
            f"{row['layer']} {row['direction']}  {row['ms']:7.2f} ms {row['gflops']:6.1f} GFLOP/s; "
            f"NumPy {row['numpy_gflops']:6.1f}, {times:.2f} times that",
            flush=True,
        )
    if arguments.output:
        text = json.dumps({"machine": machine(), "batch": arguments.batch, **limits, "results": found}, indent=1) + "\n"
        temporary = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, arguments.output)


if __name__ == "__main__":
    main()
