"""`Model` on the CPU: shapes, gradients, inputs, prediction, saving."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model

from .tiny import Array, batch, every_network, tiny


def test_the_whole_paper_network_has_the_published_tensors() -> None:
    model = Model()
    assert sum(v.size for v in model.parameters.values()) == 60_965_224
    weight, bias = model.parameters["conv1.weight"], model.parameters["conv2.bias"]
    # 34,848 draws: the standard deviation of the sample's own is sigma / sqrt(2 n) = 0.4 %, five of them are 2 %.
    assert weight.std() == pytest.approx(0.01, rel=0.02)
    assert abs(weight.mean()) < 5 * 0.01 / np.sqrt(weight.size)
    assert (bias == 1).all()
    assert (model.parameters["conv1.bias"] == 0).all()
    logits = model.forward(np.zeros((2, 227, 227, 3), np.float32))
    assert logits.shape == (2, 1000)
    assert np.isfinite(logits).all()


@every_network
def test_gradients_equal_finite_differences(overrides: dict[str, Any]) -> None:
    # alpha is raised so that the normalisation's own gradient is no rounding error of the rest.
    model = tiny(precision="float64", lrn_alpha=0.05, **overrides)
    images, labels = batch(model)
    model.forward(images, train=True)
    model.backward(labels)
    gradients = {name: value.copy() for name, value in model.gradients.items()}
    rng = np.random.default_rng(3)
    values = {name: value.copy() for name, value in model.parameters.items()}

    def loss(name: str, direction: Array, step: float) -> float:
        model.set_parameters({**values, name: values[name] + step * direction})
        model.forward(images, train=True)
        return model.backward(labels)

    for name, gradient in gradients.items():
        direction = rng.standard_normal(gradient.shape)
        direction /= np.linalg.norm(direction)
        eps = 1e-6
        numeric = (loss(name, direction, eps) - loss(name, direction, -eps)) / (2 * eps)
        analytic = float((gradient * direction).sum())
        # Central differences err by rounding, about 1e-16 * loss / eps = 1e-9, plus curvature * eps^2.
        assert numeric == pytest.approx(analytic, rel=1e-5, abs=2e-8 * max(1.0, np.linalg.norm(gradient))), name


def test_loss_is_the_mean_cross_entropy_of_the_logits() -> None:
    model = tiny(dropout=0.0, precision="float64")
    images, labels = batch(model)
    logits = model.forward(images, train=True)
    expected = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)])
    assert model.backward(labels) == pytest.approx(expected, rel=1e-12)


def test_training_on_one_batch_fits_it() -> None:
    model = tiny(dropout=0.0)
    images, labels = batch(model, 8)
    losses = [model.train_step(images, labels, learning_rate=0.02).loss for _ in range(60)]
    assert losses[-1] < 0.05 * losses[0]
    assert model.step == 60
    assert (model.predict(images, top=1)[0][:, 0] == labels).all()


def test_sgd_step_is_the_papers_update() -> None:
    model = tiny(precision="float64")
    images, labels = batch(model)
    weights = {n: v.copy() for n, v in model.parameters.items()}
    velocity = {n: np.zeros_like(v) for n, v in weights.items()}
    for _ in range(3):
        model.forward(images, train=True)
        model.backward(labels)
        for name, gradient in model.gradients.items():
            rate, decay = (0.02, 0.0) if name.endswith("bias") else (0.01, 5e-4)
            velocity[name] = 0.9 * velocity[name] - decay * rate * weights[name] - rate * gradient
            weights[name] = weights[name] + velocity[name]
        model.sgd_step(learning_rate=0.01)
        for name, value in model.parameters.items():
            np.testing.assert_allclose(value, weights[name], rtol=1e-12, atol=1e-15, err_msg=name)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    losses = []
    for seed in (5, 5, 6):
        model = tiny(seed=seed)
        images = np.random.default_rng(1).integers(0, 256, (4, 76, 76, 3), dtype=np.uint8)
        losses.append([model.train_step(images, [0, 1, 2, 3]).loss for _ in range(3)])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_dropout_and_augmentation_change_with_the_step_only() -> None:
    model = tiny()
    images = np.random.default_rng(1).integers(0, 256, (4, 76, 76, 3), dtype=np.uint8)
    first, again = (model.forward(images, train=True) for _ in range(2))
    model.step = 1
    other = model.forward(images, train=True)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(model.forward(images), model.forward(images))


def test_uint8_images_are_cropped_at_the_centre_and_normalised() -> None:
    model = tiny(preset="caffe", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0), resize=80, dropout=0.0)
    images = np.random.default_rng(1).integers(0, 256, (2, 80, 71, 3), dtype=np.uint8)
    crop = images[:, 6:73, 2:69].astype(np.float64)
    by_hand = ((crop - [10, 20, 30]) / [2, 4, 8])[..., ::-1].astype(np.float32)
    np.testing.assert_allclose(model.forward(images), model.forward(by_hand), rtol=2e-4, atol=2e-5)


def test_ten_views_are_the_mean_over_corners_and_centre_mirrored() -> None:
    model = tiny()
    images = np.random.default_rng(1).integers(0, 256, (2, 76, 76, 3), dtype=np.uint8)
    expected = np.zeros((2, 7))
    for top, left in ((0, 0), (0, 9), (9, 0), (9, 9), (4, 4)):
        crop = np.ascontiguousarray(images[:, top : top + 67, left : left + 67])
        expected += model.probabilities(crop) + model.probabilities(np.ascontiguousarray(crop[:, :, ::-1]))
    np.testing.assert_allclose(model.probabilities(images, views=10), expected / 10, rtol=1e-5, atol=1e-7)


def test_a_batch_is_not_kept_once_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    said_done = Future.set_result

    def linger(future: Future[object], result: object) -> None:
        said_done(future, result)
        time.sleep(0.02)  # a thread of the pool that the machine leaves waiting just before it drops its work

    monkeypatch.setattr(Future, "set_result", linger)
    model = tiny(devices="cpu")
    for dtype in (np.uint8, np.float32):
        for call in (model.forward, lambda images: model.train_step(images, [0, 1])):
            images = np.zeros((2, 67, 67, 3), dtype)
            kept = weakref.ref(images)
            call(images)
            del images
            assert kept() is None


def test_predict_orders_classes_and_gives_at_most_all() -> None:
    model = tiny()
    images, _ = batch(model, 70)  # more than one chunk
    classes, probabilities = model.predict(images, top=9)
    assert classes.shape == probabilities.shape == (70, 7)
    assert (np.diff(probabilities, axis=1) <= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (model.predict(images[:2], top=2)[0] == classes[:2, :2]).all()


def test_save_and_load_give_the_same_network(tmp_path: Path) -> None:
    model = tiny(seed=3, preset="original")
    images, labels = batch(model)
    model.train_step(images, labels)
    model.class_names = tuple("abcdefg")
    model.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert (loaded.class_names, loaded.step) == (model.class_names, 1)
    np.testing.assert_array_equal(loaded.forward(images), model.forward(images))


def test_packed_weights_follow_every_change_of_the_parameters() -> None:
    model = tiny(devices="cpu")
    images, labels = batch(model, 9)  # of fewer, weights that are not packed are added up in another order

    def step_by_hand() -> None:
        model.forward(images, train=True)
        model.backward(labels)
        model.sgd_step(learning_rate=0.01)

    changes: list[Callable[[], object]] = [
        lambda: model.train_step(images, labels, learning_rate=0.01),
        step_by_hand,
        lambda: model.set_parameters({**model.parameters, "fc6.weight": 2 * model.parameters["fc6.weight"]}),
        lambda: model.towers[0].lend("conv2.weight").fill(0.5),
        lambda: model.towers[0].parameters["conv2.weight"].fill(0.25),  # through what was lent
    ]
    for change in changes:
        before = model.forward(images)
        change()
        after, fresh = model.forward(images), Model.from_config(model.config, "cpu", dict(model.parameters))
        assert (after != before).any()
        np.testing.assert_array_equal(after, fresh.forward(images))


def test_parameters_can_be_replaced() -> None:
    model, other = tiny(seed=1), tiny(seed=2)
    images, _ = batch(model)
    other.set_parameters(model.parameters)
    np.testing.assert_array_equal(other.forward(images), model.forward(images))
