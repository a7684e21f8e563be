"""How batches come to a GPU, by the stand-in driver: beside the kernels, by a thread, after streams of others."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import Model
from alexnet_cuda.backends.cuda.device import CudaDevice
from alexnet_cuda.backends.simt import device as simt
from alexnet_cuda.network import inputs
from tests.model.tiny import tiny, tiny16

from .standin import Driver, Event, Stream
from .test_model import IMAGES, LABELS

Array = npt.NDArray[Any]
Install = Callable[..., Driver]

FLOATS = np.random.default_rng(3).standard_normal((4, 67, 67, 3))


def test_the_next_images_arrive_beside_the_kernels(install_driver):
    driver = install_driver(order=1)  # which copies what it may
    model = tiny16(devices="cuda:0")
    for _ in range(2):
        model.train_step(IMAGES, LABELS).loss  # noqa: B018
    done, arrived = len(driver.ran), driver.arrived.count(IMAGES.nbytes)
    results = [model.train_step(images, LABELS) for images in (IMAGES, IMAGES[::-1])]
    driver.scheduler.run_until(lambda: driver.arrived.count(IMAGES.nbytes) == arrived + 2)
    assert len(driver.ran) == done, "both batches are there before a kernel of the first step has run"
    assert results[0].loss != results[1].loss


def inputs_of(model: Model, batches: Iterable[Array]) -> list[Array]:
    """What conv1 gets of each batch on the first tower, looked at when all are queued."""
    looks = []
    for images in batches:
        x = model._inputs.load(images, None, 0)
        looks.append([tower.device.fetch(half) for tower, half in zip(model.towers, x, strict=True)])
    return [np.array(look()) for each in looks for look in each]


def changing_batches(kind: str, sizes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(4)
    if kind == "uint8":
        return [rng.integers(0, 256, (n, 76, 76, 3), dtype=np.uint8) for n in sizes]
    return [rng.standard_normal((n, 67, 67, 3)) for n in sizes]


@pytest.mark.parametrize("device", ["cuda:0", "simt", ("cuda:0", "cuda:1")])
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_images_arrive_neither_early_nor_late(install_driver, kind, device):
    """Batches grow, so that arrays are made anew of memory that kernels still work on, and shrink."""
    batches = changing_batches(kind, (2, 2, 4, 5, 16, 3, 3))
    install_driver()
    expected = [x for images in batches for x in inputs_of(tiny16(devices=device), [images])]
    for order in (0, 1, 2, 3, 5):
        install_driver(order=order)
        simt.scheduler.reseed(order)
        for actual, right in zip(inputs_of(tiny16(devices=device), batches), expected, strict=True):
            np.testing.assert_array_equal(actual, right, err_msg=f"order {order}")
    simt.scheduler.reseed(0)


@pytest.mark.parametrize("missing", ["arrival", "read"])
def test_without_one_of_the_waits_some_order_is_wrong(install_driver, monkeypatch, missing):
    batches, bring = changing_batches("uint8", (2, 2, 2, 2)), CudaDevice.bring
    install_driver()
    right = inputs_of(tiny16(devices="cuda:0"), batches)
    if missing == "arrival":
        monkeypatch.setattr(CudaDevice, "wait", lambda self, event: None)
    else:
        monkeypatch.setattr(CudaDevice, "bring", lambda self, target, host, after: bring(self, target, host, Event()))
    wrong = 0
    for order in (0, 1):
        install_driver(order=order)
        wrong += not np.array_equal(inputs_of(tiny16(devices="cuda:0"), batches), right)
    assert wrong == 1


def test_few_batches_are_under_way_at_once(install_driver):
    driver = install_driver()
    model = tiny16(devices="cuda:0")
    for _ in range(30):
        model._inputs.load(IMAGES, None, 0)
    assert sum(size == IMAGES.nbytes for size in driver.pinned.values()) <= 9


@pytest.mark.parametrize("device", ["cuda:0", ("cuda:0", "cuda:1")])
@pytest.mark.parametrize("images", [IMAGES, FLOATS], ids=["uint8", "float64"])
def test_prefetch_stages_in_a_thread_of_its_own_and_changes_no_bit(install_driver, monkeypatch, images, device):
    install_driver(order=1)
    fill, threads = inputs._fill, []

    def where(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        time.sleep(0.01)  # in which the next batch would come into the same array
        return fill(*arguments)

    def batches() -> Iterator[tuple[Array, Array, int]]:
        reused = np.empty_like(images)
        for turn in range(3):
            reused[...] = np.roll(images, turn, axis=0)
            yield reused, LABELS, turn

    monkeypatch.setattr(inputs, "_fill", where)
    model, turns = tiny16(devices=device), []

    def staged() -> Iterator[Array]:
        for batch, labels, turn in model.prefetch(batches()):
            assert labels is LABELS
            assert not batch.flags.writeable
            turns.append(turn)
            yield batch

    actual = inputs_of(model, staged())
    assert turns == [0, 1, 2]
    assert {thread.name.rstrip("_0") for thread in threads} == {"alexnet-cuda-staging"}
    assert len(threads) == 3, "each batch is copied once, for two towers too"
    assert not any(thread.is_alive() for thread in threads)
    expected = inputs_of(model, [np.roll(images, turn, axis=0) for turn in range(3)])
    np.testing.assert_array_equal(actual, expected)


def test_what_is_made_of_staged_images_is_looked_at_anew(install_driver):
    install_driver()
    model = tiny16(devices="cuda:0")
    ((staged,),) = model.prefetch([(FLOATS,)])
    with pytest.raises(ValueError, match="images must be finite; image 0 of the batch has NaN or infinity"):
        model.forward(staged * np.nan)


def test_what_is_wrong_with_a_batch_is_said_when_it_comes_up(install_driver):
    install_driver()
    model = tiny16(devices="cuda:0")
    bad = FLOATS.copy()
    bad[2, 5, 6, 1] = np.nan
    ready = model.prefetch([(FLOATS, LABELS), (bad, LABELS)])
    next(ready)
    with pytest.raises(ValueError, match="images must be finite; image 2 of the batch has NaN or infinity"):
        next(ready)
    with pytest.raises(OSError, match="the disk is gone"):
        list(model.prefetch(_broken()))
    assert not [thread for thread in threading.enumerate() if "staging" in thread.name]


def _broken() -> Iterator[tuple[Array, Array]]:
    yield FLOATS, LABELS
    raise OSError("the disk is gone")


@pytest.mark.parametrize("device", ["cpu", "simt"])
def test_no_thread_where_there_is_no_gpu(device):
    before = threading.active_count()
    for images, _ in tiny(devices=device).prefetch([(IMAGES, LABELS)] * 2):
        assert images is IMAGES
        assert threading.active_count() == before


class Tensor:
    """As a tensor of PyTorch on a GPU: DLPack and nothing else, and a current stream of which CuPy knows nothing."""

    def __init__(self, values: Array, device: int = 0) -> None:
        self.device = device
        with cupy.cuda.Device(device):
            self.stream, self.memory = Stream(non_blocking=True), cupy.empty(values.shape, values.dtype)
        self.stream.queue.copies = True  # put off in order 0, so long as nothing waits for it
        raw = (ctypes.c_char * values.nbytes).from_address(self.memory.data.ptr)
        self.there = np.ndarray(values.shape, values.dtype, raw)
        self.stream.put(lambda: np.copyto(self.there, values))
        self.told: list[int] = []

    def overwrite(self) -> None:
        """By its owner, on a stream that nobody else has to do with."""
        for work in self.stream.queue.queue:
            if work.do is not None:
                work.do()
        self.there[...] = 0
        self.stream.put(lambda: self.there.fill(0))

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self.device)

    def __dlpack__(self, *, stream: int, max_version: tuple[int, int] | None = None) -> Any:
        assert Driver.current.device == self.device, "as PyTorch demands"
        if stream == 2:
            raise BufferError("per-thread default stream is not supported")
        self.told.append(stream)
        Driver.current.streams[stream].wait_event(self.stream.record())
        capsule = self.there.__dlpack__(max_version=max_version)
        # Of NumPy it says that it is on the host: DLTensor begins with the address, then the device.
        get, name, start = ctypes.pythonapi.PyCapsule_GetPointer, b"dltensor", 0
        if max_version is not None:
            name, start = b"dltensor_versioned", 32
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        (ctypes.c_int32 * 2).from_address(get(capsule, name) + start + 8)[:] = self.__dlpack_device__()
        return capsule


class OldTensor(Tensor):
    """Of a producer from before DLPack 1.0."""

    def __dlpack__(self, *, stream: int) -> Any:  # type: ignore[override]
        return super().__dlpack__(stream=stream)


class ReadOnlyTensor(Tensor):
    """Which without versions DLPack could not say."""

    def __init__(self, values: Array, device: int = 0) -> None:
        super().__init__(values, device)
        self.there = self.there.view()
        self.stream.synchronize()
        self.there.flags.writeable = False


@pytest.fixture(scope="module")
def losses():
    """Of steps on the images, then on them in reverse."""
    model = tiny16(devices="simt")
    return tuple(model.train_step(IMAGES[::turn], LABELS[::turn]).loss for turn in (1, -1))


@pytest.mark.parametrize("owner", [0, 1])
def test_tensors_of_another_stream_are_read_in_its_order_and_are_free_on_return(install_driver, losses, owner):
    for order in (0, 1, 3):
        install_driver(order=order)
        model = tiny16(devices=f"cuda:{owner}")
        results = []
        for turn in (1, -1):
            images, labels = Tensor(IMAGES[::turn], owner), Tensor(LABELS[::turn], owner)
            results.append(model.train_step(images, labels))
            images.overwrite()
            labels.overwrite()
        assert tuple(result.loss for result in results) == losses, order


def test_a_tensor_for_two_towers_is_free_on_return(install_driver):
    for order in (0, 1, 3):
        install_driver(order=order)
        model, reference = (tiny16(devices=("cuda:0", "cuda:1")) for _ in range(2))
        images, labels = Tensor(IMAGES, 1), Tensor(LABELS, 0)
        result = model.train_step(images, labels)
        images.overwrite()
        labels.overwrite()
        assert result.loss == reference.train_step(IMAGES, LABELS).loss, order


@pytest.mark.parametrize("kind", [Tensor, OldTensor, ReadOnlyTensor])
def test_each_age_of_dlpack_is_told_a_stream(install_driver, kind):
    driver = install_driver()
    model = tiny16(devices="cuda:0")
    default = driver.default[0]
    expected = model.forward(IMAGES)
    default.ptr = 0  # CUDA's legacy stream, which DLPack calls 1
    driver.streams[1] = default
    tensors = [kind(IMAGES) for _ in range(3)]
    np.testing.assert_array_equal(model.forward(tensors[0]), expected)
    default.ptr = 2  # as CuPy has it with CUPY_CUDA_PER_THREAD_DEFAULT_STREAM
    np.testing.assert_array_equal(model.forward(tensors[1]), expected)
    mine = Stream(non_blocking=True).use()
    np.testing.assert_array_equal(model.forward(tensors[2]), expected)
    (first,), (second,), (third,) = (tensor.told for tensor in tensors)
    assert (first, third) == (1, mine.ptr)
    assert driver.streams[second] not in (default, mine)


def test_what_a_producer_refuses_is_said(install_driver, monkeypatch):
    install_driver()

    def refuse(self: Tensor, **_: Any) -> Any:
        raise BufferError("Can't export tensors that require gradient")

    monkeypatch.setattr(Tensor, "__dlpack__", refuse)
    with pytest.raises(TypeError, match="cannot take the Tensor as an array: Can't export tensors that require grad"):
        tiny16(devices="cuda:0").forward(Tensor(IMAGES))
