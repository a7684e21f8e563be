"""Our launch choices, for the record: every call of the bindings that tell them. They need no GPU."""

from __future__ import annotations

import math
from typing import Any

from ..harness.cases import CONFIG, Case, Tensor

Machine = dict[str, int]
Choice = dict[str, Any]


def _choice(name: str, /, **sizes: Any) -> Choice:
    from alexnet_cuda import _simt

    return dict(getattr(_simt, f"{name}_config")(**sizes))


def product(case: Case, machine: Machine) -> Choice:
    """Of a convolution, or of an FC layer as one of 1 x 1 images."""
    s, n = case.step, case.batch
    k, r, _, c = s.weight_shape if case.op == "conv2d" else (s.weight_shape[0], 1, 1, s.weight_shape[1])
    h, w = s.input[:2] if case.op == "conv2d" else (1, 1)
    return _choice(
        "conv2d",
        direction=case.direction.partition("_")[0],
        aligned=True,
        force="",
        shape=(n, h, w, c * s.groups, k, r, r),
        stride=(s.stride, s.stride),
        padding=(s.padding, s.padding),
        groups=s.groups,
        pitch=(0, 0, 0),
        precision=case.precision,
        **machine,
    )


def norm_or_pool(case: Case, pool: dict[str, int], machine: Machine) -> Choice:
    """Of both in one kernel backward is the normalisation's launch."""
    h, w, channels = case.step.input
    common = {"images": case.batch, "channels": channels, "dtype": case.dtype, "aligned": True}
    window = {"groups": case.step.groups, "size": CONFIG.lrn_size}
    if case.op == "max_pool":
        return _choice(f"max_pool_{case.direction}", height=h, width=w, **common, **pool)
    if case.op == "lrn" or case.direction == "bprop":
        return _choice(f"lrn_{case.direction}", pixels=h * w, **common, **window)
    pool = {f"pool_{name}": value for name, value in pool.items()}
    return _choice("lrn_max_pool_fprop", height=h, width=w, **common, **window, **pool, **machine)


def elementwise(tensor: Tensor, machine: Machine) -> Choice:
    """Of one thread a vector."""
    blocks = {name: value for name, value in machine.items() if name == "multiprocessors"}
    return _choice("elementwise", count=math.prod(tensor.shape), dtype=tensor.dtype, vectors=True, **blocks)


def softmax(rows: int, classes: int) -> Choice:
    """Of a block a row."""
    return _choice("softmax_cross_entropy", rows=rows, classes=classes)


def augment(case: Case) -> Choice:
    """Of a row of blocks an image."""
    return _choice("augment", images=case.batch, elements=3 * CONFIG.image_size**2, dtype=case.dtype, aligned=True)
