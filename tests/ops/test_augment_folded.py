"""From uint8 images to a folded input of conv1: the fold of what they become unfolded, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda.base.params import FoldedLayout, Views
from alexnet_cuda.ops import augment, conv2d

from .backends import Backend
from .small import small
from .tolerance import Precision, assert_equal

COLOURS: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
# Of square images: size, filter, stride, padding.
INPUTS = {
    "the last cells partly outside": (41, (11, 11), (4, 4), (0, 0)),
    "like torchvision": (20, (11, 11), (4, 4), (2, 2)),
    "like the code of 2012": (20, (11, 11), (4, 4), ((0, 3), (0, 3))),
    "lopsided": (21, (7, 6), (4, 3), (2, 1)),
    "cells of one position": (9, (3, 2), (1, 1), (1, 0)),
    "cells wholly in the padding": (6, (3, 2), (1, 2), (3, 4)),
}


def layout_of(name: str, dtype: Any) -> FoldedLayout:
    size, kernel, stride, padding = INPUTS[name]
    layout = conv2d.folded_layout((size, size, 3), kernel, stride=stride, padding=padding, dtype=dtype)
    assert layout is not None
    return layout


def batch(backend: Backend, n: int, size: int) -> tuple[Any, Views]:
    rng = np.random.default_rng(9)
    images = rng.integers(0, 256, (n, size + 4, size + 2, 3), dtype=np.uint8)
    top, left = np.resize([4, 0, 1], n).astype(np.int64), np.resize([0, 2, 1, 1], n).astype(np.int64)
    shift = rng.normal(0, 20, (n, 3)).astype(np.float32)
    views = (top, left, np.resize([False, True], n), shift)
    return backend.to_device(images), Views(*map(backend.to_device, views))


@small(order=["BGR"], n=[5], name=["like torchvision", "lopsided"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("n", [5, 0])
@pytest.mark.parametrize("name", INPUTS)
def test_the_fold_of_the_views(backend: Backend, precision: Precision, name: str, n: int, order: str) -> None:
    layout, size = layout_of(name, precision.dtype), INPUTS[name][0]
    images, views = batch(backend, n, size)
    plain = augment.fprop(
        images, views, out=backend.poisoned((n, size, size, 3), precision.dtype), channel_order=order, **COLOURS
    )
    out = backend.poisoned((n, *layout.shape), precision.dtype)
    assert augment.fprop(images, views, out=out, folded=layout, channel_order=order, **COLOURS) is out
    assert_equal(backend.to_host(out), conv2d.fold(backend.to_host(plain), layout))


def test_a_layout_that_does_not_fit_is_named(backend: Backend, precision: Precision) -> None:
    layout = layout_of("lopsided", precision.dtype)
    images, views = batch(backend, 2, 21)
    options: dict[str, Any] = {"channel_order": "RGB", **COLOURS}
    with pytest.raises(ValueError, match=r"out must have shape \[2, 6, 7, \d+\], got \[2, 21, 21, 3\]"):
        augment.fprop(images, views, out=backend.poisoned((2, 21, 21, 3), precision.dtype), folded=layout, **options)
    oblong = conv2d.folded_layout((21, 18, 3), (7, 6), stride=(4, 3), dtype=precision.dtype)
    assert oblong is not None
    out = backend.poisoned((2, *oblong.shape), precision.dtype)
    with pytest.raises(ValueError, match=r"folded must be of square images of 3 channels, got one of \(21, 18, 3\)"):
        augment.fprop(images, views, out=out, folded=oblong, **options)
