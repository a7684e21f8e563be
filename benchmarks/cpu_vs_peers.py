"""Images per second of this package and of the same network in other libraries, on the CPU.

    python benchmarks/cpu_vs_peers.py [--batches 1,16,64] [--seconds 30] [--only PyTorch,OpenVINO] [--output FILE.json]

Inference and training of bvlc_alexnet (preset "caffe": its normalisation is everybody's own LRN, so nobody pays for a
detour) at 227x227 in float32, in turn in one process: round after round each side runs the same batch once, so that
whatever else the machine does hits all alike. Ratios are medians of the rounds' own, with the 95 % interval of that
median. In the same rounds runs a matrix product of NumPy's, and a copy in memory: what the machine gives. Before
anything is timed the networks are given the same weights and must agree. Peers (`cpu_peers.py`: pip install torch
onnxruntime onnx openvino) that are not installed are left out.

Where others use the machine too, wall time says little: threads that wait for each other by spinning wait for a core.
`--processor-time` with ALEXNET_CUDA_NUM_THREADS=1 compares what one core is used for.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

import alexnet_cuda  # noqa: E402
from alexnet_cuda.backends.cpu import native  # noqa: E402
from alexnet_cuda.base.blas import one_blas_thread  # noqa: E402
from alexnet_cuda.base.parallel import num_threads  # noqa: E402
from benchmarks.cpu_peers import PEERS, Run, weights_of  # noqa: E402

KINDS = ("inference", "training")
FLOPS = {"inference": 2 * 724_406_816, "training": 2 * (3 * 724_406_816 - 105_415_200)}  # an image; conv1 has no dgrad
REDUCED = ("bfloat16",)  # in a peer's name: a row of its own, no opponent of float32


def agree(name: str, ours: Any, theirs: Any) -> None:
    """Require the same logits up to float32 rounding through eight layers, or bfloat16's."""
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    if not error < (0.1 if name.endswith(REDUCED) else 1e-4):
        raise SystemExit(f"{name} does not agree: relative error {error:.2e} of the logits")


def sides(model: Any, images: Any, labels: Any, only: list[str]) -> dict[str, dict[str, Run]]:
    """The runs of everybody who is here, by name and kind; they agree."""
    found: dict[str, dict[str, Run]] = {
        "ours": {
            "inference": lambda: model.forward(images),
            "training": lambda: model.train_step(images, labels, learning_rate=1e-4),
        }
    }
    weights, logits = weights_of(model), model.forward(images)
    for name, peer in PEERS.items():
        if only and name not in only:
            continue
        try:
            runs = peer(weights, images, labels, num_threads())
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        agree(name, logits, runs["inference"]())
        found[name] = runs
    return found


def ceilings() -> dict[str, Run]:
    """What the machine gives: NumPy's matrix product, on all cores, and a copy of 256 MiB."""
    a, b, c = (np.ones((2048, 2048), np.float32) for _ in range(3))
    source, target = np.ones(1 << 26, np.float32), np.empty(1 << 26, np.float32)

    def sgemm() -> None:
        # OpenBLAS's own threads spin for some 50 ms after a product, which the next run's time would hold.
        with one_blas_thread() if num_threads() == 1 else nullcontext():
            np.matmul(a, b, out=c)

    return {"sgemm": sgemm, "copy": lambda: np.copyto(target, source)}


def in_turn(runs: dict[str, Run], seconds: float, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each run, one after the other round after round, for so long and at least five rounds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["ours"]) < 5:
        for name, run in runs.items():
            time.sleep(0.1)  # threads of whoever was before, which spin for up to 50 ms, go to sleep
            start = clock()
            run()
            times[name].append(clock() - start)
    return times


def interval(values: list[float]) -> tuple[float, float, float]:
    """The median and its 95 % interval, by order statistics."""
    ordered, n = sorted(values), len(values)
    low = max(0, int(n / 2 - 0.98 * n**0.5))
    return statistics.median(ordered), ordered[low], ordered[n - 1 - low]


def row(batch: int, kind: str, times: dict[str, list[float]]) -> dict[str, Any]:
    """What one table row says."""
    sgemm = 2 * 2048**3 / statistics.median(times.pop("sgemm"))
    copied = 2 * 2**28 / statistics.median(times.pop("copy"))
    rates = {name: batch / statistics.median(values) for name, values in times.items()}
    ratios = {
        name: interval([t / o for t, o in zip(values, times["ours"], strict=True)])
        for name, values in times.items()
        if name != "ours"
    }
    found = {
        "batch": batch,
        "kind": kind,
        "rounds": len(times["ours"]),
        "images_per_second": rates,
        "ratio": ratios,
        "sgemm_gflops": sgemm * 1e-9,
        "of_sgemm": rates["ours"] * FLOPS[kind] / sgemm,
        "copy_gb_per_second": copied * 1e-9,
    }
    print(f"batch {batch}, {kind}: ours {rates['ours']:.1f} images/s, {found['of_sgemm']:.2f} of sgemm's rate")
    for name, (middle, low, high) in ratios.items():
        print(f"  {name:31s} {rates[name]:7.1f}   ours is {middle:.2f} times that [{low:.2f}, {high:.2f}]", flush=True)
    return found


def measure(batch: int, seconds: float, only: list[str], clock: Callable[[], float]) -> list[dict[str, Any]]:
    """The rows of one batch size."""
    model = alexnet_cuda.Model("caffe", init="he")
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 227, 227, 3)).astype(np.float32)
    labels = rng.integers(0, 1000, batch)
    found, limits = sides(model, images, labels, only), ceilings()
    rows = []
    for kind in KINDS:
        runs = {name: runs[kind] for name, runs in found.items() if kind in runs}
        rows.append(row(batch, kind, in_turn({**runs, **limits}, seconds, clock)))
    return rows


def machine() -> dict[str, Any]:
    """Processor, versions and commit."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = dict(reversed([(k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]))
    flags = [f for f in fields.get("flags", "").split() if f.startswith(("avx", "fma", "amx"))]
    versions: dict[str, str] = {}
    for name in ("numpy", "torch", "onnxruntime", "onnx", "openvino"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    git: Callable[..., Any] = subprocess.run
    commit = git(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "flags": flags,
        "threads": num_threads(),
        "alexnet_cuda": alexnet_cuda.__version__,
        "instruction_set": "numpy" if native.extension() is None else native.extension().instruction_sets()[0],
        "commit": commit.stdout.strip(),
        "versions": versions,
    }


def main() -> None:
    """Parse the command line, measure, print, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description="Images per second against other libraries on the CPU.")
    parser.add_argument("--batches", default="1,16,64", help="comma-separated batch sizes")
    parser.add_argument("--seconds", type=float, default=30.0, help="at least so long for each row")
    parser.add_argument("--only", default="", help=f"comma-separated peers of: {', '.join(PEERS)}")
    parser.add_argument("--processor-time", action="store_true", help="of all threads, instead of wall time")
    parser.add_argument("--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    only = [name for name in arguments.only.split(",") if name]
    if unknown := set(only) - set(PEERS):
        parser.error(f"--only must name some of {', '.join(PEERS)}, got {', '.join(sorted(unknown))}")
    clock = time.process_time if arguments.processor_time else time.perf_counter
    here = {**machine(), "clock": clock.__name__}
    print(json.dumps(here))
    batches = [int(batch) for batch in arguments.batches.split(",")]
    rows = [row for batch in batches for row in measure(batch, arguments.seconds, only, clock)]
    if arguments.output:
        temporary = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"machine": here, "results": rows}, indent=1) + "\n")
        os.replace(temporary, arguments.output)


if __name__ == "__main__":
    main()
