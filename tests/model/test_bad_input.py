"""Every wrong input is one clear sentence of a fitting type, and nothing is changed by it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model
from alexnet_cuda.backends.cpu.device import CpuDevice
from alexnet_cuda.backends.simt.device import SimtDevice
from alexnet_cuda.base import parallel
from alexnet_cuda.base.array import DeviceMemoryError
from alexnet_cuda.network.checks import OutputsNotFinite

from ..failing import failing
from .tiny import TINY, tiny

NAN = np.full((1, 67, 67, 3), np.nan, np.float32)
GOOD = np.zeros((2, 67, 67, 3), np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny()


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((67, 67, 3), np.float32), ValueError, "[N, H, W, 3], got [67, 67, 3]"),
        (np.zeros((1, 67, 67, 4), np.float32), ValueError, "[N, H, W, 3], got [1, 67, 67, 4]"),
        (np.zeros((1, 3, 67, 67), np.float32), ValueError, "[N, H, W, 3], got [1, 3, 67, 67]"),
        (np.zeros((1, 66, 67, 3), np.float32), ValueError, "must be 67x67, got 66x67"),
        (np.zeros((1, 66, 90, 3), np.uint8), ValueError, "at least 67x67, got 66x90"),
        (np.zeros((0, 67, 67, 3), np.float32), ValueError, "empty batch"),
        (np.zeros((1, 67, 67, 3), np.int32), TypeError, "uint8 or floating point, got int32"),
        (np.zeros((1, 67, 67, 3), np.complex64), TypeError, "uint8 or floating point, got complex64"),
        (np.concatenate([GOOD, NAN]), ValueError, "image 2 of the batch has NaN"),
        (np.concatenate([np.inf * np.ones_like(NAN), GOOD]), ValueError, "image 0 of the batch has NaN or infinity"),
        ("cat.jpg", TypeError, "uint8 or floating point"),
    ],
)
def test_images(model: Model, images: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        model.forward(images)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([0], ValueError, "shape [2], one an image, got [1]"),
        ([[0, 1]], ValueError, "shape [2], one an image, got [1, 2]"),
        ([0, 7], ValueError, "labels must lie in [0, 7), got 7"),
        ([-1, 0], ValueError, "labels must lie in [0, 7), got -1"),
        ([0.0, 1.0], TypeError, "labels must be integers, got float64"),
    ],
)
def test_labels_are_refused_and_nothing_is_trained(
    model: Model, labels: Any, error: type[Exception], words: str
) -> None:
    before = {name: value.copy() for name, value in model.parameters.items()}
    with pytest.raises(error, match=re.escape(words)):
        model.train_step(GOOD, labels)
    assert model.step == 0
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_calls_out_of_order() -> None:
    model = tiny()
    with pytest.raises(RuntimeError, match=r"backward needs a forward\(images, train=True\)"):
        model.backward([0, 0])
    with pytest.raises(RuntimeError, match="sgd_step needs gradients"):
        model.sgd_step(0.01)
    model.forward(GOOD)
    with pytest.raises(RuntimeError, match="backward needs"):
        model.backward([0, 0])


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ("tpu", "unknown device 'tpu'"),
        (("cpu", "cpu", "cpu"), "devices must be one, or two for the two towers, got 3"),
        ((), "got 0"),
    ],
)
def test_devices(devices: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Model(devices=devices, **TINY)


def test_parameters_of_another_network() -> None:
    model = tiny()
    values = dict(model.parameters)
    with pytest.raises(ValueError, match=re.escape("conv1.weight must have shape [8, 11, 11, 3], got [9, 11, 11, 3]")):
        model.set_parameters({**values, "conv1.weight": np.zeros((9, 11, 11, 3))})
    with pytest.raises(ValueError, match=r"parameters lack 'fc8.bias'"):
        model.set_parameters({n: v for n, v in values.items() if n != "fc8.bias"})
    with pytest.raises(ValueError, match=r"parameters hold 'fc9.bias'"):
        model.set_parameters({**values, "fc9.bias": np.zeros(1)})


def test_views_and_top(model: Model) -> None:
    with pytest.raises(ValueError, match="views must be 1 or 10, got 3"):
        model.probabilities(GOOD, views=3)
    with pytest.raises(TypeError, match="ten views need uint8 images"):
        model.probabilities(GOOD, views=10)
    with pytest.raises(ValueError, match="top must be positive, got 0"):
        model.predict(GOOD, top=0)
    with pytest.raises(TypeError, match=r"top must be an integer, got 2\.5"):
        model.predict(GOOD, top=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", "simt"])
@pytest.mark.parametrize("name", ["conv3.weight", "fc8.bias"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_is_not_finite_is_neither_an_answer_nor_saved(
    tmp_path: Path, device: str, name: str, value: float
) -> None:
    """A bias of minus infinity gives a probability of zero, which looks like others."""
    model, path = tiny(devices=device), tmp_path / "model.safetensors"
    model.save(path)
    before = path.read_bytes()
    parameters = {key: np.array(tensor) for key, tensor in model.parameters.items()}
    parameters[name].flat[3] = value
    model.set_parameters(parameters)
    with np.errstate(invalid="ignore"):
        for call in (model.predict, model.probabilities):
            with pytest.raises(OutputsNotFinite, match=f"not finite for 2 of 2 images, .* {name} holds NaN"):
                call(GOOD)
    with pytest.raises(ValueError, match=rf"{name} holds NaN or infinity: .*model\.safetensors is not written"):
        model.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("names", "error"), [(range(7), TypeError), ("abcdefg", TypeError), (("ant", "bee"), ValueError)]
)
def test_class_names_that_nobody_could_load_are_not_saved(tmp_path: Path, names: Any, error: type[Exception]) -> None:
    model = tiny(devices="cpu")
    model.class_names = names
    with pytest.raises(error, match="class_names"):
        model.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_overflow_name_the_image() -> None:
    model = tiny()
    large = dict.fromkeys(("fc7.weight", "fc8.weight"), np.float32(1e25))
    model.set_parameters({name: tensor * large.get(name, 1) for name, tensor in model.parameters.items()})
    images = np.concatenate([GOOD, np.ones_like(NAN)])
    message = "for 1 of 3 images, number 2 the first: no parameter does, so they or the images are too large"
    with np.errstate(all="ignore"), pytest.raises(OutputsNotFinite, match=message):
        model.predict(images)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tiny().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        Model.load(path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        Model.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("device", ["cpu", "simt"])
@pytest.mark.parametrize(
    ("rates", "error", "words"),
    [
        ({"bias_rate": "2"}, TypeError, "bias_rate must be a number, got '2'"),
        ({"bias_rate": float("nan")}, ValueError, "bias_rate must be finite and not negative, got nan"),
        ({"learning_rate": float("inf")}, ValueError, "learning_rate must be finite and not negative, got inf"),
        ({"learning_rate": -0.1}, ValueError, "learning_rate must be finite and not negative, got -0.1"),
        ({"momentum": 1.0}, ValueError, "momentum must be in [0, 1), got 1.0"),
        ({"weight_decay": True}, TypeError, "weight_decay must be a number, got True"),
    ],
)
def test_rates_are_refused_and_nothing_is_trained(
    device: str, rates: dict[str, Any], error: type[Exception], words: str
) -> None:
    model = tiny(devices=device)
    before = dict(model.parameters)
    with pytest.raises(error, match=re.escape(words)):
        model.train_step(GOOD, [0, 1], **rates)
    model.forward(GOOD, train=True)
    model.backward([0, 1])
    with pytest.raises(error, match=re.escape(words)):
        model.sgd_step(**{"learning_rate": 0.1, **rates})
    assert model.step == 0
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_refused_assignment_changes_nothing() -> None:
    model = tiny()
    values = dict(model.parameters)
    moved = {name: value + 1 for name, value in values.items()}
    for bad in (np.full(7, "x"), np.zeros(7, complex), np.full(7, None)):
        with pytest.raises(TypeError, match=r"fc8\.bias must hold real numbers, got"):
            model.set_parameters({**moved, "fc8.bias": bad})
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, values[name])
    with pytest.raises(ValueError, match=r"velocity lack 'conv1\.weight'"):
        model.set_velocity({})
    assert not model.velocity


@pytest.mark.parametrize("devices", ["cpu", ("cpu", "cpu")], ids=["one", "two"])
def test_no_memory_for_a_workspace_changes_no_parameter(devices: Any) -> None:
    sizes: set[int] = set()
    with failing(parallel, "scratch", MemoryError, lambda name, shape, _: sizes.update(shape)):
        tiny(devices=devices).train_step(GOOD, [0, 1])
    assert len(sizes) > 5
    for size in sizes:
        model = tiny(devices=devices)
        before = dict(model.parameters)
        here = functools.partial(lambda size, _name, shape, _dtype: size in shape, size)
        with failing(parallel, "scratch", MemoryError("too much"), here), pytest.raises(MemoryError, match="too much"):
            model.train_step(GOOD, [0, 1])
        assert model.step == 0
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(("name", "place"), [("empty", CpuDevice), ("main_memory", parallel)])
def test_no_memory_on_the_cpu_is_said_with_the_batch(name: str, place: Any) -> None:
    with pytest.raises(DeviceMemoryError, match="array"):
        CpuDevice().empty((2**62,), np.uint8)
    model = tiny(devices="cpu")
    full = failing(place, name, DeviceMemoryError(), lambda *_: True)
    with full, pytest.raises(MemoryError, match="a forward pass on a batch of 2 needs more memory than the system"):
        model.forward(GOOD)
    assert model.forward(GOOD).shape == (2, 7)


def test_what_a_refused_batch_gave_back_is_preallocated_again() -> None:
    model = tiny(devices="simt")
    tower = model.towers[0]
    device: Any = tower.device
    model.train_step(GOOD, [0, 1])
    before = dict(model.parameters)
    full = failing(
        SimtDevice, "empty", DeviceMemoryError(), lambda d, *_: d is device and "backward1" not in tower._buffers
    )
    with full, pytest.raises(MemoryError, match="training on a batch of 6 needs"):
        model.train_step(np.concatenate([GOOD] * 3), [0, 1] * 3)
    device.memory_limit = device.allocated_bytes  # others took what was given back
    with pytest.raises(MemoryError, match="training on a batch of 2 needs"):
        model.train_step(GOOD, [0, 1])
    assert model.step == 1
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_devices_that_are_no_names() -> None:
    for devices in (0, (0, 1), ("cpu", None)):
        with pytest.raises(TypeError, match="a device is a name such as 'cuda:0', got"):
            tiny(devices=devices)
