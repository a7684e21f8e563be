"""The model on GPUs, by the stand-in driver: the very bits of the CPU executor, graphs, memory, foreign arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import Model
from alexnet_cuda.network.memory import memory_needed
from alexnet_cuda.network.passes import Network
from tests.model.tiny import tiny, tiny16

from .standin import Driver, Stream, default_device

Array = npt.NDArray[Any]
Install = Callable[..., Driver]

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 76, 76, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 6])
PLACES = {
    "one": ("cuda:0", "simt"),
    "two": (("cuda:0", "cuda:1"), ("simt", "simt")),
    "one twice": (("cuda:1", "cuda:1"), ("simt", "simt")),
}


def train(model: Model, steps: int = 3) -> list[tuple[float, int]]:
    results = [model.train_step(IMAGES, LABELS, learning_rate=0.02 / (i + 1)) for i in range(steps)]
    return [(r.loss, r.correct) for r in results]


def on_gpu(values: Array, device: int = 0) -> Any:
    with cupy.cuda.Device(device):
        array = cupy.empty(values.shape, values.dtype)
    # When the user's own stream comes to it, which a model has to wait for.
    there = np.ndarray(values.shape, values.dtype, _memory(array))
    Driver.current.default[device].put(lambda: np.copyto(there, values))
    return array


def _memory(array: Any) -> Any:
    import ctypes

    return (ctypes.c_char * array.nbytes).from_address(array.data.ptr)


@pytest.mark.parametrize(("place", "order"), [("one", 0), ("two", 0), ("two", 1), ("two", 3), ("one twice", 3)])
def test_training_and_prediction_are_the_executors_bits(install_driver, place, order):
    devices, expected = PLACES[place]
    options = {"precision": "bfloat16" if order else "float32"}
    driver = install_driver(order=order)
    here, there = tiny16(devices=devices, **options), tiny16(devices=expected, **options)
    assert here.devices == ((devices,) if isinstance(devices, str) else devices)
    assert train(here) == train(there)
    np.testing.assert_array_equal(here.forward(IMAGES), there.forward(IMAGES))
    for kind in ("parameters", "velocity"):
        for name, value in getattr(there, kind).items():
            np.testing.assert_array_equal(getattr(here, kind)[name], value, err_msg=name)
    assert {"conv2d_fprop", "conv2d_dgrad", "conv2d_wgrad", "lrn_max_pool_bprop"} <= {*driver.launches}
    if place == "two":
        assert driver.peers == {(0, 1), (1, 0)}


def test_gradients_by_hand(install_driver):
    install_driver()
    gradients = []
    for device in ("cuda:0", "simt"):
        model = tiny16(devices=device)
        model.forward(IMAGES, train=True)
        loss = model.backward(LABELS)
        gradients.append((loss, dict(model.gradients)))
        model.sgd_step(0.1)
    assert gradients[0][0] == gradients[1][0]
    for name, value in gradients[1][1].items():
        np.testing.assert_array_equal(gradients[0][1][name], value)


def test_each_kind_of_step_has_its_graph_and_new_memory_voids_it(install_driver):
    driver = install_driver()
    model, reference = tiny16(devices="cuda:0"), tiny16(devices="simt")
    batches = [4, 4, 3, 3, 4]
    for n in batches:
        here, there = (m.train_step(IMAGES[:n], LABELS[:n], momentum=0.9) for m in (model, reference))
        assert here.loss == there.loss
    assert [g.launches for g in driver.graphs] == [2, 1]
    many = np.concatenate([IMAGES] * 3)
    np.testing.assert_array_equal(model.forward(many), reference.forward(many))  # larger buffers
    for _ in range(3):
        assert model.train_step(IMAGES, LABELS).loss == reference.train_step(IMAGES, LABELS).loss
    assert len(driver.graphs) == 3, "the old graph's addresses are gone"


def test_without_graphs(install_driver):
    driver = install_driver()
    with_graphs, without = tiny16(devices="cuda:0"), tiny16(devices="cuda:0", cuda_graph=False)
    assert train(with_graphs) == train(without)
    assert len(driver.graphs) == 1


def test_images_on_the_gpu_are_read_where_they_are(install_driver):
    install_driver()
    images, labels = on_gpu(IMAGES), on_gpu(LABELS.astype(np.int64))
    model, reference = (tiny(devices="cuda:0") for _ in range(2))
    for _ in range(3):
        assert model.train_step(images, labels).loss == reference.train_step(IMAGES, LABELS).loss
    np.testing.assert_array_equal(model.forward(images), reference.forward(IMAGES))
    assert "images" not in model.towers[0]._buffers
    prepared = np.random.default_rng(2).standard_normal((3, 67, 67, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.forward(on_gpu(prepared)), reference.forward(prepared))
    assert model.train_step(on_gpu(prepared), labels[:3]).loss == reference.train_step(prepared, LABELS[:3]).loss


@pytest.mark.parametrize("owner", [0, 1])
def test_images_on_one_of_two_gpus(install_driver, owner):
    for order in (0, 3):
        install_driver(order=order)
        model, reference = (tiny16(devices=("cuda:0", "cuda:1")) for _ in range(2))
        images, labels = on_gpu(IMAGES, owner), on_gpu(LABELS.astype(np.int64), owner)
        for _ in range(2):
            assert model.train_step(images, labels).loss == reference.train_step(IMAGES, LABELS).loss


class Tensor:
    """As a torch tensor: DLPack and nothing else; see `test_arrivals.Tensor` for those on a GPU."""

    def __init__(self, array: Any, device: tuple[int, int]) -> None:
        self.array, self.device = array, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__()


def test_dlpack(install_driver):
    install_driver()
    model, reference = tiny16(devices="cuda:0"), tiny16(devices="cuda:0")
    np.testing.assert_array_equal(model.forward(Tensor(IMAGES, (1, 0))), reference.forward(IMAGES))
    with pytest.raises(TypeError, match="on the host or on an NVIDIA GPU, got one on DLPack's device type 10"):
        model.forward(Tensor(IMAGES, (10, 0)))
    with pytest.raises(TypeError, match="images must be on the host or on cuda:0, got an array on"):
        model.forward(on_gpu(IMAGES, 1))


@pytest.mark.parametrize("devices", ["cuda:0", ("cuda:0", "cuda:1"), ("cuda:0", "cuda:0")], ids=str)
def test_arrays_on_the_gpu_may_be_overwritten_at_once(install_driver, devices):
    reference = tiny16(devices="simt" if isinstance(devices, str) else ("simt", "simt"))
    expected = [reference.train_step(IMAGES[::turn].copy(), LABELS[::turn]).loss for turn in (1, -1)]
    for order in (0, 1, 3, 9):
        driver = install_driver(order=order)
        model = tiny16(devices=devices)
        images, labels = on_gpu(IMAGES), on_gpu(LABELS.astype(np.int64))
        driver.default[0].synchronize()
        mine = Stream(non_blocking=True).use()
        results = []
        for _ in range(2):
            results.append(model.train_step(images, labels))
            assert driver.stream() is mine, "the user's choice of a stream stays"
            for array, value in ((images, IMAGES[::-1]), (labels, LABELS[::-1])):
                there = np.ndarray(array.shape, array.dtype, _memory(array))
                mine.put(lambda there=there, value=value: np.copyto(there, value))
        assert [r.loss for r in results] == expected, order


def test_arrays_on_the_gpu_that_are_not_contiguous(install_driver):
    install_driver()
    model = tiny16(devices="cuda:0")
    labels, images = on_gpu(np.stack([LABELS, LABELS[::-1]], axis=1)), on_gpu(IMAGES.transpose(0, 3, 1, 2).copy())
    with pytest.raises(ValueError, match=r"labels on a GPU must be C-contiguous, got strides \(16,\)"):
        model.train_step(IMAGES, labels[:, 0])
    with pytest.raises(ValueError, match="images on a GPU must be C-contiguous, got strides"):
        model.forward(images.transpose(0, 2, 3, 1))
    with pytest.raises(TypeError, match=r"images on a GPU must be of dtype uint8 or .*, got float64"):
        model.forward(on_gpu(np.zeros((1, 67, 67, 3))))


def test_new_memory_for_what_arrives_is_not_the_receivers_own(install_driver, monkeypatch):
    """Larger batches make buffers anew, from memory that the receiver's kernels still work on."""
    monkeypatch.setattr(Network, "_preallocate", lambda *_: None)  # which would make them before the work begins

    def losses(devices: tuple[str, str]) -> list[float]:
        model = tiny16(devices=devices)
        steps = [model.train_step(IMAGES[:n], LABELS[:n]) for n in (2, 4, 4)]
        return [step.loss for step in steps]

    expected = losses(("simt", "simt"))
    for order in (0, 1, 3, 5, 9):
        install_driver(order=order)
        assert losses(("cuda:0", "cuda:1")) == expected, order


def test_an_error_while_recording_is_the_one_that_is_seen(install_driver):
    install_driver()
    model = tiny16(devices="cuda:0")
    model.train_step(IMAGES, LABELS)
    device = model.towers[0].device

    def broken() -> None:
        raise ValueError("what went wrong")

    device.run(("key",), lambda: None)
    with pytest.raises(ValueError, match="what went wrong"):
        device.run(("key",), broken)
    assert np.isfinite(model.train_step(IMAGES, LABELS).loss)


def test_labels_on_the_gpu_must_be_int64(install_driver):
    install_driver()
    model = tiny16(devices="cuda:0")
    with pytest.raises(TypeError, match="labels on a GPU must be of dtype int64, got int32"):
        model.train_step(IMAGES, on_gpu(LABELS.astype(np.int32)))
    assert model.step == 0


def test_arrays_on_a_gpu_are_not_for_a_model_on_the_cpu(install_driver):
    install_driver()
    with pytest.raises(TypeError, match="images must be on the host or on cpu, got an array on"):
        tiny(devices="cpu").forward(on_gpu(IMAGES))


def test_host_arrays_may_be_changed_at_once(install_driver):
    install_driver(order=1)
    model, reference = tiny16(devices="cuda:0"), tiny16(devices="cuda:0")
    images, labels = IMAGES.copy(), LABELS.copy()
    result = model.train_step(images, labels)
    images[...], labels[...] = 0, 3
    assert result.loss == reference.train_step(IMAGES, LABELS).loss


@pytest.mark.parametrize("place", ["one", "two"])
def test_out_of_memory_names_a_batch_that_fits(install_driver, place):
    driver = install_driver()
    model = tiny16(devices=PLACES[place][0])
    train(model, 1)
    driver.limit = max(driver.allocated) + (8 << 20)
    many = np.zeros((512, 76, 76, 3), np.uint8)
    before = dict(model.parameters)
    with pytest.raises(MemoryError, match=r"training on a batch of 512 needs .* MiB on cuda:.*; a batch of \d+ would"):
        model.train_step(many, np.zeros(512, int))
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    large = np.zeros((8, 900, 900, 3), np.uint8)  # of which the images themselves take most
    with pytest.raises(
        MemoryError, match=r"batch of 8 needs [\d.]+ MiB .* there are [\d.]+ MiB .*; a batch of [1-7] would"
    ):
        model.train_step(large, np.zeros(8, int))
    try:
        model.train_step(many, np.zeros(512, int))
    except MemoryError as error:
        fits = int(str(error).split("a batch of ")[-1].split()[0])
    assert 4 < fits < 512
    model.train_step(many[:fits], np.zeros(fits, int)).loss  # noqa: B018
    assert model.step == 2


def test_a_step_that_does_not_fit_changes_nothing(install_driver):
    """However far it would come: the weights of the last layers are updated long before the first ones' gradients."""
    refused = 0
    for part in (0.6, 0.8, 0.9, 0.95, 0.99, 1.1):
        driver = install_driver(count=1)
        model = tiny16(devices="cuda:0")
        before = dict(model.parameters)
        driver.limit = round(part * memory_needed(Network, model.config, 1, (32, *IMAGES.shape[1:]), "uint8", True))
        try:
            model.train_step(np.concatenate([IMAGES] * 8), np.tile(LABELS, 8))
        except MemoryError:
            refused += 1
            assert model.step == 0
            for name, value in model.parameters.items():
                np.testing.assert_array_equal(value, before[name])
    assert refused == 5


def test_devices_that_are_not_there(install_driver, monkeypatch, caplog):
    driver = install_driver(count=1)
    with pytest.raises(ValueError, match="there is no device 'cuda:1'; this machine has 1 GPU"):
        tiny16(devices="cuda:1")
    assert tiny16(devices="cuda").devices == ("cuda:0",)
    assert default_device("bfloat16") == "cuda:0"
    assert default_device("float64") == "cpu"
    monkeypatch.setattr("alexnet_cuda.backends.devices.runs_as", lambda capability, architectures: "")
    assert default_device("float32") == "cpu"
    assert caplog.messages[0].startswith("cuda:0 stays unused: the kernels are not built for stand-in, sm_90")
    driver.count = 0
    assert default_device("float32") == "cpu"
