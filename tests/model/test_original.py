"""Preset `original`: the layers of the code of 2012 in its order, put together by hand from the operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model
from alexnet_cuda.network.views import fixed_views, random_views
from alexnet_cuda.ops import conv2d, linear, lrn, map_lrn, max_pool
from tests.ops.tolerance import TENSOR_CORES

from .places import ALL
from .tiny import Array, tiny

# One row and column of zeros, as 224 pixels have three. Alphas are raised so that the normalisations matter.
OPTIONS: dict[str, Any] = {"preset": "original", "image_size": 66, "lrn_alpha": 0.5, "map_lrn_alpha": 2.0}
IMAGES = np.random.default_rng(1).integers(0, 256, (3, 76, 72, 3), dtype=np.uint8)
RUNS: dict[str, tuple[Any, str]] = {
    "cpu, float64": ("cpu", "float64"),
    "cpu, float32": ("cpu", "float32"),
    "two towers, float64": (("cpu", "cpu"), "float64"),
    **{name: (device, "float32") for name, device in ALL.items()},
}


def seen(config: Any, train: bool) -> Array:
    """What conv1 sees of the images: crop, mirror, noise, mean and deviation, and in training the division."""
    shape = IMAGES.shape
    views = random_views(shape, config, 0) if train else fixed_views(shape, config, "centre", False)
    inputs = np.zeros((len(IMAGES), 67, 67, 3))
    for image, top, left, mirrored, shift, target in zip(
        IMAGES, views.top, views.left, views.mirrored, views.shift, inputs, strict=True
    ):
        crop = image[top : top + 66, left : left + 66].astype(np.float64)
        target[:66, :66] = ((crop[:, ::-1] if mirrored else crop) + shift - config.mean) / config.std
    return inputs / 1.1 if train else inputs


def by_hand(w: dict[str, Array], x: Array, keep: dict[str, Array | float]) -> dict[str, Array]:
    """Outputs of the FC layers, of inputs [N, 67, 67, 3]; `keep`: what those of fc6 and fc7 are multiplied by."""

    def conv(name: str, x: Array, groups: int, activation: str, **geometry: int) -> Array:
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        y: Array = conv2d.fprop(x, weight, bias, groups=groups, activation=activation, **geometry)
        return y

    def norm(x: Array) -> Array:
        y: Array = lrn.fprop(x, lrn.parameters(x.shape[3], 5, 2.0, 0.5 / 5, 0.75, groups=2))
        return y

    x = np.maximum(max_pool.fprop(norm(conv("conv1", x, 1, "none", stride=4)), train=False)[0], 0)
    x = map_lrn.fprop(norm(conv("conv2", x, 2, "relu", padding=2)), map_lrn.parameters(5, 1.0, 2.0, 0.75))
    x = conv("conv3", max_pool.fprop(x, train=False)[0], 1, "relu", padding=1)
    x = conv("conv5", conv("conv4", x, 2, "relu", padding=1), 2, "none", padding=1)
    x = np.maximum(max_pool.fprop(x, train=False)[0], 0).reshape(len(x), -1)
    outputs = {}
    for name in ("fc6", "fc7", "fc8"):
        x = linear.fprop(x, w[f"{name}.weight"], w[f"{name}.bias"], activation="none" if name == "fc8" else "relu")
        outputs[name] = x = x * keep.get(name, 1.0)
    return outputs


def weights(model: Model) -> dict[str, Array]:
    return {name: value.astype(np.float64) for name, value in model.parameters.items()}


@pytest.mark.parametrize("train", [False, True], ids=["test", "training"])
@pytest.mark.parametrize(("device", "precision"), RUNS.values(), ids=RUNS)
def test_logits_are_those_of_its_layers(device: Any, precision: str, train: bool) -> None:
    model = tiny(devices=device, precision=precision, dropout=0.0, **OPTIONS)
    expected = by_hand(weights(model), inputs := seen(model.config, train), {})["fc8"]
    actual = [model.forward(IMAGES, train=train)]
    if not train:  # float images are the network's own input, without the zeros
        actual.append(model.forward(inputs[:, :66, :66].astype(precision)))
    allowed = 1e-5 if precision == "float64" else TENSOR_CORES["float32"].through(8, 900)
    for logits in actual:  # in float64 too the factors of pixels are in float32
        assert np.linalg.norm(logits - expected) < allowed * np.linalg.norm(expected)


def test_dropout_scales_in_tests_alone() -> None:
    model = tiny(precision="float64", **OPTIONS)
    halves: dict[str, Array | float] = {"fc6": 0.5, "fc7": 0.5}
    images = seen(model.config, False)
    given = np.ascontiguousarray(images[:, :66, :66])
    np.testing.assert_allclose(model.forward(given), by_hand(weights(model), images, halves)["fc8"], rtol=1e-9)
    logits = model.forward(given, train=True)
    kept = {name: model.towers[0].kept[name].own for name in halves}
    outputs = by_hand(weights(model), images, {name: value != 0 for name, value in kept.items()})
    np.testing.assert_allclose(logits, outputs["fc8"], rtol=1e-9)
    for name, value in kept.items():
        np.testing.assert_allclose(value, outputs[name], rtol=1e-9, atol=1e-12)
    positive = by_hand(weights(model), images, {})["fc6"] > 0
    assert 0.25 < np.mean(kept["fc6"][positive] > 0) < 0.75


def test_at_its_own_size_three_rows_and_columns_of_zeros_are_conv1s() -> None:
    model = tiny(preset="original", image_size=224)
    assert model.plan.steps[0].input == (227, 227, 3)
    images = np.random.default_rng(2).standard_normal((1, 224, 224, 3)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (0, 3), (0, 3), (0, 0)))
    by_itself = tiny(preset="original", image_size=227)
    by_itself.set_parameters(model.parameters)
    np.testing.assert_array_equal(model.forward(images), by_itself.forward(padded))
