"""cuDNN's response normalisation and pooling, through its C calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..harness.bench import Bench, Contender, Prepared
from ..harness.cases import CONFIG, Case, of_role
from .library import LRN_CROSS_CHANNEL, Cudnn

# How groups, which cuDNN's normalisation does not know, are put to it: each group of each pixel as an image of one
# pixel; or the NHWC tensor with a call a group; or transposed to NCHW, which the transposes are counted for.
_LAYOUTS = ("pixels as images", "a call a group", "transposed")
_DETERMINISTIC = "deterministic"


def contenders(case: Case) -> list[Contender]:
    """What the C calls offer for a case."""
    ways: dict[str, tuple[str, ...]] = {"max_pool": ("", _DETERMINISTIC), "lrn": _LAYOUTS, "lrn_max_pool": _LAYOUTS}
    names = {way: ", ".join(filter(None, ("cuDNN", way))) for way in ways.get(case.op, ())}
    return [Contender(name, "library", lambda bench, w=way: _prepare(bench, w)) for way, name in names.items()]


class _Pass:
    """One of the two operations: `forward(x, y)` and `backward(y, dy, x, dx)`, all by address."""

    def __init__(self, cudnn: Cudnn, bench: Bench) -> None:
        self.cudnn, self.case, self.device = cudnn, bench.case, bench.device
        self.n, (self.h, self.w, self.c) = bench.case.batch, bench.case.step.input
        self.full = cudnn.nhwc(self.case.dtype, self.n, self.h, self.w, self.c)

    def forward(self, x: int, y: int) -> None:
        """Enqueue it."""
        raise NotImplementedError

    def backward(self, y: int, dy: int, x: int, dx: int) -> None:
        """Enqueue its gradient, which cuDNN wants y for."""
        raise NotImplementedError


class _Pool(_Pass):
    def __init__(self, cudnn: Cudnn, bench: Bench, deterministic: bool) -> None:
        super().__init__(cudnn, bench)
        size, stride = CONFIG.pool_size, CONFIG.pool_stride
        p, q = ((extent - size) // stride + 1 for extent in (self.h, self.w))
        self.pooled = cudnn.nhwc(self.case.dtype, self.n, p, q, self.c)
        self.window = cudnn.max_pool(size, stride, deterministic)

    def forward(self, x: int, y: int) -> None:
        c = self.cudnn
        c("cudnnPoolingForward", c.handle, self.window, c.one, self.full, x, c.zero, self.pooled, y)

    def backward(self, y: int, dy: int, x: int, dx: int) -> None:
        c, small, full = self.cudnn, self.pooled, self.full
        c("cudnnPoolingBackward", c.handle, self.window, c.one, small, y, small, dy, full, x, c.zero, full, dx)


class _Lrn(_Pass):
    def __init__(self, cudnn: Cudnn, bench: Bench, layout: str) -> None:
        super().__init__(cudnn, bench)
        self.transposed, dtype, groups = layout == "transposed", self.case.dtype, self.case.step.groups
        self.window = cudnn.lrn(CONFIG.lrn_size, CONFIG.lrn_k, CONFIG.lrn_alpha, CONFIG.lrn_beta)
        n, h, w, c, length = self.n, self.h, self.w, self.c, self.c // groups
        self.offsets = [0]
        if layout == "pixels as images":
            self.x = cudnn.tensor(dtype, (n * h * w * groups, length, 1, 1), (length, 1, 1, 1))
        elif layout == "a call a group":
            self.x = cudnn.nhwc(dtype, n, h, w, length, c)
            self.offsets = [g * length * np.dtype(dtype).itemsize for g in range(groups)]
        else:  # in NCHW the groups of an image lie one after the other: as many images more
            self.x = cudnn.tensor(dtype, (n * groups, length, h, w), (length * h * w, h * w, w, 1))
            self.nchw = cudnn.tensor(dtype, (n, c, h, w), (c * h * w, h * w, w, 1))
            self.spare = [self.device.empty((n, c, h, w), dtype) for _ in range(4)]

    def _run(self, name: str, given: tuple[int, ...], result: int) -> None:
        """A call on each group, of tensors that all have one descriptor."""
        c = self.cudnn
        if self.transposed:
            sources, result_nhwc = given, result
            given = tuple(int(array.data.ptr) for array in self.spare[: len(sources)])
            for source, target in zip(sources, given, strict=True):
                self._transpose(self.full, source, self.nchw, target)
            result = int(self.spare[3].data.ptr)
        for at in self.offsets:
            tensors = [argument for address in given for argument in (self.x, address + at)]
            c(name, c.handle, self.window, LRN_CROSS_CHANNEL, c.one, *tensors, c.zero, self.x, result + at)
        if self.transposed:
            self._transpose(self.nchw, result, self.full, result_nhwc)

    def _transpose(self, a: Any, source: int, b: Any, target: int) -> None:
        c = self.cudnn
        c("cudnnTransformTensor", c.handle, c.one, a, source, c.zero, b, target)

    def forward(self, x: int, y: int) -> None:
        self._run("cudnnLRNCrossChannelForward", (x,), y)

    def backward(self, y: int, dy: int, x: int, dx: int) -> None:
        self._run("cudnnLRNCrossChannelBackward", (y, dy, x), dx)


def _prepare(bench: Bench, way: str) -> Prepared:
    """One pass after the other: what each gives is kept for its own backward pass and for the next."""
    cudnn, device, case = Cudnn(), bench.device, bench.case
    bench.cleanup.callback(cudnn.close)
    passes: list[_Pass] = [_Lrn(cudnn, bench, way)] if case.op.startswith("lrn") else []
    if case.op.endswith("max_pool"):
        passes.append(_Pool(cudnn, bench, way == _DETERMINISTIC))
    sets = [{name: int(a[name].data.ptr) for name in ("x", "y", "dy", "dx") if name in a} for a in bench.sets]
    full = bench.tensors["x"].shape
    kept: list[Any] = []

    def space(shape: tuple[int, ...]) -> int:
        kept.append(device.empty(shape, case.dtype))
        return int(kept[-1].data.ptr)

    for a in sets:
        a["between"] = space(full) if len(passes) == 2 else 0
        if case.direction == "bprop":
            a["y"], a["dbetween"] = space(bench.tensors["dy"].shape), a["between"] and space(full)

    def forward(i: int) -> None:
        cudnn.use_stream(device.stream())
        a = sets[i]
        x = a["x"]
        for each, y in zip(passes, [a["between"], a["y"]][-len(passes) :], strict=True):
            each.forward(x, y)
            x = y

    def backward(i: int) -> None:
        cudnn.use_stream(device.stream())
        a = sets[i]
        if len(passes) == 1:
            passes[0].backward(a["y"], a["dy"], a["x"], a["dx"])
        else:
            passes[1].backward(a["y"], a["dy"], a["between"], a["dbetween"])
            passes[0].backward(a["between"], a["dbetween"], a["x"], a["dx"])

    (result,) = set(of_role(bench.tensors, "output")) - {"argmax"}

    def outputs(held: list[Any] = kept) -> dict[str, Any]:  # which live as long as this does
        return bench.download(**{result: bench.sets[0][result]})

    if case.direction == "fprop":
        return Prepared(forward, outputs)
    for i in range(len(sets)):
        forward(i)
    return Prepared(backward, outputs)
