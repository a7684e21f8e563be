"""Two towers on two devices against one device: the same network, each holding half of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model
from alexnet_cuda.config import PRESETS

from .tiny import tiny

NETWORKS: list[dict[str, Any]] = [
    *({"preset": preset} for preset in sorted(PRESETS)),
    {"activation": "tanh", "pool": "average"},
    {"groups": 1, "lrn_window": "across", "lrn_size": 7},
    {"dropout_before": True},
    {"links": False},
]


def pair(**overrides: Any) -> tuple[Model, Model]:
    return tiny(**overrides), tiny(devices=("cpu", "cpu"), **overrides)


@pytest.mark.parametrize("overrides", NETWORKS, ids=str)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_loss_and_every_gradient_equal_those_of_one_device(overrides: dict[str, Any], precision: str) -> None:
    one, two = pair(precision=precision, lrn_alpha=0.05, **overrides)
    images = np.random.default_rng(1).integers(0, 256, (5, 76, 76, 3), dtype=np.uint8)
    labels = [0, 1, 2, 3, 6]
    losses, logits = [], []
    for model in (one, two):
        logits.append(model.forward(images, train=True))
        losses.append(model.backward(labels))
    # Forward, each number is summed over the same terms, though BLAS may block them otherwise; backward, an input's
    # gradient is the sum of two sums instead of one. Either is rounding: a few eps, through eight layers.
    tolerance = 200 * float(np.finfo(precision).eps)
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=tolerance * np.abs(logits[0]).max())
    for name, expected in one.gradients.items():
        error = np.linalg.norm(two.gradients[name] - expected) / np.linalg.norm(expected)
        assert error < tolerance, f"{name}: {error}"


@pytest.mark.parametrize("classes", [7, 10])
def test_training_takes_the_same_path(classes: int) -> None:
    one, two = pair(num_classes=classes, precision="float64")
    images = np.random.default_rng(1).integers(0, 256, (4, 76, 76, 3), dtype=np.uint8)
    for _ in range(5):
        results = [model.train_step(images, [0, 1, 2, 6], learning_rate=0.02) for model in (one, two)]
    assert results[1].loss == pytest.approx(results[0].loss, rel=1e-9)
    assert results[1].correct == results[0].correct
    for name, value in one.velocity.items():
        np.testing.assert_allclose(two.velocity[name], value, rtol=0, atol=1e-9 * np.abs(value).max())


def test_initial_weights_are_the_same_bits() -> None:
    one, two = pair(init="paper")
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(two.parameters[name], value)


def test_the_dropout_mask_is_the_same_bits() -> None:
    one, two = pair(init="paper", precision="float64")
    images = np.random.default_rng(1).standard_normal((3, 67, 67, 3))
    for model in (one, two):
        model.forward(images, train=True)
    whole = one.towers[0].kept["fc6"].own
    halves = np.concatenate([t.kept["fc6"].own for t in two.towers], axis=1)
    np.testing.assert_array_equal(whole == 0, halves == 0)
    assert 0 < (whole == 0).mean() < 1


def test_what_crosses_is_what_the_plan_says() -> None:
    model = Model(devices=("cpu", "cpu"), fc_widths=(64, 64), image_size=67, num_classes=10)
    model.forward(np.zeros((3, 67, 67, 3), np.float32))
    assert model.link is not None
    assert model.link.moved == {e.before: 3 * e.floats for e in model.plan.exchanges}


def test_each_tower_holds_no_more_than_its_half() -> None:
    model = Model(devices=("cpu", "cpu"), fc_widths=(64, 64), image_size=67, num_classes=10)
    images = np.zeros((2, 67, 67, 3), np.float32)
    model.train_step(images, [0, 1])
    model.forward(images, train=True)
    model.backward([0, 1])  # a step that updates at once keeps no gradients
    total = sum(value.nbytes for value in model.parameters.values())
    for tower in model.towers:
        for held in (tower.parameters, tower.gradients, tower.velocity):
            assert sum(value.nbytes for value in held.values()) == total // 2
            assert all(value.base is None for value in held.values()), "a view would keep the whole tensor alive"
