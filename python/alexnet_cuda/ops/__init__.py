"""One thin function an operation and direction; the backend is the one that the given arrays belong to.

Activations are NHWC, convolution weights KRSC, fully connected weights [out, in]. Every function takes `out=` arrays to
write to and allocates them otherwise.
"""

from __future__ import annotations

from . import (
    augment,
    avg_pool,
    conv2d,
    copy,
    dropout,
    linear,
    logistic,
    lrn,
    lrn_max_pool,
    map_lrn,
    max_pool,
    relu,
    sgd,
    softmax_cross_entropy,
    tanh,
)

__all__ = [
    "augment",
    "avg_pool",
    "conv2d",
    "copy",
    "dropout",
    "linear",
    "logistic",
    "lrn",
    "lrn_max_pool",
    "map_lrn",
    "max_pool",
    "relu",
    "sgd",
    "softmax_cross_entropy",
    "tanh",
]
