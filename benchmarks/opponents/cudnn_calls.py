"""cuDNN through its C calls: response normalisation and pooling, and convolutions where the graph API's package is not.

Convolutions search exhaustively: every algorithm with every kind of arithmetic is tried and timed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

from ..harness.bench import Bench, Contender, Prepared, Unsupported
from ..harness.cases import Case
from ..ops import _normpool as normpool
from . import cudnn_graph
from .convolution import Call, Operands, Variant, variants
from .library import ALGORITHMS, MATH_TYPES, Cudnn
from .search import SEARCH_SECONDS, Algorithm, Choice, Workspace, fastest

_FUNCTIONS = {"fprop": "Forward", "dgrad": "BackwardData", "wgrad": "BackwardFilter"}
Run = Callable[[int], Any]


def contenders(case: Case) -> list[Contender]:
    """What the C calls offer for a case."""
    if case.op == "conv2d" and case.direction in ("fprop", "dgrad", "wgrad", "fprop_fused"):
        return [] if cudnn_graph.installed() else [_convolution(v) for v in variants(case)]
    if case.op == "max_pool":
        kinds = {"cuDNN": False, "cuDNN, deterministic": True}
        return [Contender(name, "library", _pool(deterministic)) for name, deterministic in kinds.items()]
    if case.op == "lrn":
        return [Contender(f"cuDNN, {name}", "library", _lrn(layout)) for name, layout in _LRN_LAYOUTS.items()]
    if case.op == "lrn_max_pool":
        return [Contender(f"cuDNN, {name}", "library", _lrn_pool(layout)) for name, layout in _LRN_LAYOUTS.items()]
    return []


# -- convolutions


def _convolution(variant: Variant) -> Contender:
    name = "cuDNN calls" + (f", {variant.name}" if variant.name else "")
    return Contender(name, "library", lambda bench: _prepare_convolution(bench, variant), SEARCH_SECONDS)


def math_types(precision: str) -> tuple[str, ...]:
    """The kinds of arithmetic that a precision allows: float32 keeps away from the tensor cores."""
    return ("FMA",) if precision == "float32" else tuple(name for name in MATH_TYPES if name != "FMA")


class Calls:
    """One convolution as descriptors, and its algorithms with their workspaces."""

    def __init__(self, cudnn: Cudnn, call: Call, direction: str, precision: str) -> None:
        self.cudnn, self.fused = cudnn, direction == "fprop_fused"
        self.direction = direction.partition("_")[0]
        dtype, c = {"tf32": "float32"}.get(precision, precision), call.conv
        self.x = cudnn.nhwc(dtype, c.N, c.H, c.W, c.C, call.x_pitch)
        self.y = cudnn.nhwc(dtype, c.N, c.P, c.Q, c.K, call.y_pitch)
        self.weight = cudnn.filter(dtype, c.K, c.R, c.S, c.C // c.groups)
        self.bias, self.relu = cudnn.nhwc(dtype, 1, 1, 1, c.K), cudnn.relu()
        self.descriptors = {
            math: cudnn.convolution(c.padding, c.stride, c.groups, math) for math in math_types(precision)
        }

    def operands(self) -> tuple[tuple[Any, str], tuple[Any, str], tuple[Any, str]]:
        """Descriptor and name of the two inputs and of the output, as the functions take them."""
        x, y, weight = self.x, self.y, self.weight
        return {
            "fprop": ((x, "x"), (weight, "weight"), (y, "y")),
            "dgrad": ((weight, "weight"), (y, "dy"), (x, "dx")),
            "wgrad": ((x, "x"), (y, "dy"), (weight, "dweight")),
        }[self.direction]

    def algorithms(self) -> Iterator[tuple[str, Any, int, int]]:
        """Name, convolution descriptor, number and workspace of every algorithm that cuDNN accepts."""
        (a, _), (b, _), (out, _) = self.operands()
        function = f"cudnnGetConvolution{_FUNCTIONS[self.direction]}WorkspaceSize"
        for math, descriptor in self.descriptors.items():
            for number, name in enumerate(ALGORITHMS[self.direction]):
                size = ctypes.c_size_t()
                try:
                    arguments = (a, b, descriptor, out, number, ctypes.byref(size))
                    self.cudnn(function, self.cudnn.handle, *arguments)
                except (Unsupported, RuntimeError):
                    continue
                yield f"{name}, {math}", descriptor, number, size.value

    def run(self, descriptor: Any, number: int, pointers: dict[str, int], workspace: int, size: int) -> None:
        """Enqueue one call."""
        (a, first), (b, second), (out, result) = self.operands()
        cudnn = self.cudnn
        head = (cudnn.handle, cudnn.one, a, pointers[first], b, pointers[second], descriptor, number, workspace, size)
        if self.fused:
            unused = (cudnn.zero, out, pointers[result])  # what would be added before the bias
            tail = (*unused, self.bias, pointers["bias"], self.relu, out, pointers[result])
            cudnn("cudnnConvolutionBiasActivationForward", *head, *tail)
        else:
            cudnn(f"cudnnConvolution{_FUNCTIONS[self.direction]}", *head, cudnn.zero, out, pointers[result])


def _prepare_convolution(bench: Bench, variant: Variant) -> Prepared:
    cudnn = Cudnn()
    bench.cleanup.callback(cudnn.close)
    calls = Calls(cudnn, variant.calls[0], bench.case.direction, bench.case.precision)
    operands = Operands(bench, variant)
    most = int(0.5 * bench.device.free_bytes())
    workspace = Workspace(bench.device)
    pointers = [[operands.pointers(i, call) for call in variant.calls] for i in range(len(bench.sets))]

    def algorithm(known: tuple[str, Any, int, int]) -> Algorithm:
        name, descriptor, number, size = known

        def run(index: int) -> None:
            at = workspace.of(size)
            cudnn.use_stream(bench.device.stream())
            operands.before(index)
            for each in pointers[index]:
                calls.run(descriptor, number, each, at, size)
            operands.after(index)

        return Algorithm(name, size, run)

    found = fastest(bench, (algorithm(a) for a in calls.algorithms()), most)
    found.detail["api"] = "C calls"
    choice = Choice(found)
    return Prepared(choice.run, operands.outputs, detail=found.detail, retry=choice.retry)


# -- pooling and response normalisation


class _Maps:
    """Descriptors and buffers of a case's normalisation or pool."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.sizes, self.cudnn = bench, normpool.maps(bench.case), Cudnn()
        bench.cleanup.callback(self.cudnn.close)
        m, dtype = self.sizes, bench.case.dtype
        self.dtype = dtype
        self.full = self.cudnn.nhwc(dtype, m.N, m.H, m.W, m.C)
        self.pooled = self.cudnn.nhwc(dtype, m.N, m.P, m.Q, m.C)

    def empty_full(self) -> list[Any]:
        """An array of the input's shape for each set."""
        m = self.sizes
        return [self.bench.device.empty((m.N, m.H, m.W, m.C), self.dtype) for _ in self.bench.sets]

    def empty_pooled(self) -> list[Any]:
        """An array of the pool's output's shape for each set."""
        m = self.sizes
        return [self.bench.device.empty((m.N, m.P, m.Q, m.C), self.dtype) for _ in self.bench.sets]

    def prepared(self, run: Run, name: str, **detail: Any) -> Prepared:
        """What runs, its stream set first, and has one output."""

        def on_stream(index: int) -> None:
            self.cudnn.use_stream(self.bench.device.stream())
            run(index)

        def outputs() -> dict[str, Any]:
            return {name: self.bench.device.download(self.bench.sets[0][name])}

        return Prepared(on_stream, outputs, detail=detail)

    def pool(self, deterministic: bool) -> tuple[Any, Any]:
        """What enqueues the pool, from x to y, and back, from y, dy and x to dx; all by address."""
        cudnn, window = self.cudnn, self.cudnn.max_pool(normpool.POOL, normpool.STRIDE, deterministic)
        h, one, zero, full, pooled = cudnn.handle, cudnn.one, cudnn.zero, self.full, self.pooled

        def forward(x: int, y: int) -> None:
            cudnn("cudnnPoolingForward", h, window, one, full, x, zero, pooled, y)

        def backward(y: int, dy: int, x: int, dx: int) -> None:
            cudnn("cudnnPoolingBackward", h, window, one, pooled, y, pooled, dy, full, x, zero, full, dx)

        return forward, backward


def _pool(deterministic: bool) -> Callable[[Bench], Prepared]:
    def prepare(bench: Bench) -> Prepared:
        maps = _Maps(bench)
        forward, backward = maps.pool(deterministic)
        sets = bench.sets
        if bench.case.direction == "fprop":
            return maps.prepared(lambda i: forward(sets[i]["x"].data.ptr, sets[i]["y"].data.ptr), "y")
        kept = maps.empty_pooled()
        maps.cudnn.use_stream(bench.device.stream())
        for arrays, y in zip(sets, kept, strict=True):
            forward(arrays["x"].data.ptr, y.data.ptr)

        def run(i: int) -> None:
            a = sets[i]
            backward(kept[i].data.ptr, a["dy"].data.ptr, a["x"].data.ptr, a["dx"].data.ptr)

        return maps.prepared(run, "dx")

    return prepare


# How groups, which cuDNN's normalisation does not know, are put to it: each group of each pixel as an image of one
# pixel; or the NHWC tensor with a call a group; or transposed to NCHW, which the transposes are counted for.
_LRN_LAYOUTS = {"pixels as images": "pixels", "a call a group": "groups", "transposed": "transposed"}


class _Lrn:
    """cuDNN's normalisation in one of the layouts, forward and backward by address."""

    def __init__(self, maps: _Maps, layout: str) -> None:
        self.maps, self.layout = maps, layout
        m, cudnn = maps.sizes, maps.cudnn
        self.window = cudnn.lrn(normpool.SIZE, normpool.K, normpool.ALPHA, normpool.BETA)
        length = m.C // m.groups
        self.offsets = [0]
        if layout == "pixels":
            images = m.N * m.H * m.W * m.groups
            self.x = cudnn.tensor(maps.dtype, (images, length, 1, 1), (length, 1, 1, 1))
        elif layout == "groups":
            self.x = cudnn.nhwc(maps.dtype, m.N, m.H, m.W, length, m.C)
            width = 4 if maps.dtype == "float32" else 2
            self.offsets = [g * length * width for g in range(m.groups)]
        else:
            # In NCHW the groups of an image lie one after the other: as many images more.
            dims = (m.N * m.groups, length, m.H, m.W)
            self.x = cudnn.tensor(maps.dtype, dims, (length * m.H * m.W, m.H * m.W, m.W, 1))
            self.nchw = cudnn.tensor(maps.dtype, (m.N, m.C, m.H, m.W), (m.C * m.H * m.W, m.H * m.W, m.W, 1))
            self.spare = [maps.bench.device.empty((m.N, m.C, m.H, m.W), maps.dtype) for _ in range(4)]

    def _transpose(self, to_nchw: bool, source: int, target: int) -> int:
        cudnn, full = self.maps.cudnn, self.maps.full
        a, b = (full, self.nchw) if to_nchw else (self.nchw, full)
        cudnn("cudnnTransformTensor", cudnn.handle, cudnn.one, a, source, cudnn.zero, b, target)
        return target

    def forward(self, x: int, y: int) -> None:
        """Normalise."""
        if self.layout == "transposed":
            inner = self._transpose(True, x, self.spare[0].data.ptr)
            result = self.spare[1].data.ptr
            self._forward(inner, result)
            self._transpose(False, result, y)
        else:
            self._forward(x, y)

    def _forward(self, x: int, y: int) -> None:
        cudnn = self.maps.cudnn
        for at in self.offsets:
            ends = (cudnn.one, self.x, x + at, cudnn.zero, self.x, y + at)
            cudnn("cudnnLRNCrossChannelForward", cudnn.handle, self.window, 0, *ends)

    def backward(self, y: int, dy: int, x: int, dx: int) -> None:
        """The gradient; cuDNN wants the normalised y beside x."""
        if self.layout == "transposed":
            inner = [self._transpose(True, a, s.data.ptr) for a, s in zip((y, dy, x), self.spare, strict=False)]
            self._backward(*inner, self.spare[3].data.ptr)
            self._transpose(False, self.spare[3].data.ptr, dx)
        else:
            self._backward(y, dy, x, dx)

    def _backward(self, y: int, dy: int, x: int, dx: int) -> None:
        cudnn, d = self.maps.cudnn, self.x
        for at in self.offsets:
            ends = (cudnn.one, d, y + at, d, dy + at, d, x + at, cudnn.zero, d, dx + at)
            cudnn("cudnnLRNCrossChannelBackward", cudnn.handle, self.window, 0, *ends)


def _lrn(layout: str) -> Callable[[Bench], Prepared]:
    def prepare(bench: Bench) -> Prepared:
        maps = _Maps(bench)
        lrn, sets = _Lrn(maps, layout), bench.sets
        if bench.case.direction == "fprop":
            return maps.prepared(lambda i: lrn.forward(sets[i]["x"].data.ptr, sets[i]["y"].data.ptr), "y")
        kept = maps.empty_full()
        maps.cudnn.use_stream(bench.device.stream())
        for arrays, y in zip(sets, kept, strict=True):
            lrn.forward(arrays["x"].data.ptr, y.data.ptr)

        def run(i: int) -> None:
            a = sets[i]
            lrn.backward(kept[i].data.ptr, a["dy"].data.ptr, a["x"].data.ptr, a["dx"].data.ptr)

        return maps.prepared(run, "dx")

    return prepare


def _lrn_pool(layout: str) -> Callable[[Bench], Prepared]:
    def prepare(bench: Bench) -> Prepared:
        maps = _Maps(bench)
        lrn, (pool, unpool), sets = _Lrn(maps, layout), maps.pool(False), bench.sets
        between = maps.empty_full()

        def forward(i: int, y: Any) -> None:
            lrn.forward(sets[i]["x"].data.ptr, between[i].data.ptr)
            pool(between[i].data.ptr, y.data.ptr)

        if bench.case.direction == "fprop":
            return maps.prepared(lambda i: forward(i, sets[i]["y"]), "y")
        kept, gradient = maps.empty_pooled(), maps.empty_full()
        maps.cudnn.use_stream(bench.device.stream())
        for i, y in enumerate(kept):
            forward(i, y)

        def backward(i: int) -> None:
            a, y = sets[i], between[i].data.ptr
            unpool(kept[i].data.ptr, a["dy"].data.ptr, y, gradient[i].data.ptr)
            lrn.backward(y, gradient[i].data.ptr, a["x"].data.ptr, a["dx"].data.ptr)

        return maps.prepared(backward, "dx")

    return prepare
