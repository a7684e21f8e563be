"""Precisions: how products are formed, and what activations and parameters are stored as.

float32 and float64 are true to their names; tf32 rounds the factors of float32 tensors to 10 bits of mantissa;
bfloat16 and float16 store activations and a copy of the weights in 16 bits. Sums are always at least float32, and so
are the weights that the optimiser keeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PRECISIONS = ("float32", "float64", "tf32", "bfloat16", "float16")
KERNEL_PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


def activation_dtype(precision: str) -> np.dtype[Any]:
    """What activations, and the weights that they are multiplied by, are stored as."""
    if precision == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    dtype: np.dtype[Any] = np.dtype("float32" if precision == "tf32" else precision)
    return dtype


def parameter_dtype(precision: str) -> np.dtype[Any]:
    """What parameters, gradients, momentum and logits are stored as."""
    return np.dtype("float64" if precision == "float64" else "float32")


def loss_scale(precision: str, batch: int) -> float:
    """What the mean loss's gradients are multiplied by on their way through the network, and the update divided by.

    float16 has no numbers below 6e-8 and few below 6e-5, where the gradients of a mean over many images would lie; so
    they are those of the sum, and 16 times as large, which leaves a factor of thousands up to its largest number.
    """
    return 16.0 * batch if precision == "float16" else 1.0
