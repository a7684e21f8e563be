"""A batch that goes through the network in parts, and rates by LARS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model
from alexnet_cuda.network.lars import norm, trust_ratio, trust_ratios

from .places import ALL, ONE
from .test_frozen import IMAGES, LABELS, states
from .tiny import tiny

# float64, so that the first two tell rounding from a mistake at once.
PLACES: dict[str, tuple[Any, str]] = {
    "cpu": ("cpu", "float64"),
    "cpu, two towers": (("cpu", "cpu"), "float64"),
    "cpu, float32": ("cpu", "float32"),
    # Activations of 16 bits are rounded image by image, alike in parts; sums of gradients are float32's.
    **{name: (devices, "float16") for name, devices in ALL.items() if "two" in name},
}


def assert_close(model: Model, other: Model) -> None:
    """Up to rounding: tests/model/test_towers.py says why 200 eps of each tensor's norm."""
    expected = states(other)
    for name, value in states(model).items():
        error = np.linalg.norm(value - expected[name])
        assert error <= 200 * np.finfo(value.dtype).eps * np.linalg.norm(expected[name]), name


@pytest.mark.parametrize("place", PLACES)
def test_a_batch_in_parts_is_the_whole_batch_but_for_rounding_dropout_and_views_included(place: str) -> None:
    devices, precision = PLACES[place]
    whole, parts = (tiny(devices=devices, precision=precision) for _ in range(2))
    given: dict[str, Any] = {"learning_rate": 0.02, "layer_rates": {"conv2": 2.0}, "frozen": ["fc7"]}
    for _ in range(1 if place in ALL else 2):
        expected = whole.train_step(IMAGES, LABELS, **given)
        result = parts.train_step(IMAGES, LABELS, accumulate=2, **given)  # two images and one
        assert result.loss == pytest.approx(expected.loss, rel=200 * float(np.finfo(whole.towers[0].accumulator).eps))
        assert result.correct == expected.correct
    assert whole.step == parts.step
    assert_close(parts, whole)
    if place == "cpu, float32":
        again = tiny(devices=devices)
        for _ in range(2):
            again.train_step(IMAGES, LABELS, accumulate=2, **given)
        for name, value in states(again).items():
            np.testing.assert_array_equal(value, states(parts)[name], err_msg=name)


@pytest.mark.parametrize("place", ["cpu", "cpu, two towers", *ONE])
def test_lars_gives_each_layer_a_rate_by_the_norms_of_its_weights_and_gradients(place: str) -> None:
    """On the kernels in float16, whose gradients are 16 times those of the sum over the batch."""
    given: dict[str, Any] = {"devices": ONE[place], "precision": "float16"} if place in ONE else {}
    model, other = (tiny(**given or {"devices": PLACES[place][0]}) for _ in range(2))
    decay, scale = 0.01, 1 / (16 * len(IMAGES)) if given else 1.0
    other.forward(IMAGES, train=True)
    other.backward(LABELS)
    ratios = {}
    for layer in other.plan.layers:
        w, g = (np.linalg.norm(t[f"{layer}.weight"].astype(float)) for t in (other.parameters, other.gradients))
        ratios[layer] = 0.001 * w / (g + decay * w)
    found = trust_ratios(other.towers, other.plan.layers, 0.001, decay, scale)
    assert found == pytest.approx(ratios, rel=1e-6)
    assert len({f"{ratio:.3g}" for ratio in ratios.values()}) == len(ratios)
    rates = {**found, "fc6": 0.5 * found["fc6"]}
    other.sgd_step(4.0, weight_decay=decay, layer_rates=rates, frozen=["conv1"])
    model.train_step(
        IMAGES, LABELS, learning_rate=4.0, weight_decay=decay, lars=0.001, layer_rates={"fc6": 0.5}, frozen=["conv1"]
    )
    for name, value in states(model).items():
        np.testing.assert_array_equal(value, states(other)[name], err_msg=name)


def test_norms_of_nothing_leave_the_rate_as_it_is() -> None:
    assert trust_ratio(0.0, 2.0, 0.001, 0.5) == 1.0
    assert trust_ratio(2.0, 0.0, 0.001, 0.0) == 1.0
    assert trust_ratio(2.0, 0.0, 0.001, 0.5) == 0.002
    assert norm([np.full((3 << 20) + 2, 0.1, np.float32), np.full(3, 0.1, np.float32)]) == pytest.approx(
        np.float32(0.1) * np.sqrt((3 << 20) + 5)
    )


def test_bad_numbers_are_refused_before_anything_changes() -> None:
    model = tiny(devices="cpu")
    before = dict(model.parameters)
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"accumulate": 0}, ValueError, "accumulate must be at least 1, got 0"),
        ({"accumulate": 1.5}, TypeError, r"accumulate must be a whole number, got 1\.5"),
        ({"lars": -1}, ValueError, "lars must be finite and not negative, got -1"),
        ({"lars": float("nan")}, ValueError, "lars must be finite"),
        ({"lars": "0.1"}, TypeError, "lars must be a number, got '0.1'"),
    ]
    for given, error, message in cases:
        with pytest.raises(error, match=message):
            model.train_step(IMAGES, LABELS, **given)
    assert model.step == 0
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
