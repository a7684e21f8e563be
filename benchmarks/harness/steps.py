"""A whole training step, or inference, of this package and of PyTorch in every configuration that may be its best."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..opponents import torch_step
from ..opponents.torch_step import Setting
from . import timing
from .cases import CONFIG, DTYPES, PLAN, Case, Tensor, numbers
from .contest import Contest, Make, Wrong, tidy
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
    """All contenders' times of a step at a batch size and precision, in `options`; `seconds` for the last measurement.

    `shared` holds PyTorch's best ``settings`` of an earlier search, by mode, and cuDNN's fastest ``plans``, by case.
    After `end`, by the device's clock of the host, no contender is begun.
    """
    mode, batch, precision = (options[name] for name in ("mode", "batch", "precision"))
    contest = _Steps(device, options, shared, excluded, stage)
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
    candidates = [timing.Candidate(name, step) for name, step in contest.ready.items()]
    for name, times in timing.interleaved(device, candidates, seconds).items():
        rate = round(1e6 * batch / times["median"], 1)
        host = _host_microseconds(device, contest.ready[name])
        contest.records[name] |= {"cold": times, "images_per_second": rate, "host_us": host}
    contest.leave()
    tidy(device)
    made = {"kind": "step", "key": f"step.{mode}/{batch}/{precision}", "mode": mode, "batch": batch}
    made |= {"precision": precision, "flops": flops(mode, batch), "contenders": contest.records}
    return {**made, "settings": [vars(s) for s in final]}


class _Steps(Contest):
    """The contenders of one measurement; what is ready enqueues a step."""

    def __init__(
        self, device: Any, options: Record, shared: Record, excluded: list[str], stage: Callable[[str], None]
    ) -> None:
        super().__init__(device, stage, excluded)
        self.shared = shared
        self.mode, self.batch, self.precision = (options[name] for name in ("mode", "batch", "precision"))
        self.inputs = Inputs(device, self.batch, self.precision)
        self.parameters: Record | None = None  # ours, for the others to begin with
        self.logits: np.ndarray | None = None  # and to agree with

    def enter(self, name: str, family: str, make: Make) -> bool:
        """Set a contender up; whether it runs a step."""
        tidy(self.device)
        before = self.device.free_bytes()

        def ready(record: Record, cleanup: ExitStack) -> Callable[[], Any]:
            record["detail"] = {}
            step: Callable[[], Any] = make(record, cleanup)
            step()
            self.device.synchronize()
            # Of the whole device, so that every library's caches and workspaces count alike.
            record["memory_bytes"] = before - self.device.free_bytes()
            return step

        return super().enter(name, family, ready)

    def enter_setting(self, setting: Setting) -> bool:
        """Set a configuration of PyTorch up; whether it runs."""
        return self.enter(setting.name, setting.family, lambda *rest: self.theirs(setting, *rest))

    def quickly(self, setting: Setting, end: float) -> float | None:
        """Seconds a step for a search: None where it does not run, or the search has lasted long enough."""
        if self.device.now() > end or not self.enter_setting(setting):
            return None
        took = timing.quick(self.device, timing.Candidate(setting.name, self.ready[setting.name]))
        self.records[setting.name]["cold"] = timing.provisional(took)
        self.leave(setting.name)
        return took

    def ours(self, record: Record, cleanup: ExitStack) -> Callable[[], Any]:
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
        record["detail"]["loss"] = float(result.loss)
        if not np.isfinite(record["detail"]["loss"]):
            raise Wrong(f"our loss is {result.loss}")
        return step

    def theirs(self, setting: Setting, record: Record, cleanup: ExitStack) -> Callable[[], Any]:
        """PyTorch's network."""
        from ..opponents.torch_tensors import load, tensor

        torch, function, detail = load(self.device), None, record["detail"]
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
