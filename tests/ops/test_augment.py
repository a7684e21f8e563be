"""From uint8 images to the input of conv1, against a loop over pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.base.params import Views
from alexnet_cuda.ops import augment

from .backends import Backend, assert_repeats
from .small import small
from .tolerance import Precision, assert_close, assert_equal

Array = npt.NDArray[Any]
SIZE = 5
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def batch(n: int = 6, size: int = SIZE) -> tuple[Array, Views]:
    """Images 4 and 2 pixels larger than the views, of which each has one.

    The corners of the range are among them: the first view begins with its image, the last ends with its own.
    """
    rng = np.random.default_rng(18)
    images = rng.integers(0, 256, (n, size + 4, size + 2, 3), dtype=np.uint8)
    top, left = rng.integers(0, 4 + 1, n), rng.integers(0, 2 + 1, n)
    for views, row, column in ((slice(1, 2), 0, 2), (slice(2, 3), 4, 0), (slice(1), 0, 0), (slice(-1, None), 4, 2)):
        top[views], left[views] = row, column
    shift = (20 * rng.standard_normal((n, 3))).astype(np.float32)
    return images, Views(top, left, np.arange(n) % 2 == 1, shift)


def on_device(backend: Backend, views: Views) -> Views:
    return Views(*map(backend.to_device, (views.top, views.left, views.mirrored, views.shift)))


def loops(images: Array, views: Views, mean: Any, std: Any, order: str, size: int) -> Array:
    """An image and channel at a time, in float64."""
    out = np.zeros((len(images), size, size, 3))
    for n, c in np.ndindex(len(images), 3):
        rgb = "RGB".index(order[c])
        crop = images[n, views.top[n] : views.top[n] + size, views.left[n] : views.left[n] + size, rgb]
        pixels = (crop[:, ::-1] if views.mirrored[n] else crop).astype(np.float64)
        out[n, :, :, c] = (pixels + float(views.shift[n, rgb]) - mean[rgb]) / std[rgb]
    return out


@small(order=["BGR"], mean=[MEAN], size=[41], placement=["to_device"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))], ids=["scaled", "plain"])
@pytest.mark.parametrize(("n", "size"), [(6, 5), (1, 5), (0, 5), (3, 41)])
@pytest.mark.parametrize("placement", ["to_device", "shifted"])
def test_every_pixel(
    backend: Backend, precision: Precision, order: str, mean: Any, std: Any, n: int, size: int, placement: str
) -> None:
    images, views = batch(n, size)
    out = getattr(backend, placement)(np.full((n, size, size, 3), np.nan, precision.dtype))
    options = {"mean": mean, "std": std, "channel_order": order}
    given = augment.fprop(backend.to_device(images), on_device(backend, views), out=out, **options)
    assert given is out
    # The very bits of float32 on the CPU, rounded once more where need be.
    single = augment.fprop(images, views, out=np.empty((n, size, size, 3), np.float32), **options)
    assert_equal(backend.to_host(out), single.astype(precision.dtype))
    expected = loops(images, views, mean, std, order, size)
    # The scale, two products, two sums, of numbers up to 255, the shift and the mean, over std.
    sizes = (255 + np.abs(views.shift).max(initial=0) + max(mean)) / min(std)
    bound = precision.sums.bound(expected, 5 * sizes)
    assert_close(single, expected, bound, np.float32, shared=2 * precision.accumulate)


# Of 16 such images the bytes are a multiple of 16: the executor sees a read of one more.
@pytest.mark.parametrize(("n", "size"), [(16, 5), (3, 41), (0, 5)])
@pytest.mark.parametrize("placement", ["to_device", "shifted"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_a_fourth_channel_of_zeros(
    kernels: Backend, precision: Precision, n: int, size: int, placement: str, order: str
) -> None:
    images, views = batch(n, size)
    options: dict[str, Any] = {"mean": MEAN, "std": STD, "channel_order": order}
    for _ in kernels.schedules():
        arguments = kernels.to_device(images), on_device(kernels, views)
        three = augment.fprop(*arguments, out=kernels.poisoned((n, size, size, 3), precision.dtype), **options)
        four = getattr(kernels, placement)(np.full((n, size, size, 4), np.nan, precision.dtype))
        augment.fprop(*arguments, out=four, **options)
        assert_equal(kernels.to_host(four)[..., :3], kernels.to_host(three))
        assert_equal(kernels.to_host(four)[..., 3], np.zeros((n, size, size), precision.dtype))


def test_views_may_be_on_the_host(kernels: Backend) -> None:
    images, views = batch()
    results = []
    for given in (views, on_device(kernels, views)):
        out = kernels.poisoned((6, SIZE, SIZE, 3), np.float32)
        augment.fprop(kernels.to_device(images), given, mean=MEAN, std=STD, channel_order="RGB", out=out)
        results.append(kernels.bits(out))
    assert results[0] == results[1]


def test_repeats_to_the_bit(backend: Backend, precision: Precision) -> None:
    images, views = batch(3, 41)

    def run() -> list[Any]:
        out = backend.poisoned((3, 41, 41, 3), precision.dtype)
        given = backend.to_device(images), on_device(backend, views)
        return [augment.fprop(*given, mean=MEAN, std=STD, channel_order="RGB", out=out)]

    assert_repeats(backend, run)


def test_images_stay_as_they_are(backend: Backend, precision: Precision) -> None:
    images, views = batch()
    device_images = backend.to_device(images)
    out = backend.poisoned((6, SIZE, SIZE, 3), precision.dtype)
    augment.fprop(device_images, on_device(backend, views), mean=MEAN, std=STD, channel_order="RGB", out=out)
    assert np.array_equal(backend.to_host(device_images), images)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": np.zeros((6, 9, 7, 3), np.float32)}, TypeError, "images must be of dtype uint8, got float32"),
        ({"images": np.zeros((6, 9, 7, 4), np.uint8)}, ValueError, "images must have shape [any, any, any, 3]"),
        ({"out": np.zeros((5, SIZE, SIZE, 3), np.float32)}, ValueError, "out must have shape [6, any, any, any]"),
        (
            {"out": np.zeros((6, SIZE, 4, 3), np.float32)},
            ValueError,
            "out must have shape [6, 5, 5, 3], got [6, 5, 4, 3]",
        ),
        ({"out": np.zeros((6, SIZE, SIZE, 5), np.float32)}, ValueError, "out must have shape [6, 5, 5, 3], got"),
        ({"out": np.zeros(6, np.float32)}, ValueError, "out must have shape [6, any, any, any], got [6]"),
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
        ({"divisor": 0.0}, ValueError, "views.divisor must be positive, got 0.0"),
        ({"mean": (1.0, 2.0)}, ValueError, "mean must be 3 numbers"),
        ({"channel_order": "bgr"}, ValueError, "channel_order must be 'RGB' or 'BGR', got 'bgr'"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_bad_arguments_name_what_was_given_and_expected(
    backend: Backend, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    images, views = batch()  # corners are only looked at on the host
    arguments: dict[str, Any] = {"mean": MEAN, "std": STD, "channel_order": "RGB"}
    arguments |= {"images": images, "out": np.zeros((6, SIZE, SIZE, 3), np.float32)}
    for name, value in change.items():
        if name in ("top", "left", "mirrored", "shift", "divisor"):
            views = replace(views, **{name: value})
        else:
            arguments[name] = value
    arguments |= {name: backend.to_device(arguments[name]) for name in ("images", "out")}
    with pytest.raises(error) as caught:
        augment.fprop(views=views, **arguments)
    assert words in str(caught.value)
