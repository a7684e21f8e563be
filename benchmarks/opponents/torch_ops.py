"""PyTorch's operations, in channels_last, with cuDNN's benchmark of all its algorithms; compiled where that may fuse.

Tensors are views of the case's own arrays. Captured into a CUDA graph by PyTorch itself, so its host time never counts.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..harness.bench import Bench, Contender, Prepared
from ..harness.cases import Case, conv
from ..harness.device import Captured
from ..ops import _normpool as normpool
from ..ops import bench_linear
from ..ops._common import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from .torch_tensors import load, tensor

Outputs = dict[str, Any]
Function = Callable[[Outputs], Outputs]  # from the tensors of one set to the outputs
_COMPILE_SECONDS = 8.0  # PyTorch's compiler, for the eight shapes or so of a case's sets
Factory = Callable[[Any, Case], Function]  # all that depends on the case alone is settled here, before any compiler


def settings(torch: Any, precision: str) -> None:
    """cuDNN tries all its algorithms; TF32 only where it is measured; the compiler never falls back to eager.

    It would, silently, after compiling the same source for eight shapes.
    """
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 1 << 20)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 0
    allow = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = allow
    torch.backends.cuda.matmul.allow_tf32 = allow


def contenders(case: Case) -> list[Contender]:
    """PyTorch eager, and compiled where there is something to fuse."""
    eager = _FACTORIES.get((case.op, case.direction))
    if eager is None:
        return []
    found = [_contender("PyTorch", eager, False)]
    if compiled := _COMPILED.get((case.op, case.direction)):
        found.append(_contender("PyTorch, compiled", compiled, True))
    if case.op == "linear" and case.direction in ("fprop", "dgrad", "wgrad"):
        found.append(Contender("cuBLAS through PyTorch", "library", found[0].prepare))
    return found


def _contender(name: str, factory: Factory, compiled: bool) -> Contender:
    seconds = _COMPILE_SECONDS if compiled else 1.0
    return Contender(name, "torch", lambda bench: _prepare(bench, factory, compiled), seconds)


def graph_capture(torch: Any) -> Callable[[Callable[[], Any]], Captured]:
    """PyTorch's own capture, so that what it allocates lies in the graph's pool."""

    def capture(function: Callable[[], Any]) -> Captured:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            function()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with contextlib.suppress(AttributeError, RuntimeError):
            graph.enable_debug_mode()
        with torch.cuda.graph(graph):
            function()
        return Captured(graph.replay, lambda: _dot(graph))

    return capture


def _dot(graph: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.dot")
        graph.debug_dump(path)
        return Path(path).read_text()


def _prepare(bench: Bench, factory: Factory, compiled: bool) -> Prepared:
    torch = load(bench.device)
    case = bench.case
    settings(torch, case.precision)
    views = [{name: tensor(a[name]) for name in bench.tensors.all()} for a in bench.sets]
    for view in views:
        if "bias" in view:
            view["bias"] = view["bias"].to(view["x"].dtype)
    call = factory(torch, case)
    call = torch.compile(call, fullgraph=True, dynamic=False) if compiled else call
    last: Outputs = {}

    def run(index: int) -> None:
        with torch.no_grad():
            last.update(call(views[index]))

    def outputs() -> Outputs:
        return {name: _download(value) for name, value in last.items()}

    bench.cleanup.callback(last.clear)
    capture = None if bench.device.host else graph_capture(torch)
    return Prepared(run, outputs, detail={"torch": torch.__version__}, capture=capture)


def _download(value: Any) -> Any:
    """A tensor as a host array in its own memory order, bfloat16 included."""
    import torch

    from ..harness.values import numpy_dtype

    value = value.detach()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).cpu().numpy().view(numpy_dtype("bfloat16"))
    return value.cpu().numpy()


# -- the operations; NHWC arrays are channels_last tensors seen through a permutation


def _nchw(x: Any) -> Any:
    return x.permute(0, 3, 1, 2)


def _nhwc(x: Any) -> Any:
    return x.permute(0, 2, 3, 1).contiguous()


def _kept(t: Outputs, make: Callable[[], Any]) -> Any:
    """What is made at a set's first call, which nothing times: what a forward pass leaves for the backward pass."""
    if "_kept" not in t:
        t["_kept"] = make()
    return t["_kept"]


def _conv_arguments(case: Case) -> tuple[list[int], list[int], int]:
    c = conv(case)
    return [c.stride] * 2, [c.padding] * 2, c.groups


def _conv_fprop(torch: Any, case: Case) -> Function:
    stride, padding, groups = _conv_arguments(case)
    conv2d = torch.nn.functional.conv2d

    def call(t: Outputs) -> Outputs:
        return {"y": _nhwc(conv2d(_nchw(t["x"]), _nchw(t["weight"]), None, stride, padding, 1, groups))}

    return call


def _conv_fused(torch: Any, case: Case) -> Function:
    stride, padding, groups = _conv_arguments(case)
    conv2d, relu = torch.nn.functional.conv2d, torch.relu_

    def call(t: Outputs) -> Outputs:
        y = conv2d(_nchw(t["x"]), _nchw(t["weight"]), t["bias"], stride, padding, 1, groups)
        return {"y": _nhwc(relu(y))}

    return call


def _conv_backward(torch: Any, case: Case, mask: list[bool]) -> Callable[[Outputs], Any]:
    """A gradient; what it does not read is given all the same, for PyTorch takes the memory format from it."""
    stride, padding, groups = _conv_arguments(case)
    c = conv(case)
    shapes = {"x": (c.N, c.H, c.W, c.C), "weight": (c.K, c.R, c.S, c.C // c.groups)}
    unread = "x" if mask[0] else "weight"
    options = (None, stride, padding, [1, 1], False, [0, 0], groups, mask)

    def call(t: Outputs) -> Any:
        given = {**t, unread: _kept(t, lambda: t["dy"].new_empty(shapes[unread]))}
        operands = [_nchw(given[name]) for name in ("dy", "x", "weight")]
        return torch.ops.aten.convolution_backward(*operands, *options)

    return call


def _conv_dgrad(torch: Any, case: Case) -> Function:
    backward = _conv_backward(torch, case, [True, False, False])
    return lambda t: {"dx": _nhwc(backward(t)[0])}


def _conv_wgrad(torch: Any, case: Case) -> Function:
    backward = _conv_backward(torch, case, [False, True, False])
    return lambda t: {"dweight": _nhwc(backward(t)[1])}


def _linear_fprop(torch: Any, case: Case) -> Function:
    return lambda t: {"y": torch.mm(t["x"], t["weight"].t())}


def _linear_fused(torch: Any, case: Case) -> Function:
    if bench_linear.activation(case) == "relu":
        return lambda t: {"y": torch._addmm_activation(t["bias"], t["x"], t["weight"].t())}
    return lambda t: {"y": torch.addmm(t["bias"], t["x"], t["weight"].t())}


def _linear_dgrad(torch: Any, case: Case) -> Function:
    return lambda t: {"dx": torch.mm(t["dy"], t["weight"])}


def _linear_wgrad(torch: Any, case: Case) -> Function:
    return lambda t: {"dweight": torch.mm(t["dy"].t(), t["x"])}


def _updating(gradient: Factory) -> Factory:
    """A gradient, then PyTorch's fused SGD, then the 16-bit copy.

    PyTorch keeps the velocity without the learning rate in it (v <- m v + g + d w; w <- w - lr v), so it begins from
    another one, and its check compares the weights alone.
    """

    def factory(torch: Any, case: Case) -> Function:
        of = gradient(torch, case)
        fixed = {"weight_decay": WEIGHT_DECAY, "momentum": MOMENTUM, "lr": LEARNING_RATE, "dampening": 0.0}
        flags = {"nesterov": False, "maximize": False, "is_first_step": False}

        def call(t: Outputs) -> Outputs:
            master = t["master"]
            if "_velocity" not in t:
                t["_velocity"] = t["velocity"] * (-1.0 / LEARNING_RATE)
            (g,) = of(t).values()
            torch._fused_sgd_([master], [g.to(master.dtype)], [t["_velocity"]], **fixed, **flags)
            return {"master": master, **({"copy": master.to(t["copy"].dtype)} if "copy" in t else {})}

        return call

    return factory


def window_sums(torch: Any, x: Any, groups: int, size: int) -> Any:
    """Sums over `size` neighbouring channels of NHWC x within each group, as shifted additions."""
    half = size // 2
    parts = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    padded = torch.nn.functional.pad(parts, (half, half))
    length = parts.shape[-1]
    total = padded[..., :length]
    for i in range(1, size):
        total = total + padded[..., i : i + length]
    return total.reshape(x.shape)


def response_norm(torch: Any, x: Any, groups: int) -> Any:
    """The paper's normalisation on NHWC x, in float32 inside: what the compiler makes one kernel of."""
    wide = x.float()
    s = normpool.K + normpool.ALPHA * window_sums(torch, wide * wide, groups, normpool.SIZE)
    return (wide * s**-normpool.BETA).to(x.dtype)


def response_norm_gradient(torch: Any, dy: Any, x: Any, groups: int) -> Any:
    """Its gradient by x."""
    wide, gradient = x.float(), dy.float()
    s = normpool.K + normpool.ALPHA * window_sums(torch, wide * wide, groups, normpool.SIZE)
    power = s**-normpool.BETA
    ratios = window_sums(torch, gradient * wide * power / s, groups, normpool.SIZE)
    return (gradient * power - 2 * normpool.ALPHA * normpool.BETA * wide * ratios).to(x.dtype)


def library_norm(torch: Any, x: Any, groups: int) -> Any:
    """PyTorch's own `local_response_norm` on NHWC x: the groups of a pixel as images; its alpha is divided by size."""
    parts = x.reshape(-1, x.shape[-1] // groups, 1)
    alpha = normpool.ALPHA * normpool.SIZE
    y = torch.nn.functional.local_response_norm(parts, normpool.SIZE, alpha, normpool.BETA, normpool.K)
    return y.reshape(x.shape)


def _lrn_fprop(torch: Any, case: Case) -> Function:
    groups = normpool.maps(case).groups
    return lambda t: {"y": library_norm(torch, t["x"], groups)}


def _lrn_fprop_fused(torch: Any, case: Case) -> Function:
    groups = normpool.maps(case).groups
    return lambda t: {"y": response_norm(torch, t["x"], groups)}


def _lrn_bprop(torch: Any, case: Case) -> Function:
    groups = normpool.maps(case).groups
    return lambda t: {"dx": response_norm_gradient(torch, t["dy"], t["x"], groups)}


def _pool(torch: Any, x: Any) -> Any:
    return torch.nn.functional.max_pool2d(_nchw(x), normpool.POOL, normpool.STRIDE, return_indices=True)


def _unpool(torch: Any, dy: Any, x: Any, indices: Any) -> Any:
    size, stride = [normpool.POOL] * 2, [normpool.STRIDE] * 2
    backward = torch.ops.aten.max_pool2d_with_indices_backward
    return _nhwc(backward(_nchw(dy), _nchw(x), size, stride, [0, 0], [1, 1], False, indices))


def _pool_fprop(torch: Any, case: Case) -> Function:
    return lambda t: {"y": _nhwc(_pool(torch, t["x"])[0])}


def _pool_bprop(torch: Any, case: Case) -> Function:
    return lambda t: {"dx": _unpool(torch, t["dy"], t["x"], _kept(t, lambda: _pool(torch, t["x"])[1]))}


def _lrn_pool_fprop(torch: Any, case: Case) -> Function:
    groups = normpool.maps(case).groups
    return lambda t: {"y": _nhwc(_pool(torch, library_norm(torch, t["x"], groups))[0])}


def _lrn_pool_fprop_fused(torch: Any, case: Case) -> Function:
    groups = normpool.maps(case).groups
    return lambda t: {"y": _nhwc(_pool(torch, response_norm(torch, t["x"], groups))[0])}


def _lrn_pool_bprop(torch: Any, case: Case) -> Function:
    groups = normpool.maps(case).groups
    gradient = torch.compile(lambda dy, x: response_norm_gradient(torch, dy, x, groups), dynamic=False)

    def forward(x: Any) -> tuple[Any, Any]:
        between = response_norm(torch, x, groups)
        return between, _pool(torch, between)[1]

    def call(t: Outputs) -> Outputs:
        between, indices = _kept(t, lambda: forward(t["x"]))
        return {"dx": gradient(_unpool(torch, t["dy"], between, indices), t["x"])}

    return call


def _cross_entropy(torch: Any, case: Case) -> Function:
    def call(t: Outputs) -> Outputs:
        logits = t["logits"].detach().requires_grad_()
        with torch.enable_grad():
            loss = torch.nn.functional.cross_entropy(logits, t["labels"])
            (gradient,) = torch.autograd.grad(loss, logits)
        return {"dlogits": gradient}

    return call


def _cross_entropy_fused(torch: Any, case: Case) -> Function:
    scale = 1.0 / case.batch

    def call(t: Outputs) -> Outputs:
        logits = t["logits"].float()
        onehot = torch.arange(logits.shape[1], device=logits.device) == t["labels"][:, None]
        return {"dlogits": ((torch.softmax(logits, 1) - onehot.float()) * scale).to(t["logits"].dtype)}

    return call


def _dropout(torch: Any, case: Case) -> Function:
    return lambda t: {"y (its own mask)": torch.nn.functional.dropout(t["x"], 0.5, True)}


_FACTORIES: dict[tuple[str, str], Factory] = {
    ("conv2d", "fprop"): _conv_fprop,
    ("conv2d", "fprop_fused"): _conv_fused,
    ("conv2d", "dgrad"): _conv_dgrad,
    ("conv2d", "wgrad"): _conv_wgrad,
    ("conv2d", "wgrad_sgd"): _updating(_conv_wgrad),
    ("linear", "fprop"): _linear_fprop,
    ("linear", "fprop_fused"): _linear_fused,
    ("linear", "dgrad"): _linear_dgrad,
    ("linear", "wgrad"): _linear_wgrad,
    ("linear", "wgrad_sgd"): _updating(_linear_wgrad),
    ("lrn", "fprop"): _lrn_fprop,
    ("lrn", "bprop"): _lrn_bprop,
    ("max_pool", "fprop"): _pool_fprop,
    ("max_pool", "bprop"): _pool_bprop,
    ("lrn_max_pool", "fprop"): _lrn_pool_fprop,
    ("lrn_max_pool", "bprop"): _lrn_pool_bprop,
    ("softmax_cross_entropy", "fprop"): _cross_entropy,
    ("sgd", "update"): _updating(lambda torch, case: lambda t: {"gradient": t["gradient"]}),
    ("dropout", "apply"): _dropout,
}
# Where PyTorch's compiler has something to fuse.
_COMPILED: dict[tuple[str, str], Factory] = {
    ("conv2d", "fprop_fused"): _conv_fused,
    ("lrn", "fprop"): _lrn_fprop_fused,
    ("lrn", "bprop"): _lrn_bprop,
    ("lrn_max_pool", "fprop"): _lrn_pool_fprop_fused,
    ("softmax_cross_entropy", "fprop"): _cross_entropy_fused,
}
