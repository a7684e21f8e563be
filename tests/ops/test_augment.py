"""From uint8 images to the input of conv1, against a loop over pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.cpu.augment import Views
from alexnet_cuda.ops import augment

from .backends import Backend
from .tolerance import Precision, assert_close

Array = npt.NDArray[Any]
SIZE = 5
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def batch(n: int = 6) -> tuple[Array, Views]:
    """Images of 9 x 7 with a view each; the corners of the range are among them."""
    rng = np.random.default_rng(18)
    images = rng.integers(0, 256, (n, 9, 7, 3), dtype=np.uint8)
    top, left = rng.integers(0, 9 - SIZE + 1, n), rng.integers(0, 7 - SIZE + 1, n)
    top[0:1], left[0:1] = 0, 7 - SIZE
    top[1:2], left[1:2] = 9 - SIZE, 0
    shift = (20 * rng.standard_normal((n, 3))).astype(np.float32)
    return images, Views(top, left, np.arange(n) % 2 == 1, shift)


def on_device(backend: Backend, views: Views) -> Views:
    return Views(*map(backend.to_device, (views.top, views.left, views.mirrored, views.shift)))


def loops(images: Array, views: Views, mean: Any, std: Any, order: str) -> Array:
    """A pixel at a time, in float64."""
    out = np.zeros((len(images), SIZE, SIZE, 3))
    for n, i, j, c in np.ndindex(*out.shape):
        column = SIZE - 1 - j if views.mirrored[n] else j
        rgb = "RGB".index(order[c])
        pixel = float(images[n, views.top[n] + i, views.left[n] + column, rgb])
        out[n, i, j, c] = (pixel + float(views.shift[n, rgb]) - mean[rgb]) / std[rgb]
    return out


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))], ids=["scaled", "plain"])
@pytest.mark.parametrize("n", [6, 1, 0])
def test_every_pixel(backend: Backend, precision: Precision, order: str, mean: Any, std: Any, n: int) -> None:
    images, views = batch(n)
    out = backend.poisoned((n, SIZE, SIZE, 3), precision.dtype)
    given = augment.fprop(
        backend.to_device(images), on_device(backend, views), mean=mean, std=std, channel_order=order, out=out
    )
    assert given is out
    expected = loops(images, views, mean, std, order)
    # The scale, two products, two sums, of numbers up to 255, the shift and the mean, over std.
    sizes = (255 + np.abs(views.shift).max(initial=0) + max(mean)) / min(std)
    bound = precision.bound(expected, 5 * sizes)
    assert_close(backend.to_host(out), expected, bound, precision.dtype, shared=2 * precision.accumulate)


def test_images_stay_as_they_are(backend: Backend, precision: Precision) -> None:
    images, views = batch()
    there = backend.to_device(images)
    out = backend.poisoned((6, SIZE, SIZE, 3), precision.dtype)
    augment.fprop(there, on_device(backend, views), mean=MEAN, std=STD, channel_order="RGB", out=out)
    assert np.array_equal(backend.to_host(there), images)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": np.zeros((6, 9, 7, 3), np.float32)}, TypeError, "images must be of dtype uint8, got float32"),
        ({"images": np.zeros((6, 9, 7, 4), np.uint8)}, ValueError, "images must have shape [any, any, any, 3]"),
        ({"out": np.zeros((5, SIZE, SIZE, 3), np.float32)}, ValueError, "out must have shape [6, any, any, 3]"),
        (
            {"out": np.zeros((6, SIZE, 4, 3), np.float32)},
            ValueError,
            "out must have shape [6, 5, 5, 3], got [6, 5, 4, 3]",
        ),
        ({"out": np.zeros(6, np.float32)}, ValueError, "out must have shape [6, any, any, 3], got [6]"),
        ({"out": np.zeros((6, SIZE, SIZE, 3), np.int32)}, TypeError, "out must be floating point, got int32"),
        ({"out": np.zeros((6, 8, 8, 3), np.float32)}, ValueError, "crops of 8 pixels reach outside the images, 9x7"),
        ({"top": np.full(6, 5)}, ValueError, "crops of 5 pixels reach outside the images, 9x7"),
        ({"left": np.full(6, 3)}, ValueError, "crops of 5 pixels reach outside the images, 9x7"),
        ({"top": np.array([0, 0, -1, 0, 0, 0])}, ValueError, "crops of 5 pixels reach outside the images, 9x7"),
        ({"left": np.array([0, 0, 0, 0, 0, -1])}, ValueError, "crops of 5 pixels reach outside the images, 9x7"),
        ({"left": np.zeros(5, np.int64)}, ValueError, "views.left must have shape [6], got [5]"),
        ({"mirrored": np.zeros(6, np.int64)}, TypeError, "views.mirrored must be of dtype bool, got int64"),
        ({"shift": np.zeros((6, 1), np.float32)}, ValueError, "views.shift must have shape [6, 3], got [6, 1]"),
        ({"std": (1.0, 0.0, 1.0)}, ValueError, "std 3 positive ones, got"),
        ({"mean": (1.0, 2.0)}, ValueError, "mean must be 3 numbers"),
        ({"channel_order": "bgr"}, ValueError, "channel_order must be 'RGB' or 'BGR', got 'bgr'"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_bad_arguments_name_what_was_given_and_expected(
    backend: Backend, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    images, views = batch()
    views = on_device(backend, views)
    arguments: dict[str, Any] = {"mean": MEAN, "std": STD, "channel_order": "RGB"}
    arguments |= {"images": images, "out": np.zeros((6, SIZE, SIZE, 3), np.float32)}
    for name, value in change.items():
        if name in ("top", "left", "mirrored", "shift"):
            views = replace(views, **{name: backend.to_device(value)})
        else:
            arguments[name] = value
    arguments |= {name: backend.to_device(arguments[name]) for name in ("images", "out")}
    with pytest.raises(error) as caught:
        augment.fprop(views=views, **arguments)
    assert words in str(caught.value)
