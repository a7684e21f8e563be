"""The network's convolutions through cuDNN's plans, as an autograd function: the step made of cuDNN and cuBLAS.

Everything between (bias gradients, ReLU's mask, pooling, dropout, the update) is PyTorch's, FC layers are cuBLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..harness.cases import DTYPES, Case, layers
from ..harness.contest import Unsupported
from . import cudnn_graph
from .convolution import Variant, variants

Plans = dict[str, list[str]]  # key of a case to the variant's and the plan's name that measured fastest


class Pass:
    """One direction of one layer: a graph, the plan in use, and where each call's operands begin."""

    def __init__(self, cudnn: Any, handle: Any, case: Case, known: Plans) -> None:
        variant_name, plan_name = known.get(case.key, ["", ""])
        offered = [v for v in variants(case) if not v.padded]
        self.variant: Variant = next((v for v in offered if v.name == variant_name), offered[0])
        self.graph = cudnn_graph.Graph(cudnn, self.variant.calls[0], case.direction, case.precision, handle=handle)
        plans = list(self.graph.plans())
        if not plans:
            raise Unsupported(f"no plan of {case.key} can be built")
        named = [p for p in plans if p[1] == plan_name]
        self.index, self.plan, self.workspace = (named or plans)[0]
        self.handle, self.itemsize = handle, np.dtype(case.dtype).itemsize

    def __call__(self, torch: Any, **operands: Any) -> None:
        """Enqueue on PyTorch's current stream."""
        workspace = torch.empty(self.workspace + 256, dtype=torch.uint8, device="cuda")
        beginnings = {name: tensor.data_ptr() for name, tensor in operands.items()}
        for call in self.variant.calls:
            self.graph.run(self.index, call.addresses(beginnings, self.itemsize), workspace.data_ptr(), self.handle)


def convolution(
    batch: int, precision: str, known: Plans, cleanup: ExitStack
) -> tuple[Callable[..., Any], dict[str, str]]:
    """What takes the place of PyTorch's convolutions in `torch_step.Network` until `cleanup`; the plan of every pass.

    Raises `Unavailable` where there is no cuDNN graph API, `Unsupported` where it has no plan for a pass.
    """
    import torch

    cudnn = cudnn_graph.load()
    handle = cudnn_graph.opened(cudnn, cleanup)
    passes: dict[tuple[str, str], Pass] = {}

    def get(layer: str, direction: str) -> Pass:
        key = (layer, direction)
        if key not in passes:
            passes[key] = Pass(cudnn, handle, Case("conv2d", direction, layer, batch, precision), known)
        cudnn.set_stream(handle=handle, stream=torch.cuda.current_stream().cuda_stream)
        return passes[key]

    def like(shape: tuple[int, ...], x: Any) -> Any:
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)

    class Convolution(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, step: Any, x: Any, weight: Any, bias: Any) -> Any:
            p, q, k = step.output
            y = like((x.shape[0], k, p, q), x)
            get(step.name, "fprop_fused")(torch, x=x, weight=weight, bias=bias, y=y)
            ctx.save_for_backward(x, weight, y)
            ctx.step = step
            return y

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            x, weight, y = ctx.saved_tensors
            dy = torch.ops.aten.threshold_backward(dy, y, 0).contiguous(memory_format=torch.channels_last)
            dweight, dx = like(weight.shape, x), None
            get(ctx.step.name, "wgrad")(torch, x=x, dy=dy, dweight=dweight)
            if ctx.needs_input_grad[1]:
                dx = like(x.shape, x)
                get(ctx.step.name, "dgrad")(torch, dy=dy, weight=weight, dx=dx)
            return None, dx, dweight, dy.sum((0, 2, 3))

    def apply(step: Any, x: Any, weight: Any, bias: Any) -> Any:
        dtype = getattr(torch, DTYPES[precision])
        x, weight, bias = (t.to(dtype) for t in (x, weight, bias))
        weight = weight.contiguous(memory_format=torch.channels_last)
        return Convolution.apply(step, x.contiguous(memory_format=torch.channels_last), weight, bias)

    for layer in layers("conv2d"):
        for direction in ("fprop_fused", "wgrad", *(["dgrad"] if layer != "conv1" else [])):
            get(layer, direction)
    return apply, {f"{layer}.{direction}": p.plan for (layer, direction), p in passes.items()}
