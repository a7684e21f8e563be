"""Our launch choices, for the record: every call of the bindings that tell them. They need no GPU."""

from __future__ import annotations

import math
from typing import Any

from ..harness.cases import CLASSES, CONFIG, Case

Machine = dict[str, int]  # multiprocessors and multiprocessor_bytes of a GPU; those of an H200 where it is empty


def choice(case: Case, machine: Machine) -> dict[str, Any]:
    """Tile, splits and modelled time of a product, else grid, block and vector width, on a GPU."""
    from alexnet_cuda import _simt

    function, sizes = _arguments(case, machine)
    return dict(getattr(_simt, f"{function}_config")(**sizes))


def _arguments(case: Case, machine: Machine) -> tuple[str, dict[str, Any]]:
    common, classes = {"dtype": case.dtype, "aligned": True}, {"rows": case.batch, "classes": CLASSES}
    if case.op in ("conv2d", "linear"):
        return "conv2d", _product(case) | machine
    if case.op in ("lrn", "max_pool", "lrn_max_pool"):
        return _norm_or_pool(case, common, machine)
    if case.op == "softmax_cross_entropy":
        return case.op, classes
    if case.op == "augment":
        return case.op, {"images": case.batch, "elements": 3 * CONFIG.image_size**2, **common}
    count, dtype = math.prod(case.step.weight_shape), "float32"  # of SGD
    if case.op == "dropout":
        count, dtype = case.batch * case.step.output[0], case.dtype
    blocks = {name: value for name, value in machine.items() if name == "multiprocessors"}
    return "elementwise", {"count": count, "dtype": dtype, "vectors": True, **blocks}


def _product(case: Case) -> dict[str, Any]:
    """Of a convolution, or of an FC layer as one of 1 x 1 images."""
    from alexnet_cuda.backends.kernels.conv2d import Problem
    from alexnet_cuda.ops.conv2d import problem

    s = case.step
    k, *kernel, c = s.weight_shape if case.op == "conv2d" else (s.weight_shape[0], 1, 1, s.weight_shape[1])
    image = s.input[:2] if case.op == "conv2d" else (1, 1)
    shape = problem((case.batch, *image, c * s.groups), k, (kernel[0], kernel[1]), s.stride, s.padding, s.groups)
    options = {"direction": case.direction.partition("_")[0], "aligned": True, "force": ""}
    return {**options, "problem": Problem(shape, case.precision)}


def _norm_or_pool(case: Case, common: dict[str, Any], machine: Machine) -> tuple[str, dict[str, Any]]:
    """Of both in one kernel backward is the normalisation's launch."""
    from alexnet_cuda.ops import max_pool

    h, w, channels = case.step.input
    common = {"images": case.batch, "channels": channels, **common}
    window = {"groups": case.step.groups, "size": CONFIG.lrn_size}
    windows, _ = max_pool.pool((case.batch, h, w, channels), CONFIG.pool_size, CONFIG.pool_stride)
    pool = {"height": h, "width": w, "pool": windows}
    if case.op == "max_pool":
        return f"max_pool_{case.direction}", {**common, **pool}
    if case.op == "lrn" or case.direction == "bprop":
        return f"lrn_{case.direction}", {**common, **window, "pixels": h * w}
    return "lrn_max_pool_fprop", {**common, **window, **pool, **machine}
