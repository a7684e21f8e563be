"""The same network in PyTorch, a whole training step or inference, in every configuration that may be its best.

Weights on NHWC activations (channels_last); normalisation within towers with alpha times the sum; dropout; momentum SGD
with decay on weights alone and twice the rate for biases. `benchmarks/run_all.py --self-check` holds its loss and
gradients against this package's on the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alexnet_cuda.config import Config
from alexnet_cuda.network.plan import Step, build_plan

from ..harness.cases import DTYPES
from ..harness.results import Record
from .torch_ops import graph_capture, library_norm, response_norm, response_norm_gradient
from .torch_tensors import settings

RUNS = ("graph", "eager", "reduce-overhead", "max-autotune")
_SHORT = ("bfloat16", "float16")


@dataclass(frozen=True)
class Setting:
    """One configuration."""

    weights: str = "autocast"  # or "pure": everything in 16 bits; or "float32"
    run: str = "graph"  # a CUDA graph of the whole step made by hand; "eager"; or a mode of `torch.compile`
    channels: int = 3  # that conv1's input is padded to: 4 or 8
    groups: str = "grouped"  # or "split": a call a group
    norm: str = "fused"  # one compiled kernel; or "library": PyTorch's own function
    convolutions: str = "PyTorch"  # or "cuDNN": the plans of its graph API that measured fastest, layer by layer

    @property
    def name(self) -> str:
        """In results."""
        how = {"graph": "CUDA graph by hand", "eager": "eager"}.get(self.run, f"compiled, {self.run}")
        parts = [how, f"{self.weights} weights" if self.weights != "autocast" else "autocast"]
        parts += [f"conv1 padded to {self.channels}"] * (self.channels != 3)
        parts += ["a call a group"] * (self.groups == "split") + ["library LRN"] * (self.norm == "library")
        head = "PyTorch" if self.convolutions == "PyTorch" else "cuDNN and cuBLAS"
        return ", ".join([head, *parts])

    @property
    def family(self) -> str:
        """Of the results' contenders."""
        return "torch" if self.convolutions == "PyTorch" else "library"


def _alternatives(setting: Setting, precision: str) -> list[list[Setting]]:
    """What a search tries, one choice after the other: each list holds the alternatives to what is best so far."""
    changes: list[tuple[str, tuple[Any, ...]]] = [
        ("weights", ("pure",) if precision in _SHORT else ()),
        ("channels", (4, 8)),
        ("groups", ("split",)),
        ("norm", ("library",)),
        ("convolutions", ("cuDNN",)),
        ("run", RUNS[1:]),
    ]
    return [[dataclasses.replace(setting, **{name: v}) for v in values] for name, values in changes]


def search(precision: str, seconds_of: Callable[[Setting], float | None]) -> list[Setting]:
    """Every setting that ran, fastest first: one choice at a time, keeping the better.

    `seconds_of` a setting is None where it does not run or there is no time left to try it.
    """
    best = Setting(weights="autocast" if precision in _SHORT else "float32")
    times = {best: seconds_of(best)}
    for position in range(len(_alternatives(best, precision))):
        for setting in _alternatives(best, precision)[position]:
            times[setting] = seconds_of(setting)
        own = [s for s, seconds in times.items() if seconds is not None and s.convolutions == "PyTorch"]
        best = min(own, key=lambda s: times[s] or 0.0, default=best)
    ran = [s for s, seconds in times.items() if seconds is not None]
    return sorted(ran, key=lambda s: times[s] or 0.0)


def finalists(chosen: list[Setting]) -> list[Setting]:
    """The two fastest of PyTorch, and the fastest made of cuDNN."""
    own = [s for s in chosen if s.family == "torch"][:2]
    return own + [s for s in chosen if s.family == "library"][:1]


def fitted(setting: Setting, precision: str) -> Setting:
    """A setting found in bfloat16, for another precision."""
    return setting if precision in _SHORT else dataclasses.replace(setting, weights="float32")


def _norm_function(torch: Any) -> Any:
    """The normalisation as an autograd function whose two passes are compiled, one kernel each."""
    forward = torch.compile(lambda x, groups: response_norm(torch, x, groups), dynamic=False)
    backward = torch.compile(lambda dy, x, groups: response_norm_gradient(torch, dy, x, groups), dynamic=False)

    class Norm(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, groups: int) -> Any:
            ctx.save_for_backward(x)
            ctx.groups = groups
            return forward(x, groups)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            (x,) = ctx.saved_tensors
            return backward(dy.contiguous(), x, ctx.groups), None

    return Norm.apply


class Network:
    """The network of a configuration of preset "paper", as tensors and a forward function.

    `parameters` are this package's, by name; random ones otherwise. A `convolution` in the place of PyTorch's goes from
    a step, x, weight and bias to the activated output, all NCHW in channels_last.
    """

    def __init__(
        self,
        config: Config,
        setting: Setting,
        precision: str,
        device: str = "cuda",
        parameters: Any = None,
        convolution: Callable[..., Any] | None = None,
    ) -> None:
        import torch

        self.torch, self.config, self.setting, self.precision = torch, config, setting, precision
        self.steps = build_plan(config).steps
        self.compute = getattr(torch, DTYPES[precision])
        self.held = self.compute if setting.weights == "pure" else torch.float32
        self.device, self.convolution = device, convolution
        self.weights: dict[str, Any] = {}
        for step in self.steps:
            if step.weight_shape:
                self._add(step, parameters)
        inline = setting.run in ("reduce-overhead", "max-autotune") or device == "cpu"
        fused = (lambda x, groups: response_norm(torch, x, groups)) if inline else _norm_function(torch)
        self.norm = fused if setting.norm == "fused" else lambda x, groups: library_norm(torch, x, groups)
        self.training = True

    def _add(self, step: Step, parameters: Any) -> None:
        torch, shape = self.torch, step.weight_shape
        if parameters is None:
            fan_in = shape[1] if len(shape) == 2 else shape[1] * shape[2] * shape[3]
            weight = torch.randn(shape) * (2.0 / fan_in) ** 0.5
            bias = torch.zeros(shape[0])
        else:
            weight, bias = (torch.from_numpy(parameters[f"{step.name}.{kind}"].copy()) for kind in ("weight", "bias"))
        if len(shape) == 4:  # KRSC to KCRS, which in channels_last is the same memory
            extra = self.setting.channels - 3 if step.name == "conv1" else 0
            weight = torch.nn.functional.pad(weight.float(), (0, extra)).permute(0, 3, 1, 2)
        for kind, value in (("weight", weight), ("bias", bias)):
            made = value.to(self.device, self.held)
            if made.dim() == 4:
                made = made.contiguous(memory_format=torch.channels_last)
            self.weights[f"{step.name}.{kind}"] = made.detach().requires_grad_()

    def __call__(self, x: Any) -> Any:
        """Logits from x [N, 3, H, W] in channels_last."""
        torch = self.torch
        if self.setting.channels > 3:
            x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, self.setting.channels - 3))
            x = x.contiguous(memory_format=torch.channels_last)
        for step in self.steps:
            x = getattr(self, "_" + step.op)(step, x)
        return x

    def _conv2d(self, step: Step, x: Any) -> Any:
        torch, how = self.torch, (step.stride, step.padding)
        weight, bias = self.weights[f"{step.name}.weight"], self.weights[f"{step.name}.bias"]
        if self.convolution is not None:
            return self.convolution(step, x, weight, bias)
        conv2d = torch.nn.functional.conv2d
        if step.groups > 1 and self.setting.groups == "split":
            parts = zip(*(t.chunk(step.groups, d) for t, d in ((x, 1), (weight, 0), (bias, 0))), strict=True)
            y = torch.cat([conv2d(a, w, b, *how) for a, w, b in parts], 1)
        else:
            y = conv2d(x, weight, bias, *how, 1, step.groups)
        return torch.relu_(y)

    def _lrn(self, step: Step, x: Any) -> Any:
        y = self.norm(x.permute(0, 2, 3, 1), step.groups)
        return y.permute(0, 3, 1, 2)

    def _max_pool(self, step: Step, x: Any) -> Any:
        return self.torch.nn.functional.max_pool2d(x, step.kernel, step.stride)

    def _linear(self, step: Step, x: Any) -> Any:
        if x.dim() == 4:  # (h, w, c) order, as this package keeps fc6's input: a view in channels_last
            x = x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)
        y = self.torch.nn.functional.linear(x, self.weights[f"{step.name}.weight"], self.weights[f"{step.name}.bias"])
        return self.torch.relu_(y) if step.activation == "relu" else y

    def _dropout(self, step: Step, x: Any) -> Any:
        return self.torch.nn.functional.dropout(x, self.config.dropout, self.training)

    def autocast(self) -> Any:
        """The context of the forward pass."""
        enabled = self.setting.weights == "autocast"
        return self.torch.autocast(self.device, self.compute if enabled else None, enabled, cache_enabled=False)

    def loss(self, logits: Any, labels: Any) -> Any:
        """Mean cross-entropy."""
        return self.torch.nn.functional.cross_entropy(logits, labels)

    def optimizer(self, learning_rate: float, fused: bool = True) -> Any:
        """Momentum SGD with decay on weights, biases at twice the rate."""
        weights = [w for name, w in self.weights.items() if name.endswith("weight")]
        biases = [w for name, w in self.weights.items() if name.endswith("bias")]
        groups = [{"params": weights, "weight_decay": 5e-4}, {"params": biases, "lr": 2 * learning_rate}]
        return self.torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, fused=fused)


def training(network: Network, x: Any, labels: Any, learning_rate: float, detail: Record) -> Callable[[], Any]:
    """What enqueues a training step on one batch: forward, loss, backward, update."""
    torch, setting = network.torch, network.setting
    settings(torch, network.precision)
    optimizer = network.optimizer(learning_rate)
    scaled = network.precision == "float16" and setting.weights == "autocast"
    call = _compiled(network)
    begin = getattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None) if setting.run in RUNS[2:] else None

    def step() -> Any:
        if begin is not None:
            begin()
        optimizer.zero_grad(set_to_none=True)
        with network.autocast():
            loss = network.loss(call(x), labels)
        (loss * 1024.0 if scaled else loss).backward()
        if scaled:
            torch._foreach_div_([w.grad for w in network.weights.values()], 1024.0)
        optimizer.step()
        return loss

    return _ready(torch, setting, step, detail)


def inference(network: Network, x: Any, detail: Record) -> Callable[[], Any]:
    """What enqueues a forward pass on one batch and brings its logits to the host, as this package's `forward` does."""
    torch, setting = network.torch, network.setting
    settings(torch, network.precision)
    network.training = False
    call, logits = _compiled(network), [None]

    def step() -> Any:
        with torch.inference_mode(), network.autocast():
            logits[0] = call(x)

    ready = _ready(torch, setting, step, detail)

    def and_fetch() -> Any:
        ready()
        held: Any = logits[0]
        return held.cpu()

    return and_fetch


def _compiled(network: Network) -> Callable[[Any], Any]:
    if network.setting.run not in RUNS[2:]:
        return network.__call__
    compiled: Callable[[Any], Any] = network.torch.compile(network.__call__, mode=network.setting.run, dynamic=False)
    return compiled


def _ready(torch: Any, setting: Setting, step: Callable[[], Any], detail: Record) -> Callable[[], Any]:
    """The step compiled, recorded, and after cuDNN has tried its algorithms; into `detail` how many kernels it is."""
    if setting.run == "graph":
        captured = graph_capture(torch, 4)(step)
        detail["kernels"] = len(captured.kernels()) or None
        return captured.replay
    for _ in range(4):
        step()
    torch.cuda.synchronize()
    return step
