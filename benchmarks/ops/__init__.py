"""The operations that are measured: cases, tensors, sizes and our call of each, in one registry.

The call is one of `alexnet_cuda.ops` on whatever arrays it is given. So on the GPU it is what is timed, and on NumPy's
arrays, of float64 and cut to a part of the case, what all contenders are held to (`harness/check.py`).
"""

from __future__ import annotations

from ..harness.cases import Case
from .base import Operation
from .normpool import LRN, LRN_MAX_POOL, MAX_POOL
from .pointwise import AUGMENT, DROPOUT, SGD, SOFTMAX_CROSS_ENTROPY
from .products import CONV2D, LINEAR

_ALL = (CONV2D, LINEAR, LRN_MAX_POOL, LRN, MAX_POOL, SOFTMAX_CROSS_ENTROPY, SGD, DROPOUT, AUGMENT)
OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _ALL}


def of(case: Case) -> Operation:
    """The operation of a case; ValueError where it is not measured."""
    if case.op not in OPERATIONS:
        raise ValueError(f"unknown operation {case.op!r}; there are {', '.join(OPERATIONS)}")
    return OPERATIONS[case.op]


def cases(batch: int, precision: str) -> list[Case]:
    """All cases at a batch size and precision."""
    return [case for operation in OPERATIONS.values() for case in operation.cases(batch, precision)]
