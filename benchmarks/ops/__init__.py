"""One module an operation: its cases, its tensors, our call of it, and what its results should be.

Each module has

``DIRECTIONS``, ``cases(batch, precision)``, ``tensors(case)``, ``flops(case)``
    What is measured. Pure.
``launch(case)``
    Our launch choice, from `alexnet_cuda._simt`, which needs no GPU.
``prepare(case, a)``
    What must be there before `ours` can run, once for each set of arrays; most have nothing to do.
``ours(case, a)``
    One call of `alexnet_cuda.ops` on the arrays `a`.
``samples(case, values, rng)``
    Some elements of every output in float64.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from ..harness.cases import Case

NAMES = (
    "conv2d",
    "linear",
    "lrn_max_pool",
    "lrn",
    "max_pool",
    "softmax_cross_entropy",
    "sgd",
    "dropout",
    "augment",
)


@cache
def module(op: str) -> ModuleType:
    """The module of an operation.

    Raises
    ------
    ValueError
        An operation that is not measured.
    """
    if op not in NAMES:
        raise ValueError(f"unknown operation {op!r}; there are {', '.join(NAMES)}")
    return importlib.import_module(f"{__name__}.bench_{op}")


def cases(batch: int, precision: str) -> list[Case]:
    """All cases at a batch size and precision."""
    return [case for name in NAMES for case in module(name).cases(batch, precision)]
