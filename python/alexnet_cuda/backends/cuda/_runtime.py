"""What the wrappers of this package share: the extension, addresses, the stream, small values in device memory."""

from __future__ import annotations

import importlib
from typing import Any

Array = Any  # a CuPy array


def extension() -> Any:
    """The extension `alexnet_cuda._cuda`.

    Raises
    ------
    RuntimeError
        The package was built without CUDA.
    """
    try:
        return importlib.import_module("alexnet_cuda._cuda")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "this installation of alexnet-cuda has no CUDA kernels; see `alexnet-cuda doctor` for how to build them"
        ) from error


def addresses(**arrays: Array | None) -> dict[str, int]:
    """The device address of each array, 0 for None and for empty arrays.

    Raises
    ------
    ValueError
        An array that is not on the current device.
    """
    import cupy

    current = cupy.cuda.runtime.getDevice()
    for name, array in arrays.items():
        if array is not None and array.device.id != current:
            raise ValueError(f"{name} is on cuda:{array.device.id}; expected cuda:{current}, the current device")
    return {name: array.data.ptr if array is not None and array.size else 0 for name, array in arrays.items()}


def stream() -> int:
    """The current CuPy stream, as the integer that the extension takes."""
    import cupy

    return int(cupy.cuda.get_current_stream().ptr)


def empty(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """An uninitialised array on the current device."""
    import cupy

    return cupy.empty(shape, dtype)


def in_device_memory(value: Array | float, dtype: str) -> Array:
    """`value` as an array of one element; an array is taken as it is, so that a captured graph reads it anew.

    Raises
    ------
    ValueError
        An array that has another dtype or more than one element.
    """
    import cupy

    if not isinstance(value, cupy.ndarray):
        return cupy.full(1, value, dtype)
    if value.size != 1 or value.dtype.name != dtype:
        raise ValueError(f"expected one {dtype} in device memory, got {value.dtype} of shape {list(value.shape)}")
    return value
