"""A whole training step, or inference, of this package and of PyTorch in every configuration that may be its best."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alexnet_cuda.config import Config

from ..opponents import torch_step
from ..opponents.torch_step import Setting
from . import timing
from .bench import DeviceLost, Unavailable, Unsupported, close
from .cases import DTYPES, Tensor, plan
from .results import OURS, Record
from .values import CLASSES, Values

LEARNING_RATE = 1e-4
# Relative to the norm of the logits: each of eight layers rounds once on either side, by so much.
LOGITS = {"bfloat16": 16 * 2.0**-8, "float16": 16 * 2.0**-11, "tf32": 16 * 2.0**-11, "float32": 1e-4}
Stage = Callable[[str], None]
_SEARCH_SECONDS = 80.0


@dataclass
class _Side:
    """A contender that is set up: what enqueues a step, and what it took."""

    step: Callable[[], Any]
    record: Record
    cleanup: ExitStack = field(default_factory=ExitStack)


def flops(mode: str, batch: int) -> int:
    """Of a step: forward, and for training the two gradients of every layer, conv1's by its input excepted."""
    forward = sum(2 * s.multiply_adds for s in plan().steps) * batch
    first = 2 * plan().steps[0].multiply_adds * batch
    return forward if mode == "inference" else 3 * forward - first


class Inputs:
    """A batch on the device: images as the network takes them, and labels."""

    def __init__(self, device: Any, batch: int, precision: str) -> None:
        size = Config().image_size
        self.images = device.empty((batch, size, size, 3), DTYPES[precision])
        device.fill(self.images, "images", Tensor((batch, size, size, 3), DTYPES[precision]), 0)
        labels = Values("labels", Tensor((batch,), "int64")).array()
        assert int(labels.max()) < CLASSES
        self.host_labels, self.labels = labels, device.upload(labels)


def measure(
    device: Any,
    options: Record,
    shared: Record,
    seconds: float,
    excluded: list[str],
    stage: Stage = lambda name: None,
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
        For the measurement in turn.
    excluded : list of str
        Contenders that took the device with them before.
    stage : callable
        Told which contender is at work.
    end : float
        By the device's clock of the host, when no contender may be begun any more.
    """
    contest = _Contest(device, options, shared, excluded, stage)
    contest.enter_ours()
    # What is best for training is not far from best for inference: an own search is for who has time for it.
    found = shared.get("settings", {})
    given = [Setting(**values) for values in found.get(options["mode"], found.get("training", []))]
    if options["search"] or not given:
        search_end = min(end, device.now() + _SEARCH_SECONDS)
        chosen = torch_step.search(options["precision"], lambda s: contest.shortly(s, search_end))
    else:
        chosen = [_fitted(s, options["precision"]) for s in given]
    final = _finalists(chosen)
    for setting in final:
        if device.now() < end:
            contest.enter(setting)
    contest.time(seconds)
    mode, batch, precision = options["mode"], options["batch"], options["precision"]
    return {
        "kind": "step",
        "key": f"step.{mode}/{batch}/{precision}",
        "mode": mode,
        "batch": batch,
        "precision": precision,
        "flops": flops(mode, batch),
        "contenders": contest.records,
        "settings": [vars(s) for s in final],
    }


class _Contest:
    """The contenders of one measurement, and what is known of each."""

    def __init__(self, device: Any, options: Record, shared: Record, excluded: list[str], stage: Stage) -> None:
        self.device, self.options, self.shared = device, options, shared
        self.excluded, self.stage = excluded, stage
        self.inputs = Inputs(device, options["batch"], options["precision"])
        self.parameters: Record = {}  # ours, and our logits, for the others to agree with
        self.records: Record = {}
        self.sides: dict[str, _Side] = {}

    def enter_ours(self) -> None:
        """Set this package's model up."""
        mode, precision = self.options["mode"], self.options["precision"]
        if OURS not in self.excluded:
            self._enter(OURS, OURS, lambda cleanup: _ours(self.device, mode, precision, self.inputs, self.parameters))

    def enter(self, setting: Setting) -> bool:
        """Set a configuration of PyTorch up; whether it runs."""
        if setting.name in self.excluded:
            return False
        rest = (self.options, self.inputs, self.shared, self.parameters)
        return self._enter(setting.name, setting.family, lambda cleanup: _theirs(setting, *rest, cleanup))

    def _enter(self, name: str, family: str, make: Callable[[ExitStack], _Side]) -> bool:
        self.stage(name)
        earlier = self.records.get(name, {})
        self.records[name] = {**earlier, **_try(self.device, name, family, make, self.sides)}
        return name in self.sides

    def shortly(self, setting: Setting, end: float) -> float | None:
        """Seconds a step for a search: None where it does not run, or the search has lasted long enough."""
        if self.device.now() > end or not self.enter(setting):
            return None
        side = self.sides.pop(setting.name)
        took = timing.quick(self.device, timing.Candidate(setting.name, side.step), 5)
        self.records[setting.name]["cold"] = {"median": round(1e6 * took, 3), "rounds": 5, "shortly": True}
        _close(self.device, {setting.name: side})
        return took

    def time(self, seconds: float) -> None:
        """All that are set up, in turn."""
        candidates = [timing.Candidate(name, side.step) for name, side in self.sides.items()]
        for name, times in timing.in_turn(self.device, candidates, seconds).items():
            self.records[name] |= {
                "cold": times.to_json(),
                "images_per_second": round(self.options["batch"] / times.median, 1),
                "host_us": _host_microseconds(self.device, self.sides[name].step),
            }
        _close(self.device, self.sides)


def _finalists(chosen: list[Setting]) -> list[Setting]:
    """The two fastest of PyTorch, and the fastest made of cuDNN."""
    own = [s for s in chosen if s.family == "torch"][:2]
    return own + [s for s in chosen if s.family == "library"][:1]


def _fitted(setting: Setting, precision: str) -> Setting:
    """A setting found in bfloat16, for another precision."""
    if precision in ("bfloat16", "float16"):
        return setting
    return Setting(**{**vars(setting), "weights": "float32"})


def _try(device: Any, name: str, family: str, make: Callable[[ExitStack], _Side], sides: dict[str, _Side]) -> Record:
    """Set a contender up; its record says what came of it."""
    tidy(device)
    before, cleanup = device.free_bytes(), ExitStack()
    try:
        side = make(cleanup)
        side.step()
        device.synchronize()
        side.cleanup = cleanup.pop_all()
    except Unavailable as error:
        return {"family": family, "status": "unavailable", "message": str(error)}
    except Unsupported as error:
        return {"family": family, "status": "unsupported", "message": str(error)}
    except Wrong as error:
        return {"family": family, "status": "wrong", "message": str(error)}
    except Exception as error:  # whatever a library raises: the others go on
        message = f"{type(error).__name__}: {error}"[:500]
        try:
            device.synchronize()
        except Exception as lost:
            raise DeviceLost(name, message) from lost
        return {"family": family, "status": "failed", "message": message}
    finally:
        close(cleanup)
    sides[name] = side
    # Of the whole device, so that every library's caches and workspaces count alike.
    side.record |= {"family": family, "status": "ok", "memory_bytes": before - device.free_bytes()}
    return side.record


class Wrong(Exception):
    """A contender's logits are not those of the network."""


def _compare(name: str, logits: np.ndarray, expected: np.ndarray, precision: str) -> None:
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


def _ours(device: Any, mode: str, precision: str, inputs: Inputs, parameters: Record) -> _Side:
    import alexnet_cuda

    model = alexnet_cuda.Model(devices="cuda:0", precision=precision, init="he")
    parameters.update({name: np.array(value) for name, value in model.parameters.items()})
    images = _accepted(device, model, inputs)
    parameters["logits"] = _host(device, model.forward(images))
    if not np.isfinite(parameters["logits"]).all():
        raise Wrong("our logits are not finite")
    if mode == "inference":
        return _Side(followed(model, lambda: model.forward(images)), {"detail": {}})

    step = followed(model, lambda: model.train_step(images, inputs.labels, learning_rate=LEARNING_RATE))
    for _ in range(4):  # the first steps run one by one, the later ones are replays of a graph
        result = step()
    if not np.isfinite(float(result.loss)):
        raise Wrong(f"our loss is {result.loss}")
    return _Side(step, {"detail": {"loss": float(result.loss)}})


def _accepted(device: Any, model: Any, inputs: Inputs) -> Any:
    """The images in the network's type, or in float32 where the model takes no other: the same numbers."""
    try:
        model.forward(inputs.images)
        return inputs.images
    except TypeError:
        shape, rounded = inputs.images.shape, inputs.images.dtype.name
        images = device.empty(shape, "float32")
        device.fill(images, "images", Tensor(tuple(shape), "float32", rounded=rounded), 0)
        return images


def _host(device: Any, array: Any) -> np.ndarray:
    host = array if isinstance(array, np.ndarray) else device.download(array)
    return np.asarray(host, np.float64)


def _theirs(
    setting: Setting, options: Record, inputs: Inputs, shared: Record, parameters: Record, cleanup: ExitStack
) -> _Side:
    from ..opponents.torch_tensors import load, tensor

    torch = load()
    precision, config = options["precision"], Config()
    torch_step.check_norm_constants(config)
    detail: Record = {}
    function = None
    if setting.convolutions == "cuDNN":
        from ..opponents.cudnn_step import convolution

        function, detail["plans"] = convolution(options["batch"], precision, shared.get("plans", {}), cleanup)
    known = parameters if "conv1.weight" in parameters else None
    network = torch_step.Network(config, setting, precision, "cuda", known, function)
    x = tensor(inputs.images).permute(0, 3, 1, 2)
    if "logits" in parameters:
        network.training = False
        with torch.inference_mode(), network.autocast():
            logits = network(x).double().cpu().numpy()
        _compare(setting.name, logits, parameters["logits"], precision)
        network.training = True
    if options["mode"] == "inference":
        runner = torch_step.inference(network, x)
    else:
        runner = torch_step.training(network, x, tensor(inputs.labels))
    detail["kernels"] = len(runner.kernels()) or None
    return _Side(runner.step, {"detail": detail})


def tidy(device: Any) -> None:
    """Give the memory back that a contender left behind."""
    gc.collect()  # a network and its compiled functions refer to each other
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    device.release()


def _close(device: Any, sides: dict[str, _Side]) -> None:
    device.synchronize()
    for side in sides.values():
        close(side.cleanup)
    sides.clear()
    tidy(device)


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
