"""A whole training step, or inference, of this package and of PyTorch in every configuration that may be its best."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..opponents import torch_step
from ..opponents.torch_step import Setting
from . import timing
from .cases import CONFIG, DTYPES, PLAN, Case, Tensor, numbers
from .contest import Wrong, attempt, close
from .results import OURS, Record

LEARNING_RATE = 1e-4
# Relative to the norm of the logits: each of eight layers rounds once on either side, by so much.
LOGITS = {"bfloat16": 16 * 2.0**-8, "float16": 16 * 2.0**-11, "tf32": 16 * 2.0**-11, "float32": 1e-4}
_SEARCH_SECONDS = 80.0


def flops(mode: str, batch: int) -> int:
    """Of a step: forward, and for training the two gradients of every layer, conv1's by its input excepted."""
    forward = sum(2 * s.multiply_adds for s in PLAN.steps) * batch
    first = 2 * PLAN.steps[0].multiply_adds * batch
    return forward if mode == "inference" else 3 * forward - first


def parts(batch: int, precision: str, mode: str) -> list[Case]:
    """The cases whose times add up to a step: every layer once, fused as our step fuses it."""
    fused = {"lrn1": "lrn_max_pool", "lrn2": "lrn_max_pool", "pool5": "max_pool"}
    single, training, found = DTYPES[precision], mode == "training", []
    for s in PLAN.steps:
        if s.weight_shape:
            backward = ["wgrad_sgd", "dgrad"] if s.name != "conv1" else ["wgrad_sgd"]
            found += [(s.op, d, s.name, precision) for d in ["fprop_fused", *(backward if training else [])]]
        elif s.name in fused:
            found += [(fused[s.name], d, s.name, single) for d in ["fprop", *(["bprop"] if training else [])]]
    return [Case(op, direction, layer, batch, kind) for op, direction, layer, kind in found]


class Inputs:
    """A batch on the device: images as the network takes them, and labels."""

    def __init__(self, device: Any, batch: int, precision: str) -> None:
        shape, dtype = (batch, CONFIG.image_size, CONFIG.image_size, 3), DTYPES[precision]
        self.images = device.empty(shape, dtype)
        device.fill(self.images, "images", Tensor("NHWC", shape, dtype), 0)
        self.labels = device.upload(numbers("labels", Tensor("N", (batch,), "int64")))


def measure(
    device: Any,
    options: Record,
    shared: Record,
    seconds: float,
    excluded: list[str],
    stage: Callable[[str], None] = lambda name: None,
    end: float = math.inf,
) -> Record:
    """All contenders' times of a step at a batch size and precision.

    Parameters
    ----------
    device : Device
    options : dict
        ``mode`` ("training" or "inference"), ``batch``, ``precision``, ``search``.
    shared : dict
        ``settings``: PyTorch's best of an earlier search, by mode; ``plans``: cuDNN's fastest, by case.
    seconds : float
        For the interleaved measurement.
    excluded : list of str
        Contenders that took the device with them before.
    stage : callable
        Told which contender is at work.
    end : float
        By the device's clock of the host, when no contender may be begun any more.
    """
    mode, batch, precision = options["mode"], options["batch"], options["precision"]
    contest = _Contest(device, options, shared, excluded, stage)
    contest.enter(OURS, OURS, contest.ours)
    # What is best for training is not far from best for inference: an own search is for who has time for it.
    found = shared.get("settings", {})
    given = [Setting(**values) for values in found.get(mode, found.get("training", []))]
    if options["search"] or not given:
        search_end = min(end, device.now() + _SEARCH_SECONDS)
        chosen = torch_step.search(precision, lambda s: contest.quickly(s, search_end))
    else:
        chosen = [torch_step.fitted(s, precision) for s in given]
    final = torch_step.finalists(chosen)
    for setting in final:
        if device.now() < end:
            contest.enter_setting(setting)
    contest.time(seconds)
    made = {"kind": "step", "key": f"step.{mode}/{batch}/{precision}", "mode": mode, "batch": batch}
    made |= {"precision": precision, "flops": flops(mode, batch), "contenders": contest.records}
    return {**made, "settings": [vars(s) for s in final]}


@dataclass
class _Side:
    """A contender that is set up: what enqueues a step, and what gives back what it opened."""

    step: Callable[[], Any]
    cleanup: ExitStack


class _Contest:
    """The contenders of one measurement, and what is known of each."""

    def __init__(
        self, device: Any, options: Record, shared: Record, excluded: list[str], stage: Callable[[str], None]
    ) -> None:
        self.device, self.shared, self.excluded, self.stage = device, shared, excluded, stage
        self.mode, self.batch, self.precision = (options[name] for name in ("mode", "batch", "precision"))
        self.inputs = Inputs(device, self.batch, self.precision)
        self.parameters: Record | None = None  # ours, for the others to begin with
        self.logits: np.ndarray | None = None  # and to agree with
        self.records: Record = {}
        self.sides: dict[str, _Side] = {}

    def enter(self, name: str, family: str, make: Callable[[Record, ExitStack], Callable[[], Any]]) -> bool:
        """Set a contender up; whether it runs. `make` adds to the record what to keep of it."""
        if name in self.excluded:
            return False
        self.stage(name)
        tidy(self.device)
        before = self.device.free_bytes()
        record: Record = {**self.records.get(name, {}), "family": family, "detail": {}}

        def ready(cleanup: ExitStack) -> Callable[[], Any]:
            step = make(record["detail"], cleanup)
            step()
            self.device.synchronize()
            return step

        step, status, cleanup = attempt(self.device, name, ready)
        self.records[name] = record | status
        if step is not None:
            # Of the whole device, so that every library's caches and workspaces count alike.
            self.records[name]["memory_bytes"] = before - self.device.free_bytes()
            self.sides[name] = _Side(step, cleanup)
        return step is not None

    def enter_setting(self, setting: Setting) -> bool:
        """Set a configuration of PyTorch up; whether it runs."""
        return self.enter(setting.name, setting.family, lambda d, cleanup: self.theirs(setting, d, cleanup))

    def quickly(self, setting: Setting, end: float) -> float | None:
        """Seconds a step for a search: None where it does not run, or the search has lasted long enough."""
        if self.device.now() > end or not self.enter_setting(setting):
            return None
        took = timing.quick(self.device, timing.Candidate(setting.name, self.sides[setting.name].step))
        self.records[setting.name]["cold"] = timing.provisional(took)
        self._close([setting.name])
        return took

    def time(self, seconds: float) -> None:
        """All that are set up, interleaved."""
        candidates = [timing.Candidate(name, side.step) for name, side in self.sides.items()]
        for name, times in timing.interleaved(self.device, candidates, seconds).items():
            self.records[name] |= {
                "cold": times,
                "images_per_second": round(1e6 * self.batch / times["median"], 1),
                "host_us": _host_microseconds(self.device, self.sides[name].step),
            }
        self._close(list(self.sides))

    def _close(self, names: list[str]) -> None:
        self.device.synchronize()
        for name in names:
            close(self.sides.pop(name).cleanup)
        tidy(self.device)

    def ours(self, detail: Record, cleanup: ExitStack) -> Callable[[], Any]:
        """This package's model."""
        import alexnet_cuda

        model = alexnet_cuda.Model(devices="cuda:0", precision=self.precision, init="he")
        self.parameters = {name: np.array(value) for name, value in model.parameters.items()}
        images, labels = self.inputs.images, self.inputs.labels
        self.logits = np.asarray(model.forward(images), np.float64)
        if not np.isfinite(self.logits).all():
            raise Wrong("our logits are not finite")
        if self.mode == "inference":
            return followed(model, lambda: model.forward(images))
        step = followed(model, lambda: model.train_step(images, labels, learning_rate=LEARNING_RATE))
        for _ in range(4):  # the first steps run one by one, the later ones are replays of a graph
            result = step()
        detail["loss"] = float(result.loss)
        if not np.isfinite(detail["loss"]):
            raise Wrong(f"our loss is {result.loss}")
        return step

    def theirs(self, setting: Setting, detail: Record, cleanup: ExitStack) -> Callable[[], Any]:
        """PyTorch's network."""
        from ..opponents.torch_tensors import load, tensor

        torch, function = load(self.device), None
        if setting.convolutions == "cuDNN":
            from ..opponents.cudnn_step import convolution

            plans = self.shared.get("plans", {})
            function, detail["plans"] = convolution(self.batch, self.precision, plans, cleanup)
        network = torch_step.Network(CONFIG, setting, self.precision, "cuda", self.parameters, function)
        x = tensor(self.inputs.images).permute(0, 3, 1, 2)
        if self.logits is not None:
            network.training = False
            with torch.inference_mode(), network.autocast():
                logits = network(x).double().cpu().numpy()
            compare(setting.name, logits, self.logits, self.precision)
            network.training = True
        if self.mode == "inference":
            return torch_step.inference(network, x, detail)
        return torch_step.training(network, x, tensor(self.inputs.labels), LEARNING_RATE, detail)


def compare(name: str, logits: np.ndarray, expected: np.ndarray, precision: str) -> None:
    """Require a contender's logits to be those of the network.

    Raises
    ------
    Wrong
        They are off by more than roundings are.
    """
    error = float(np.linalg.norm(logits - expected) / np.linalg.norm(expected))
    if not error <= LOGITS[precision]:
        raise Wrong(f"logits of {name} are off by {error:.2e} of their norm, expected at most {LOGITS[precision]:.2e}")


def followed(model: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    """The call of a model on the GPU, and after it CuPy's current stream, where the events are, waits for the model.

    A model works on streams of its own, which wait for the current stream before they read its arrays, but for which
    the current stream does not wait: without this the time of a step would be that of nothing.
    """
    import cupy

    def step() -> Any:
        result = call()
        current = cupy.cuda.get_current_stream()
        for tower in model.towers:
            current.wait_event(tower.device.record())
        return result

    return step


def tidy(device: Any) -> None:
    """Give the memory back that a contender left behind."""
    gc.collect()  # a network and its compiled functions refer to each other
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    device.release()


def _host_microseconds(device: Any, step: Callable[[], Any], repeats: int = 10) -> float:
    """What the host spends before a step is enqueued, the device idle."""
    times = []
    for _ in range(repeats):
        device.synchronize()
        start = device.now()
        step()
        times.append(device.now() - start)
    device.synchronize()
    return round(1e6 * float(np.median(times)), 1)
