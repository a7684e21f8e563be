"""`Model` on the kernels: against the NumPy backend, one tower against two, in all precisions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model, _simt
from alexnet_cuda.backends.simt import device as devices
from alexnet_cuda.network.tower import Tower

from ..ops.tolerance import TENSOR_CORES
from .places import ALL, ONE, PLACES, apart
from .tiny import Array, every_network, tiny, tiny16

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 76, 76, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 6]
TWO = ("simt", "simt")
LOW = ("tf32", "bfloat16", "float16")


@pytest.fixture(autouse=True)
def _seeds() -> Iterator[None]:
    yield
    devices.scheduler.reseed(0)
    _simt.set_seed(value=0)


def step(model: Model) -> tuple[float, dict[str, Array]]:
    """Loss and gradients of one training step."""
    model.forward(IMAGES, train=True)
    loss = model.backward(LABELS)
    return loss, dict(model.gradients)


def train(model: Model, steps: int = 3) -> list[float]:
    return [model.train_step(IMAGES, LABELS, learning_rate=0.02).loss for _ in range(steps)]


@pytest.mark.parametrize("device", ["simt", TWO], ids=["one", "two"])
def test_a_step_after_the_first_plans_nothing(device: Any) -> None:
    model = tiny16(devices=device)
    train(model, 1)
    first = _simt.conv2d_plan_count()
    train(model, 2)
    assert _simt.conv2d_plan_count() == first > 0


def distance(actual: Array, expected: Array) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def assert_same(one: Model, other: Model) -> None:
    for kind in ("parameters", "velocity"):
        for name, value in getattr(one, kind).items():
            np.testing.assert_array_equal(getattr(other, kind)[name], value, err_msg=name)


@pytest.mark.parametrize("device", ALL.values(), ids=ALL)
@every_network
def test_gradients_equal_those_of_numpy(overrides: dict[str, Any], device: Any) -> None:
    # alpha is raised so that the normalisation's own gradient is no rounding error of the rest.
    options = {"lrn_alpha": 0.05, **overrides}
    expected_loss, expected = step(tiny(devices="cpu", precision="float64", **options))
    loss, gradients = step(tiny(devices=device, **options))
    # Eight products to the loss, as many back, over up to 363 values or the 900 positions of conv1.
    there, back = (TENSOR_CORES["float32"].through(sums, 900) for sums in (8, 16))
    assert loss == pytest.approx(expected_loss, rel=there)
    for name, value in expected.items():
        assert distance(gradients[name], value) < back, name


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("precision", LOW)
def test_two_towers_equal_one_in_16_bits_and_tf32(precision: str, places: tuple[Any, Any]) -> None:
    (one_loss, one), (two_loss, two) = (step(tiny(devices=d, precision=precision)) for d in places)
    assert two_loss == pytest.approx(one_loss, rel=1e-5)
    for name, value in one.items():
        # The halves of conv3's and the FC layers' sums are added in another order: a few results round the other way.
        assert distance(two[name], value) < 0.02, name


@pytest.mark.parametrize("device", ONE.values(), ids=ONE)
def test_gradients_in_16_bits_and_tf32(device: str) -> None:
    # Of a network that is nearly linear: no ReLU nor maximum decides otherwise for a rounding.
    options = {"activation": "tanh", "pool": "average", "dropout": 0.0}
    _, expected = step(tiny(devices="cpu", precision="float64", **options))
    for precision, allowed in (("float16", 0.01), ("tf32", 0.01), ("bfloat16", 0.06)):
        _, gradients = step(tiny(devices=device, precision=precision, **options))
        for name, value in expected.items():
            assert gradients[name].dtype == np.float32
            assert distance(gradients[name], value) < allowed, (precision, name)


# Two towers update weights by ranges of columns: of the weights themselves, and of their 16-bit copies.
UPDATES = {
    f"{name}-{precision}": (device, precision)
    for name, device in ALL.items()
    for precision in ("float32", *LOW)
    if name in ONE or precision in ("float32", "bfloat16")
}


@pytest.mark.parametrize(("device", "precision"), UPDATES.values(), ids=UPDATES)
def test_the_fused_update_is_the_gradient_then_the_update(precision: str, device: Any) -> None:
    fused, apart = (tiny(devices=device, precision=precision) for _ in range(2))
    for _ in range(2):
        fused.train_step(IMAGES, LABELS, learning_rate=0.02)
        step(apart)
        apart.sgd_step(0.02)
    assert fused.step == apart.step == 2
    assert not fused.gradients
    assert_same(fused, apart)
    np.testing.assert_array_equal(fused.forward(IMAGES), apart.forward(IMAGES))


@pytest.mark.parametrize("device", ALL.values(), ids=ALL)
def test_runs_repeat_bit_for_bit_whatever_runs_first(device: Any) -> None:
    """Whether a thread prepares the batches or not, and on two GPUs, where there are two, as on one of them."""
    models = []
    for seed in (0, 1, 2):
        _simt.set_seed(value=seed)
        devices.scheduler.reseed(seed)
        model = tiny(devices=apart(device) if seed == 2 else device, precision="bfloat16")
        batches = [(IMAGES, LABELS)] * 3
        for images, labels in model.prefetch(batches) if seed else batches:
            model.train_step(images, labels, learning_rate=0.02)
        models.append(model)
    assert_same(models[0], models[1])
    assert_same(models[0], models[2])


@pytest.mark.parametrize("preset", ["paper", "caffe"])
def test_exchanges_are_right_in_every_order_and_a_missing_wait_shows(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(order: int) -> list[float]:
        devices.scheduler.reseed(order)
        return train(tiny16(devices=TWO, preset=preset), 2)

    expected = run(0)
    for order in (1, 2, 3):
        assert run(order) == expected, order
    monkeypatch.setattr(Tower, "wait", lambda self, arrival: arrival.array)
    # An order that delivers late leaves NaN where a kernel went ahead.
    assert any(not np.array_equal(run(order), expected) for order in range(4))


def test_a_pass_that_does_not_wait_for_the_last_one_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(order: int) -> list[float]:
        devices.scheduler.reseed(order)
        model = tiny16(devices=TWO)
        steps = [model.train_step(IMAGES[::turn], LABELS[::turn], learning_rate=0.02) for turn in (1, -1, 1)]
        return [result.loss for result in steps]  # one tower may be whole steps ahead of the other

    expected = run(0)
    assert all(run(order) == expected for order in (3, 5, 7))
    monkeypatch.setattr("alexnet_cuda.network.link.Link.begin", lambda self: None)
    assert any(run(order) != expected for order in (3, 5, 7))


@pytest.mark.parametrize("device", ALL.values(), ids=ALL)
def test_dropout_masks_are_those_of_numpy(device: Any) -> None:
    outputs = []
    for where in ("cpu", device):
        model = tiny(devices=where, init="paper")
        model.step = 5
        model.forward(IMAGES, train=True)
        parts = [t.device.download(t.kept["fc6"].own) for t in model.towers]
        outputs.append(np.concatenate(parts, axis=1) == 0)
    assert 0 < outputs[0].mean() < 1
    np.testing.assert_array_equal(outputs[1], outputs[0])


@pytest.mark.parametrize("device", ALL.values(), ids=ALL)
def test_nothing_is_allocated_after_the_first_step(device: Any) -> None:
    model = tiny(devices=device, precision="bfloat16")
    train(model, 1)
    before = [tower.device.allocations for tower in model.towers]
    train(model, 2)
    model.train_step(IMAGES[:3], LABELS[:3])
    assert [tower.device.allocations for tower in model.towers] == before


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_a_checkpoint_goes_on_on_another_backend(tmp_path: Path, places: tuple[Any, Any]) -> None:
    path = tmp_path / "model.safetensors"
    model = tiny(devices=places[0], precision="bfloat16")
    train(model)
    model.save(path)
    copies = [Model.load(path, devices=d) for d in ("cpu", ("cpu", "cpu"), *places)]
    assert [m.config.precision for m in copies] == ["float32", "float32", "bfloat16", "bfloat16"]
    expected = model.forward(IMAGES)
    np.testing.assert_array_equal(copies[2].forward(IMAGES), expected)
    for other in copies:
        assert other.step == 3
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(other.parameters[name], value)
        assert distance(other.forward(IMAGES), expected) < 0.02
    assert Model.load(path, devices="simt", precision="float32").config.precision == "float32"


def test_a_step_result_waits_only_when_it_is_looked_at() -> None:
    model = tiny16(devices="simt")
    results = [model.train_step(IMAGES, LABELS) for _ in range(3)]
    assert model.towers[0].device._kernels.queue, "the work is still to be done"
    losses = [result.loss for result in results]
    again = tiny16(devices="simt")
    assert losses == [again.train_step(IMAGES, LABELS).loss for _ in range(3)]
    assert 0 <= results[0].correct <= 4
    assert repr(results[0]) == f"StepResult(loss={losses[0]!r}, correct={results[0].correct})"


def test_precisions_that_a_device_lacks_are_named() -> None:
    with pytest.raises(ValueError, match="device 'cpu' offers float32 and float64, not 'bfloat16'"):
        tiny(devices="cpu", precision="bfloat16")
    with pytest.raises(ValueError, match="device 'simt' offers float32, tf32, bfloat16 and float16, not 'float64'"):
        tiny(devices="simt", precision="float64")
    with pytest.raises(ValueError, match="the two towers must live on devices of one kind, got 'cpu' and 'simt'"):
        tiny(devices=("cpu", "simt"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_prediction_allocates_once(precision: str) -> None:
    model = tiny(devices="simt", precision=precision)
    model.forward(IMAGES)
    before = model.towers[0].device.allocations
    for _ in range(2):
        model.forward(IMAGES)
    assert model.towers[0].device.allocations == before


def test_gradients_are_there_only_while_they_are_those_of_the_weights() -> None:
    model = tiny(devices="simt", precision="float16")
    assert not model.gradients
    step(model)
    held = model.gradients
    assert len(held) == 16
    model.forward(IMAGES[:2], train=True)
    model.backward(LABELS[:2])
    np.testing.assert_array_equal(held["fc8.bias"], model.gradients["fc8.bias"])
    model.train_step(IMAGES[:2], LABELS[:2])
    assert not model.gradients
    with pytest.raises(RuntimeError, match="sgd_step needs gradients"):
        model.sgd_step(0.1)
