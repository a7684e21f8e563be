"""PyTorch's operations, in channels_last, with cuDNN's benchmark of all its algorithms; compiled where that may fuse.

Tensors are views of the case's own arrays. Captured into a CUDA graph by PyTorch itself, so its host time never counts.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..harness.bench import Bench, Contender, Prepared
from ..harness.cases import CONFIG, Case
from ..harness.device import Captured
from ..ops.base import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from .torch_tensors import download, load, settings, tensor

Tensors = dict[str, Any]
Function = Callable[[Tensors], Tensors]  # from the tensors of one set to the outputs
# All that depends on the case alone is settled here, before any compiler; the flag asks for what that can fuse.
Factory = Callable[[Any, Case, bool], Function]
_COMPILE_SECONDS = 8.0  # PyTorch's compiler, for the eight shapes or so of a case's sets


def contenders(case: Case) -> list[Contender]:
    """PyTorch eager, and compiled where there is something to fuse."""
    factory = _FACTORIES.get(case.op)
    if factory is None:
        return []
    found = [Contender("PyTorch", "torch", lambda bench: _prepare(bench, factory, False))]
    if (case.op, case.direction) in _FUSED:
        compiled = lambda bench: _prepare(bench, factory, True)  # noqa: E731
        found.append(Contender("PyTorch, compiled", "torch", compiled, _COMPILE_SECONDS))
    if case.op == "linear" and case.direction in ("fprop", "dgrad", "wgrad"):
        found.append(Contender("cuBLAS through PyTorch", "library", found[0].prepare))
    return found


def graph_capture(torch: Any, warm_ups: int = 1) -> Callable[[Callable[[], Any]], Captured]:
    """PyTorch's own capture, so that what it allocates lies in the graph's pool."""

    def capture(function: Callable[[], Any]) -> Captured:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(warm_ups):
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
        path = Path(folder, "graph.dot")
        graph.debug_dump(str(path))
        return path.read_text()


def _prepare(bench: Bench, factory: Factory, compiled: bool) -> Prepared:
    torch, case = load(bench.device), bench.case
    settings(torch, case.precision)
    views = [{name: tensor(a[name]) for name in bench.tensors} for a in bench.sets]
    for view in views:
        if "bias" in view:
            view["bias"] = view["bias"].to(view["x"].dtype)
    call = factory(torch, case, compiled)
    call = torch.compile(call, fullgraph=True, dynamic=False) if compiled else call
    last: Tensors = {}

    def run(index: int) -> None:
        with torch.no_grad():
            last.update(call(views[index]))

    bench.cleanup.callback(last.clear)
    capture = graph_capture(torch) if torch.cuda.is_available() else None
    outputs = lambda: {name: download(value) for name, value in last.items()}  # noqa: E731
    return Prepared(run, outputs, {"torch": torch.__version__}, capture)


# -- the operations; NHWC arrays are channels_last tensors seen through a permutation


def _nchw(x: Any) -> Any:
    return x.permute(0, 3, 1, 2)


def _nhwc(x: Any) -> Any:
    return x.permute(0, 2, 3, 1).contiguous()


def _kept(t: Tensors, make: Callable[[], Any]) -> Any:
    """What is made at a set's first call, which nothing times: what a forward pass leaves for the backward pass."""
    if "_kept" not in t:
        t["_kept"] = make()
    return t["_kept"]


def _updating(torch: Any, gradient: Function) -> Function:
    """A gradient, then PyTorch's fused SGD, then the 16-bit copy.

    PyTorch keeps the velocity without the learning rate in it (v <- m v + g + d w; w <- w - lr v), so it begins from
    another one, and its check compares the weights alone.
    """
    fixed = {"weight_decay": WEIGHT_DECAY, "momentum": MOMENTUM, "lr": LEARNING_RATE, "dampening": 0.0}
    flags = {"nesterov": False, "maximize": False, "is_first_step": False}

    def call(t: Tensors) -> Tensors:
        master = t["master"]
        if "_velocity" not in t:
            t["_velocity"] = t["velocity"] * (-1.0 / LEARNING_RATE)
        (g,) = gradient(t).values()
        torch._fused_sgd_([master], [g.to(master.dtype)], [t["_velocity"]], **fixed, **flags)
        return {"master": master, **({"copy": master.to(t["copy"].dtype)} if "copy" in t else {})}

    return call


def _conv2d(torch: Any, case: Case, fuse: bool) -> Function:
    s, conv2d, relu = case.step, torch.nn.functional.conv2d, torch.relu_
    stride, padding, groups = [s.stride] * 2, [s.padding] * 2, s.groups
    direction, _, how = case.direction.partition("_")
    if direction == "fprop":

        def fprop(t: Tensors) -> Tensors:
            y = conv2d(_nchw(t["x"]), _nchw(t["weight"]), t.get("bias"), stride, padding, 1, groups)
            return {"y": _nhwc(relu(y) if how else y)}

        return fprop
    shapes = {"x": (case.batch, *s.input), "weight": s.weight_shape}
    unread, at = ("x", 0) if direction == "dgrad" else ("weight", 1)
    options = (None, stride, padding, [1, 1], False, [0, 0], groups, [at == 0, at == 1, False])

    def backward(t: Tensors) -> Tensors:
        """What it does not read is given all the same, for PyTorch takes the memory format from it."""
        given = {**t, unread: _kept(t, lambda: t["dy"].new_empty(shapes[unread]))}
        operands = [_nchw(given[name]) for name in ("dy", "x", "weight")]
        return {("dx", "dweight")[at]: _nhwc(torch.ops.aten.convolution_backward(*operands, *options)[at])}

    return _updating(torch, backward) if how else backward


def _linear(torch: Any, case: Case, fuse: bool) -> Function:
    fused = torch._addmm_activation if case.step.activation == "relu" else torch.addmm
    wgrad: Function = lambda t: {"dweight": torch.mm(t["dy"].t(), t["x"])}  # noqa: E731
    return {
        "fprop": lambda t: {"y": torch.mm(t["x"], t["weight"].t())},
        "fprop_fused": lambda t: {"y": fused(t["bias"], t["x"], t["weight"].t())},
        "dgrad": lambda t: {"dx": torch.mm(t["dy"], t["weight"])},
        "wgrad": wgrad,
        "wgrad_sgd": _updating(torch, wgrad),
    }[case.direction]


def window_sums(torch: Any, x: Any, groups: int) -> Any:
    """Sums over the normalisation's neighbouring channels of NHWC x within each group, as shifted additions."""
    half = CONFIG.lrn_size // 2
    parts = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    padded = torch.nn.functional.pad(parts, (half, half))
    length = parts.shape[-1]
    total = padded[..., :length]
    for i in range(1, CONFIG.lrn_size):
        total = total + padded[..., i : i + length]
    return total.reshape(x.shape)


def response_norm(torch: Any, x: Any, groups: int) -> Any:
    """The paper's normalisation on NHWC x, in float32 inside: what the compiler makes one kernel of."""
    wide = x.float()
    s = CONFIG.lrn_k + CONFIG.lrn_alpha * window_sums(torch, wide * wide, groups)
    return (wide * s**-CONFIG.lrn_beta).to(x.dtype)


def response_norm_gradient(torch: Any, dy: Any, x: Any, groups: int) -> Any:
    """Its gradient by x."""
    wide, gradient, alpha, beta = x.float(), dy.float(), CONFIG.lrn_alpha, CONFIG.lrn_beta
    s = CONFIG.lrn_k + alpha * window_sums(torch, wide * wide, groups)
    power = s**-beta
    ratios = window_sums(torch, gradient * wide * power / s, groups)
    return (gradient * power - 2 * alpha * beta * wide * ratios).to(x.dtype)


def library_norm(torch: Any, x: Any, groups: int) -> Any:
    """PyTorch's own `local_response_norm` on NHWC x: the groups of a pixel as images; its alpha is divided by size."""
    c, parts = CONFIG, x.reshape(-1, x.shape[-1] // groups, 1)
    norm = torch.nn.functional.local_response_norm
    return norm(parts, c.lrn_size, c.lrn_alpha * c.lrn_size, c.lrn_beta, c.lrn_k).reshape(x.shape)


def _norm_pool(torch: Any, case: Case, fuse: bool) -> Function:
    size, stride, groups = [CONFIG.pool_size] * 2, [CONFIG.pool_stride] * 2, case.step.groups
    norms, pools = case.op.startswith("lrn"), case.op.endswith("max_pool")
    norm = response_norm if fuse or case.direction == "bprop" else library_norm

    def forward(x: Any) -> tuple[Any, Any, Any]:
        """The pool's input and output, and the indices of its maxima."""
        between = norm(torch, x, groups) if norms else x
        if not pools:
            return between, between, None
        y, indices = torch.nn.functional.max_pool2d(_nchw(between), size, stride, return_indices=True)
        return between, _nhwc(y), indices

    if case.direction == "fprop":
        return lambda t: {"y": forward(t["x"])[1]}
    gradient: Any = lambda dy, x: response_norm_gradient(torch, dy, x, groups)  # noqa: E731
    if not pools:
        return lambda t: {"dx": gradient(t["dy"], t["x"])}
    if norms and torch.cuda.is_available():
        gradient = torch.compile(gradient, dynamic=False)
    unpool = torch.ops.aten.max_pool2d_with_indices_backward

    def backward(t: Tensors) -> Tensors:
        between, _, indices = _kept(t, lambda: forward(t["x"]))
        dx = _nhwc(unpool(_nchw(t["dy"]), _nchw(between), size, stride, [0, 0], [1, 1], False, indices))
        return {"dx": gradient(dx, t["x"]) if norms else dx}

    return backward


def _cross_entropy(torch: Any, case: Case, fuse: bool) -> Function:
    scale = 1.0 / case.batch

    def fused(t: Tensors) -> Tensors:
        logits = t["logits"].float()
        onehot = torch.arange(logits.shape[1], device=logits.device) == t["labels"][:, None]
        return {"dlogits": ((torch.softmax(logits, 1) - onehot.float()) * scale).to(t["logits"].dtype)}

    def call(t: Tensors) -> Tensors:
        logits = t["logits"].detach().requires_grad_()
        with torch.enable_grad():  # in float32, as autocast has it: 16 bits would round the logarithms
            loss = torch.nn.functional.cross_entropy(logits.float(), t["labels"])
            (gradient,) = torch.autograd.grad(loss, logits)
        return {"dlogits": gradient}

    return fused if fuse else call


def _sgd(torch: Any, case: Case, fuse: bool) -> Function:
    return _updating(torch, lambda t: {"gradient": t["gradient"]})


def _dropout(torch: Any, case: Case, fuse: bool) -> Function:
    return lambda t: {"y (its own mask)": torch.nn.functional.dropout(t["x"], CONFIG.dropout, True)}


_FACTORIES: dict[str, Factory] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "lrn": _norm_pool,
    "max_pool": _norm_pool,
    "lrn_max_pool": _norm_pool,
    "softmax_cross_entropy": _cross_entropy,
    "sgd": _sgd,
    "dropout": _dropout,
}
# Where PyTorch's compiler has something to fuse.
_FUSED = {
    ("conv2d", "fprop_fused"),
    ("lrn", "fprop"),
    ("lrn", "bprop"),
    ("lrn_max_pool", "fprop"),
    ("softmax_cross_entropy", "fprop"),
}
