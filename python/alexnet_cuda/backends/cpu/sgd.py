"""SGD with momentum and weight decay on the CPU; paper section 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .parallel import elementwise, parallel_for, scratch

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SgdParams:
    """What an update changes, and how: ``v <- momentum v - decay lr w - lr scale g; w <- w + v; copy <- w``.

    Attributes
    ----------
    weight, velocity : array
        float32, in float64 networks float64; changed in place. They may be ranges of the last dimension of wider ones.
    learning_rate : float, or array of one element
        The array is read when the operation runs.
    momentum, weight_decay : float
    rate_factor : float
        The learning rate is multiplied by it.
    gradient_scale : float
        The gradient is multiplied by it: the inverse of a loss scale.
    copy : bfloat16 or float16 array, optional
        Gets the new weights, rounded.
    """

    weight: Any
    velocity: Any
    learning_rate: Any
    momentum: float = 0.9
    weight_decay: float = 5e-4
    rate_factor: float = 1.0
    gradient_scale: float = 1.0
    copy: Any = None


def update(p: SgdParams, gradient: Array) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place; see `SgdParams`."""
    rate = float(np.asarray(p.learning_rate).item()) * p.rate_factor
    if not p.weight.flags.c_contiguous:  # a range of channels of wider weights: filter by filter
        w, v, g = p.weight, p.velocity, gradient
        parallel_for(lambda i: _update(w[i], v[i], g[i], rate, p), len(w))
    else:
        w, v, g = (a.reshape(-1) for a in (p.weight, p.velocity, gradient))
        elementwise(lambda s: _update(w[s], v[s], g[s], rate, p), w.size)
    if p.copy is not None:
        p.copy[...] = p.weight


def _update(w: Array, v: Array, g: Array, rate: float, p: SgdParams) -> None:
    term = scratch("sgd", v.shape, v.dtype)
    np.multiply(v, p.momentum, out=v)
    if p.weight_decay:
        np.multiply(w, p.weight_decay * rate, out=term)
        np.subtract(v, term, out=v)
    np.multiply(g, rate * p.gradient_scale, out=term)
    np.subtract(v, term, out=v)
    np.add(w, v, out=w)
