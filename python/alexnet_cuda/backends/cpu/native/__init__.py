"""Operations on float32 arrays of main memory by the extension `_cpu`; a module here takes what its NumPy twin takes.

``ALEXNET_CUDA_CPU`` chooses: ``numpy`` for none of this, ``avx512``, ``avx2`` or ``generic`` for an instruction set;
by default the best one of the processor.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

OPERATIONS = frozenset({"conv2d", "dropout", "linear", "lrn", "lrn_max_pool", "max_pool", "sgd"})


@cache
def extension() -> Any:
    """`_cpu`, set to an instruction set; None where NumPy is asked for.

    Raises
    ------
    ValueError
        ``ALEXNET_CUDA_CPU`` names nothing that this processor has.
    """
    name = os.environ.get("ALEXNET_CUDA_CPU", "").strip()
    if name == "numpy":
        return None
    module = importlib.import_module("alexnet_cuda._cpu")
    offered = module.instruction_sets()
    if name and name not in offered:
        raise ValueError(
            f"ALEXNET_CUDA_CPU must be numpy or one of {', '.join(offered)} on this processor, got {name!r}"
        )
    module.select(name or offered[0])
    return module


def has(op: str, arrays: tuple[Array | None, ...]) -> bool:
    """Whether a module here takes these arrays, of which the first is the operation's input."""
    return op in OPERATIONS and arrays[0] is not None and arrays[0].dtype == np.float32 and extension() is not None


def lie_alike(out: Array, *others: Array | None) -> bool:
    """Whether arrays of one shape, None among them passed over, have the same strides."""
    alike = [out, *(a for a in others if a is not None)]
    return all(a.flags.c_contiguous for a in alike) or all(a.strides == out.strides for a in alike)
