"""Checks of what users hand to the model, before anything is computed."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.array import is_cupy, is_staged
from ..config import Config

Array = npt.NDArray[Any]


def check_images(images: Any, config: Config) -> Array:
    """The images as an array [N, H, W, 3], uint8 or floating point; ValueError or TypeError says what is wrong.

    Only those on the host are looked at, and once: to look at a GPU's would be to wait for it.
    """
    array = images if hasattr(images, "dtype") else np.asarray(images)
    if array.dtype != np.uint8 and array.dtype.kind != "f" and _name_of(array.dtype) != "bfloat16":
        raise TypeError(f"images must be uint8 or floating point, got {array.dtype}")
    if array.ndim != 4 or array.shape[3] != 3:
        raise ValueError(f"images must have shape [N, H, W, 3], got {list(array.shape)}")
    if len(array) == 0:
        raise ValueError("images is an empty batch; at least one image is needed")
    if not isinstance(array, np.ndarray):
        _check_on_gpu("images", array, ("uint8", "float32", "bfloat16", "float16"))
    size = config.image_size
    if array.dtype == np.uint8:
        if min(array.shape[1:3]) < size:
            raise ValueError(f"uint8 images must be at least {size}x{size}, got {array.shape[1]}x{array.shape[2]}")
    elif array.shape[1:3] != (size, size):
        raise ValueError(f"preprocessed images must be {size}x{size}, got {array.shape[1]}x{array.shape[2]}")
    elif isinstance(array, np.ndarray) and not is_staged(array) and not np.isfinite(array).all():
        number = int(np.argmin(np.isfinite(array).all(axis=(1, 2, 3))))
        raise ValueError(f"images must be finite; image {number} of the batch has NaN or infinity")
    return array


def check_labels(labels: Any, count: int, num_classes: int) -> Any:
    """The labels as int64 [count], each in [0, num_classes); ValueError or TypeError says what is wrong.

    Of labels on a GPU the range is not checked, for the reason given in `check_images`.
    """
    array = labels if hasattr(labels, "dtype") else np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {array.dtype}")
    if array.shape != (count,):
        raise ValueError(f"labels must have shape [{count}], one an image, got {list(array.shape)}")
    if not isinstance(array, np.ndarray):
        _check_on_gpu("labels", array, ("int64",))
        return array
    if count and not (array.min() >= 0 and array.max() < num_classes):
        wrong = int(array[(array < 0) | (array >= num_classes)][0])
        raise ValueError(f"labels must lie in [0, {num_classes}), got {wrong}")
    return array.astype(np.int64)


class OutputsNotFinite(ValueError):
    """The model's outputs hold NaN or infinity."""


def check_outputs(outputs: Array, parameters: Mapping[str, Array]) -> None:
    """Require finite outputs [N, num_classes]; OutputsNotFinite says which parameter or image is to blame."""
    finite = np.asarray(np.isfinite(outputs).all(axis=1))
    if finite.all():
        return
    name = not_finite(parameters)
    where = f"{name} holds NaN or infinity" if name else "no parameter does, so they or the images are too large"
    raise OutputsNotFinite(
        f"the model's outputs are not finite for {np.count_nonzero(~finite)} of {len(finite)} images, number "
        f"{np.argmin(finite)} the first: {where}"
    )


def not_finite(parameters: Mapping[str, Array]) -> str | None:
    """The name of the first parameter that holds NaN or infinity, which a ReLU after it can hide; None without any."""
    return next((name for name, tensor in parameters.items() if not np.isfinite(tensor).all()), None)


_name_of = cache(lambda dtype: dtype.name)  # which NumPy puts together anew each time


def _check_on_gpu(name: str, array: Any, dtypes: tuple[str, ...]) -> None:
    """Require of an array on a GPU what no copy on the way to the kernels can mend."""
    if _name_of(array.dtype) not in dtypes:
        raise TypeError(f"{name} on a GPU must be of dtype {' or '.join(dtypes)}, got {array.dtype}")
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{name} on a GPU must be C-contiguous, got strides {array.strides} for shape {list(array.shape)}: make "
            "them so with .contiguous() of PyTorch or cupy.ascontiguousarray"
        )


def check_update(learning_rate: Any, momentum: Any, weight_decay: Any, bias_rate: Any) -> list[float]:
    """The four numbers of an update as floats: finite, none negative, momentum below 1."""
    values = {
        "learning_rate": learning_rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "bias_rate": bias_rate,
    }
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be a number, got {value!r}")
        most = 1.0 if name == "momentum" else math.inf
        if not 0 <= value < most:
            expected = "in [0, 1)" if name == "momentum" else "finite and not negative"
            raise ValueError(f"{name} must be {expected}, got {value!r}")
    return [float(value) for value in values.values()]


def check_parts(accumulate: Any, lars: Any) -> None:
    """Require a whole number of parts, and a trust coefficient that is finite and not negative."""
    if isinstance(accumulate, bool) or not isinstance(accumulate, (int, np.integer)):
        raise TypeError(f"accumulate must be a whole number, got {accumulate!r}")
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, got {accumulate}")
    if isinstance(lars, bool) or not isinstance(lars, (int, float, np.integer, np.floating)):
        raise TypeError(f"lars must be a number, got {lars!r}")
    if not 0 <= lars < math.inf:
        raise ValueError(f"lars must be finite and not negative, got {lars!r}")


def check_rates(frozen: Any, layer_rates: Any, layers: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Factors of the learning rate by layer, in order, 0 of those that are frozen; of these layers, and not of all."""
    if isinstance(frozen, str) or not isinstance(frozen, Collection) or not isinstance(layer_rates, Mapping):
        raise TypeError(
            f"frozen must be a sequence of layers and layer_rates a mapping of them, got {frozen!r}, {layer_rates!r}"
        )
    rates = {**layer_rates, **dict.fromkeys(frozen, 0.0)}
    if unknown := [name for name in rates if name not in layers]:
        raise ValueError(f"there are no parameters of {unknown[0]!r} to learn or freeze; there are {', '.join(layers)}")
    for name, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)):
            raise TypeError(f"the rate of {name} must be a number, got {rate!r}")
        if not 0 <= rate < math.inf:
            raise ValueError(f"the rate of {name} must be finite and not negative, got {rate!r}")
    if len(rates) == len(layers) and not any(rates.values()):
        raise ValueError("every layer is frozen: nothing is left to train")
    return tuple((name, float(rates[name])) for name in layers if name in rates)


def check_names(expected: str, names: Any) -> tuple[str, ...]:
    """The names as a tuple; a TypeError says what is `expected` where they are no sequence of texts."""
    found = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (None,)
    if not all(isinstance(name, str) for name in found):
        raise TypeError(f"{expected}, got {reprlib.repr(names)}")
    return found


def check_views(count: Any, images: Any) -> None:
    """Require a number of views that there is for these images: ten are cropped out of pixels."""
    if count not in (1, 10):
        raise ValueError(f"views must be 1 or 10, got {count}")
    if count == 10 and images.dtype != np.uint8:
        raise TypeError(f"ten views need uint8 images to crop from, got {images.dtype}")


def check_top(top: Any) -> None:
    """Require a positive integer."""
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)):
        raise TypeError(f"top must be an integer, got {top!r}")
    if top < 1:
        raise ValueError(f"top must be positive, got {top}")


def check_layers(names: Sequence[str], known: Sequence[str]) -> None:
    """Require one layer or more, all of them known."""
    if not names:
        raise ValueError(f"no layer is named; there are {', '.join(known)}")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown layer {unknown[0]!r}; there are {', '.join(known)}")


def check_tensors(
    kind: str, mapping: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, npt.NDArray[Any]]:
    """The tensors as arrays: exactly these names and shapes, of numbers.

    Raises
    ------
    ValueError, TypeError
        Naming the first that is wrong.
    """
    if missing := [name for name in shapes if name not in mapping]:
        raise ValueError(f"{kind} lack {missing[0]!r}")
    if unknown := [name for name in mapping if name not in shapes]:
        raise ValueError(f"{kind} hold {unknown[0]!r}, which the network does not have")
    arrays = {}
    for name, shape in shapes.items():
        value = mapping[name]  # once: of a model it is a copy of the whole tensor
        given = tuple(np.shape(value))
        if given != shape:
            raise ValueError(f"{name} must have shape {list(shape)}, got {list(given)}")
        if is_cupy(value):
            raise TypeError(f"{name} must be on the host, got a CuPy array: take its .get()")
        arrays[name] = np.asarray(value)
        if arrays[name].dtype.kind not in "fiu" and arrays[name].dtype.name != "bfloat16":
            raise TypeError(f"{name} must hold real numbers, got {arrays[name].dtype}")
    return arrays
