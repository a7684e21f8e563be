"""Images per second of this package and of the same network in PyTorch, both on the CPU.

    python benchmarks/cpu_vs_torch.py [--batches 1,32,128] [--seconds 20] [--compile] [--output FILE.json]

Inference and training of bvlc_alexnet (preset "caffe": its normalisation is PyTorch's own LocalResponseNorm, so
PyTorch pays for no detour) at 227x227 in float32, in turn in one process: round after round each side runs the same
batch once, and the medians are compared, so that whatever else the machine does hits all alike. PyTorch runs as its
users would have it run: oneDNN convolutions, in-place ReLU, fused SGD, in channels_last and in the default memory
format, with --compile also through torch.compile; the best of these is the opponent. Before anything is timed the
networks are given the same weights and must agree. Without PyTorch, only this package is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import alexnet_cuda
from alexnet_cuda.base.parallel import num_threads

Run = Callable[[], Any]
KINDS = ("inference", "training")


def torch_network(model: alexnet_cuda.Model) -> Any:
    """bvlc_alexnet in PyTorch with the weights of `model`."""
    import torch
    from torch import nn

    def conv(i: int, o: int, k: int, **kw: Any) -> list[Any]:
        return [nn.Conv2d(i, o, k, **kw), nn.ReLU(inplace=True)]

    layers = [
        *conv(3, 96, 11, stride=4), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
        *conv(96, 256, 5, padding=2, groups=2), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
        *conv(256, 384, 3, padding=1), *conv(384, 384, 3, padding=1, groups=2),
        *conv(384, 256, 3, padding=1, groups=2), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000),
    ]  # fmt: skip
    network = nn.Sequential(*layers)
    with torch.no_grad():
        weighted = [m for m in network if isinstance(m, (nn.Conv2d, nn.Linear))]
        names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
        for module, name in zip(weighted, names, strict=True):
            weight = np.array(model.parameters[f"{name}.weight"])
            if weight.ndim == 4:
                weight = weight.transpose(0, 3, 1, 2)
            elif name == "fc6":  # (h, w, c) to PyTorch's (c, h, w)
                weight = weight.reshape(4096, 6, 6, 256).transpose(0, 3, 1, 2).reshape(4096, 9216)
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            module.bias.copy_(torch.from_numpy(np.array(model.parameters[f"{name}.bias"])))
    return network


def torch_sides(model: alexnet_cuda.Model, images: Any, labels: Any, compiled: bool) -> dict[str, dict[str, Run]]:
    """PyTorch's inference and training step on a batch, by the name of the variant."""
    import torch

    sides = {}
    variants = ["channels_last", "contiguous", *(["channels_last, compiled"] if compiled else [])]
    for variant in variants:
        layout = torch.contiguous_format if variant == "contiguous" else torch.channels_last
        network = torch_network(model).to(memory_format=layout)
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        call = torch.compile(network) if variant.endswith("compiled") else network
        sides[variant] = _torch_runs(network, call, x, torch.from_numpy(labels))
    return sides


def _torch_runs(network: Any, call: Any, x: Any, y: Any) -> dict[str, Run]:
    import torch

    weights = [p for n, p in network.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in network.named_parameters() if n.endswith("bias")]
    groups = [{"params": weights, "weight_decay": 5e-4}, {"params": biases, "lr": 2e-4}]
    optimizer = torch.optim.SGD(groups, lr=1e-4, momentum=0.9, fused=True)

    def infer() -> Any:
        network.eval()
        with torch.inference_mode():
            return call(x).numpy()

    def train() -> Any:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(call(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"inference": infer, "training": train}


def agree(ours: Any, theirs: Any) -> None:
    """Require the same logits up to float32 rounding through eight layers."""
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    if not error < 1e-4:
        raise SystemExit(f"the two networks do not agree: relative error {error:.2e} of the logits")


def measure(batch: int, seconds: float, with_torch: bool, compiled: bool) -> list[dict[str, Any]]:
    """Images per second of every side on one batch size, inference and training."""
    model = alexnet_cuda.Model("caffe", init="he")
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 227, 227, 3)).astype(np.float32)
    labels = rng.integers(0, 1000, batch)
    sides: dict[str, dict[str, Run]] = {
        "ours": {
            "inference": lambda: model.forward(images),
            "training": lambda: model.train_step(images, labels, learning_rate=1e-4),
        }
    }
    if with_torch:
        sides |= torch_sides(model, images, labels, compiled)
    logits = {name: runs["inference"]() for name, runs in sides.items()}
    for other in logits.values():
        agree(logits["ours"], other)
    return [_row(batch, kind, in_turn({n: runs[kind] for n, runs in sides.items()}, seconds)) for kind in KINDS]


def in_turn(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Seconds of each run, one after the other round after round, for so long and at least five rounds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["ours"]) < 5:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def _row(batch: int, kind: str, times: dict[str, list[float]]) -> dict[str, Any]:
    rates = {name: batch / statistics.median(values) for name, values in times.items()}
    row = {"batch": batch, "kind": kind, "rounds": len(times["ours"]), "images_per_second": rates}
    text = f"batch {batch:4d}  {kind:9s}  ours {rates['ours']:7.1f}"
    opponents = {name: rate for name, rate in rates.items() if name != "ours"}
    if opponents:
        best = max(opponents, key=lambda name: opponents[name])
        row |= {"opponent": best, "ratio": rates["ours"] / opponents[best]}
        text += f"  PyTorch {opponents[best]:7.1f} ({best})  ratio {row['ratio']:.2f}"
    print(text, flush=True)
    return row


def cpu_name() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Parse the command line, measure, print, and write the JSON if asked."""
    parser = argparse.ArgumentParser(description="Images per second against PyTorch on the CPU.")
    parser.add_argument("--batches", default="1,32,128", help="comma-separated batch sizes")
    parser.add_argument("--seconds", type=float, default=20.0, help="at least so long for each figure")
    parser.add_argument("--compile", action="store_true", help="also run PyTorch through torch.compile")
    parser.add_argument("--output", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    threads = num_threads()
    try:
        import torch

        torch.set_num_threads(threads)
        torch_version: str | None = torch.__version__
    except ImportError:
        torch_version = None
        print("PyTorch is not installed: only this package is measured (pip install torch)")
    machine = {
        "cpu": cpu_name(),
        "threads": threads,
        "numpy": np.__version__,
        "torch": torch_version,
        "alexnet_cuda": alexnet_cuda.__version__,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    rows = []
    for batch in (int(text) for text in arguments.batches.split(",")):
        rows += measure(batch, arguments.seconds, torch_version is not None, arguments.compile)
    if arguments.output:
        text = json.dumps({"machine": machine, "results": rows}, indent=1) + "\n"
        temporary = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, arguments.output)


if __name__ == "__main__":
    main()
