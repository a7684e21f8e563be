"""SGD with momentum and weight decay; paper section 5."""

from __future__ import annotations

from ._dispatch import Array, backend, check


def update(
    weight: Array,
    velocity: Array,
    gradient: Array,
    *,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place; all three of one shape and dtype."""
    check("weight", weight, None)
    check("velocity", velocity, weight.shape, weight.dtype)
    check("gradient", gradient, weight.shape, weight.dtype)
    module = backend("sgd", weight, velocity, gradient)
    module.update(weight, velocity, gradient, learning_rate, momentum, weight_decay)
