"""SGD with momentum and weight decay on the GPU; paper section 5."""

from __future__ import annotations

from ._runtime import Array, addresses, extension, in_device_memory, stream


def update(
    weight: Array,
    velocity: Array,
    gradient: Array,
    learning_rate: float | Array,
    momentum: float,
    weight_decay: float,
    *,
    rate_factor: float = 1.0,
    gradient_scale: float = 1.0,
    copy: Array | None = None,
) -> None:
    """``v <- momentum v - weight_decay lr w - lr g; w <- w + v``, in place.

    Parameters
    ----------
    weight, velocity : float32 array
    gradient : float32, bfloat16 or float16 array
    learning_rate : float, or float32 array of one element
        The array is read when the kernel runs.
    rate_factor : float
        The learning rate is multiplied by it.
    gradient_scale : float
        The gradient is multiplied by it: the inverse of a loss scale.
    copy : bfloat16 or float16 array, optional
        Gets the new weights, rounded.
    """
    rate = in_device_memory(learning_rate, "float32")
    extension().sgd(
        **addresses(weights=weight, velocity=velocity, gradient=gradient, copy=copy, learning_rate=rate),
        count=weight.size,
        rate_factor=rate_factor,
        momentum=momentum,
        weight_decay=weight_decay,
        gradient_scale=gradient_scale,
        dtype=gradient.dtype.name,
        copy_dtype="bfloat16" if copy is None else copy.dtype.name,
        stream=stream(),
    )
