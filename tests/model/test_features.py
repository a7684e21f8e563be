"""`Model.features`: every step of the plan against the operations in float64, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model, ops

from .places import ALL
from .tiny import Array, tiny

IMAGES = np.random.default_rng(1).integers(0, 256, (3, 76, 72, 3), dtype=np.uint8)
PLACES = {"cpu": "cpu", "cpu, two towers": ("cpu", "cpu"), **ALL}
NETWORKS: dict[str, dict[str, Any]] = {
    "paper": {},
    "caffe": {"preset": "caffe", "lrn_alpha": 0.05},  # LRN windows cross the towers
    "caffenet": {"preset": "caffenet", "lrn_alpha": 0.05},
    "torchvision": {"preset": "torchvision", "image_size": 64},
}


def by_hand(model: Model, images: Array) -> dict[str, Array]:
    """Each step's output in float64, from the centre of uint8 images; nothing is fused, cut or dropped."""
    c, found = model.config, {}
    top, left = ((side - c.image_size) // 2 for side in images.shape[1:3])
    x = images[:, top : top + c.image_size, left : left + c.image_size].astype(np.float64)
    x = ((x - np.array(c.mean)) / np.array(c.std))[..., :: -1 if c.channel_order == "BGR" else 1].copy()
    for step in model.plan.steps:
        window = {"size": step.kernel, "stride": step.stride}
        if step.weight_shape:
            kinds = ("weight", "bias")
            weight, bias = (model.parameters[f"{step.name}.{kind}"].astype(np.float64) for kind in kinds)
        if step.op == "conv2d":
            geometry = {"stride": step.stride, "padding": step.padding, "groups": step.groups}
            x = ops.conv2d.fprop(x, weight, bias=bias, **geometry)
        elif step.op == "linear":
            x = ops.linear.fprop(x.reshape(len(x), -1), weight, bias=bias)
        elif step.op == "lrn":
            constants = c.lrn_size, c.lrn_k, c.lrn_alpha, c.lrn_beta, c.lrn_alpha_over_size
            x = ops.lrn.fprop(x, ops.lrn.parameters(x.shape[-1], *constants, step.groups))
        elif step.op == "max_pool":
            x = ops.max_pool.fprop(x, train=False, **window)[0]
        x = found[step.name] = np.maximum(x, 0) if step.activation == "relu" else x
    return found


@pytest.mark.parametrize(
    ("place", "network"),
    [(place, network) for place in PLACES for network in NETWORKS if "cpu" in place or network in ("paper", "caffe")],
)
def test_every_step_is_that_of_float64(place: str, network: str) -> None:
    model = tiny(devices=PLACES[place], **NETWORKS[network])
    expected = by_hand(model, IMAGES)
    found = model.features(IMAGES, list(expected))
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        assert (found[name].dtype, found[name].shape) == (np.float32, wanted.shape)
        # As between towers (test_towers.py): eight layers of sums of a few hundred terms.
        error = np.linalg.norm(found[name] - wanted) / np.linalg.norm(wanted)
        assert error < 200 * np.finfo(np.float32).eps, f"{name}: {error}"


def test_a_layer_by_itself_is_the_same_bits_in_batches_and_the_logits_are_those_of_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for devices in ("cpu", ("cpu", "cpu")):
        model = tiny(devices=devices)
        together = model.features(IMAGES, [step.name for step in model.plan.steps])
        np.testing.assert_array_equal(together["fc8"], model.forward(IMAGES))
        np.testing.assert_array_equal(together["dropout7"], together["fc7"])
        monkeypatch.setattr("alexnet_cuda.model._CHUNK", 2)
        for name in ("conv1", "lrn1", "pool1", "fc7"):
            np.testing.assert_array_equal(model.features(IMAGES, name), together[name])
        monkeypatch.undo()


def test_float_images_and_float64_networks() -> None:
    model = tiny(devices="cpu", precision="float64")
    inside = (IMAGES[:, 4:71, 2:69].astype(np.float64) - model.config.mean) / np.array(model.config.std)
    found = model.features(inside, "fc6")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_hand(model, IMAGES)["fc6"], rtol=1e-12, atol=1e-12)


def test_bad_input_names_the_layers_that_there_are() -> None:
    model = tiny(devices="cpu")
    for wanted in ("fc9", ["fc7", "fc9"]):
        with pytest.raises(ValueError, match=r"unknown layer 'fc9'; there are conv1, lrn1, pool1, .*, fc8"):
            model.features(IMAGES, wanted)
    with pytest.raises(ValueError, match="no layer is named; there are conv1"):
        model.features(IMAGES, [])
    with pytest.raises(TypeError, match="uint8 or floating point"):
        model.features(IMAGES.astype(np.int32), "fc7")
    model.forward(IMAGES, train=True)
    model.features(IMAGES, "fc7")
    with pytest.raises(RuntimeError, match="needs a forward"):
        model.backward([0, 1, 2])
