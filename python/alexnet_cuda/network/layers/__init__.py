"""How a tower does each kind of stage: one module an operation, or a few that belong together.

``forward(tower, stage, x, arrival, y, run)`` writes y and returns what the backward pass needs beside x.
``backward(tower, stage, kept, dy, dx, arrival, run)`` writes the gradient of x, where dx is not None, and those of the
stage's parameters. ``backward_lent(tower, stage, kept, dy)`` returns the gradient of the other tower's half of the
input, of a stage that crosses.
"""

from __future__ import annotations

from typing import Any

from ...base.locks import late_import

_MODULES = {
    "conv2d": "product",
    "linear": "product",
    "lrn": "lrn",
    "lrn_max_pool": "lrn_max_pool",
    "max_pool": "max_pool",
    "avg_pool": "avg_pool",
    "dropout": "dropout",
}


def layer(op: str) -> Any:
    """The module of an operation."""
    return late_import(f"alexnet_cuda.network.layers.{_MODULES[op]}")
