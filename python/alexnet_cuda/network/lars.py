"""LARS: a rate for each layer by the norms of its weights and gradients.

Source: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", arXiv 1708.03888, equation 6.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .tower import Tower

Array = npt.NDArray[Any]

_CHUNK = 1 << 20


def trust_ratios(
    towers: Sequence[Tower], layers: Iterable[str], coefficient: float, weight_decay: float, gradient_scale: float
) -> dict[str, float]:
    """By layer the `trust_ratio` of its weights and their gradients, which come to the host for it."""

    def whole(kind: str, layer: str) -> float:
        return norm([tower.device.download(getattr(tower, kind)[f"{layer}.weight"]) for tower in towers])

    return {
        layer: trust_ratio(
            whole("parameters", layer), gradient_scale * whole("gradients", layer), coefficient, weight_decay
        )
        for layer in layers
    }


def trust_ratio(weight: float, gradient: float, coefficient: float, weight_decay: float) -> float:
    """``coefficient * |w| / (|g| + weight_decay * |w|)``; 1 where that is 0, which no weights would leave, or 0 / 0."""
    below = gradient + weight_decay * weight
    return coefficient * weight / below if weight and below else 1.0


def norm(parts: Iterable[Array]) -> float:
    """The Euclidean norm of parts together, summed in float64 in an order that no number of threads changes."""
    flat = (part.reshape(-1) for part in parts)
    chunks = (each[i : i + _CHUNK].astype(np.float64) for each in flat for i in range(0, len(each), _CHUNK))
    return math.sqrt(math.fsum(float(np.sum(chunk * chunk)) for chunk in chunks))
