"""SGD with momentum and weight decay on the CPU; paper section 5."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...base.parallel import elementwise, parallel_for, scratch
from ...base.params import SgdParams

Array = npt.NDArray[Any]


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
