"""SGD with momentum and weight decay on the CPU; paper section 5."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .parallel import elementwise, scratch

Array = npt.NDArray[Any]


def update(
    weight: Array, velocity: Array, gradient: Array, learning_rate: float, momentum: float, weight_decay: float
) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place."""
    w, v, g = weight.reshape(-1), velocity.reshape(-1), gradient.reshape(-1)

    def block(s: slice) -> None:
        term = scratch("sgd", v[s].shape, v.dtype)
        np.multiply(v[s], momentum, out=v[s])
        if weight_decay:
            np.multiply(w[s], weight_decay * learning_rate, out=term)
            np.subtract(v[s], term, out=v[s])
        np.multiply(g[s], learning_rate, out=term)
        np.subtract(v[s], term, out=v[s])
        np.add(w[s], v[s], out=w[s])

    elementwise(block, w.size)
