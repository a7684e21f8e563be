"""Work recorded as graphs, on the stand-in driver: by models on one GPU and two, and by users, of single operations."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import Model, ops
from alexnet_cuda.backends.cuda.device import CudaDevice
from alexnet_cuda.backends.cuda.graphs import Graphs
from alexnet_cuda.base.params import Views
from alexnet_cuda.network.tower import Tower
from tests.model.tiny import tiny16

from .standin import Capture, Driver, Stream
from .test_model import _memory, on_gpu

Array = npt.NDArray[Any]
Install = Callable[..., Driver]
CudaError = cupy.cuda.runtime.CUDARuntimeError

IMAGES = np.random.default_rng(1).integers(0, 256, (2, 76, 76, 3), dtype=np.uint8)
LABELS = np.array([1, 6])
PAIRS = {"two": ("cuda:0", "cuda:1"), "one twice": ("cuda:1", "cuda:1")}


def two_towers(**options: Any) -> Model:
    return tiny16(devices=("cuda:0", "cuda:1"), **options)


def losses(model: Model, steps: int) -> list[float]:
    results = [model.train_step(IMAGES, LABELS) for _ in range(steps)]  # all queued before the first is waited for
    return [result.loss for result in results]


@pytest.fixture(scope="module")
def expected():
    """Of two towers on the executor: the losses of four steps, and the logits after them."""
    model = tiny16(devices=("simt", "simt"))
    return losses(model, 4), model.forward(IMAGES)


# --- models


@pytest.mark.parametrize(("place", "order"), [("two", 0), ("two", 1), ("two", 4), ("two", 7), ("one twice", 5)])
def test_two_towers_replay_the_executors_bits(install_driver, expected, place, order):
    driver = install_driver(order=order)
    model = tiny16(devices=PAIRS[place])
    assert losses(model, 4) == expected[0]
    (step,) = driver.graphs
    assert step.launches == 3
    assert {stream.queue.copies for stream in step.before} == {False, True}, "the exchanges are part of it"
    assert len(step.before) == 4
    for _ in range(3):
        np.testing.assert_array_equal(model.forward(IMAGES), expected[1])
    _, batch = driver.graphs
    assert batch.launches == 2


def test_a_recorded_pass_allocates_nothing_and_waits_for_nothing(install_driver):
    for devices in ("cuda:0", ("cuda:0", "cuda:1")):
        driver = install_driver()
        model = tiny16(devices=devices)
        for work, waits in (
            (lambda model=model: model.train_step(IMAGES, LABELS), 0),
            (lambda model=model: model.forward(IMAGES), 1),  # for its logits
        ):
            work()
            made, waited, before = driver.allocations, driver.synchronisations, len(driver.graphs)
            work()
            assert len(driver.graphs) == before + 1
            assert (driver.allocations, driver.synchronisations) == (made, waited + waits)
            before = len(driver.launches)
            work()
            assert driver.launches[before:] == ["augment"] * len(model.towers), "the rest is the graph's"


def test_what_is_frozen_is_recorded_as_frozen(install_driver: Install) -> None:
    driver = install_driver(order=2)
    found = []
    for devices in (("cuda:0", "cuda:1"), ("simt", "simt")):
        model = tiny16(devices=devices)
        before = model.parameters["conv2.weight"]
        for _ in range(3):
            model.train_step(IMAGES, LABELS, frozen=["conv1", "conv2"], layer_rates={"fc8": 3})
        np.testing.assert_array_equal(model.parameters["conv2.weight"], before)
        found.append((model.train_step(IMAGES, LABELS).loss, model.parameters["conv2.weight"]))
        assert not np.array_equal(found[-1][1], before), "the next step is another graph's"
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    (step,) = driver.graphs
    assert step.launches == 2


def test_memory_made_anew_on_the_other_device_voids_the_graphs(install_driver, expected):
    driver = install_driver()
    model = two_towers()
    seen = losses(model, 2)
    held = model.towers[1]._buffers.pop("conv2")[0]  # which moves, as by a larger batch
    model.towers[1].device.empty(held.shape, held.dtype)
    del held
    assert seen + losses(model, 2) == expected[0]
    assert [graph.launches for graph in driver.graphs] == [1, 1]


def test_the_stand_in_sees_a_graph_whose_memory_moved(install_driver, monkeypatch):
    install_driver()
    model = tiny16(devices="cuda:0")
    losses(model, 2)
    monkeypatch.setattr(Graphs, "_forget_moved", lambda self: None)
    model.forward(np.concatenate([IMAGES] * 3))
    with pytest.raises(AssertionError, match="memory that was given back"):
        model.train_step(IMAGES, LABELS)


def _launch(before: bool, after: bool) -> Callable[[Graphs, Any], None]:
    def launch(graphs: Any, graph: Any) -> None:
        if before:
            graphs._first.wait(graphs._others[0].record())
        graph.launch(graphs._first.streams[0])
        if after:
            graphs._others[0].wait(graphs._first.record())

    return launch


def _record_without_arrivals(graphs: Graphs, body: Callable[[], None]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tower, "wait", lambda tower, arrival: arrival.array)
        return RECORD(graphs, body)


RECORD = Graphs._record
WITHOUT = {
    "a wait in the graph": ("_record", _record_without_arrivals),
    "the wait before a launch": ("_launch", _launch(before=False, after=True)),
    "the wait after a launch": ("_launch", _launch(before=True, after=False)),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_a_missing_wait_shows(install_driver, monkeypatch, expected, what):
    for broken in (False, True):
        driver = install_driver(order=3)
        if broken:
            monkeypatch.setattr(Graphs, *WITHOUT[what])
        model = two_towers()
        for stream in driver.streams.values():  # what the second tower does outside of graphs comes last, or first
            if stream.device == 1:
                stream.queue.rank = 2.0 if "after" in what else -1.0
        assert (losses(model, 3) == expected[0][:3]) != broken


def test_what_cuda_does_not_record_is_said_once_and_done_without_a_graph(install_driver, monkeypatch, expected, caplog):
    driver = install_driver()
    model = two_towers()
    seen = losses(model, 1)
    with monkeypatch.context() as patch:
        patch.setattr(CudaDevice, "marks", lambda self: [])
        seen += losses(model, 1)
    assert caplog.messages[0].startswith("no CUDA graph: cudaErrorStreamCaptureUnjoined")
    assert not driver.recording()
    assert gc.isenabled()
    assert seen + losses(model, 2) == expected[0]


def test_an_error_in_a_recording_of_two_towers_is_the_one_that_is_seen(install_driver, monkeypatch, expected):
    driver = install_driver()
    model = two_towers()
    seen = losses(model, 1)
    with monkeypatch.context() as patch:
        patch.setattr(model.link, "exchange", lambda name, halves: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            model.train_step(IMAGES, LABELS)
    assert not driver.recording()
    assert seen + losses(model, 3) == expected[0]


def test_copies_by_way_of_the_host_are_not_recorded(install_driver, monkeypatch, expected):
    driver = install_driver()
    monkeypatch.setattr(cupy.cuda.runtime, "deviceCanAccessPeer", lambda device, peer: 0)
    assert losses(two_towers(), 2) == expected[0][:2]
    assert not driver.graphs


def test_of_many_batch_sizes_those_used_last_are_kept(install_driver):
    """A server sees batches of all sizes; training beside it keeps its graph."""
    driver = install_driver()
    device = CudaDevice(0)
    for size in range(20):
        for _ in range(2):
            device.run(("forward", size), lambda: None)
            device.run(("train_step",), lambda: None)
    step = driver.graphs[1]
    assert step.launches == 39
    assert [graph.launches for graph in driver.graphs if graph is not step] == [1] * 20


# --- what users record


@pytest.fixture
def record(install_driver):
    """A function that records by CuPy's own means what another puts on the current stream."""
    install_driver(count=1)
    stream = Stream(non_blocking=True)

    def recorded(work: Callable[[], object]) -> Capture:
        with stream:
            stream.begin_capture()
            try:
                work()
            finally:
                graph = stream.end_capture()
        return graph

    return recorded


def test_a_host_number_in_a_recording_is_refused(record):
    x, weight, gradient, images = (
        on_gpu(np.ones(shape, np.float32)) for shape in ((2, 4), (4, 4), (2, 4), (1, 8, 8, 3))
    )
    mask = ops.dropout.parameters(0.5, seed=1, purpose=2, step=3, row_stride=4)
    sgd = ops.sgd.SgdParams(weight, on_gpu(np.zeros((4, 4), np.float32)), 0.1)
    bias = ops.sgd.SgdParams(gradient, x, np.float32(0.1))
    views = Views(np.zeros(1, int), np.zeros(1, int), np.zeros(1, bool), np.zeros((1, 3), np.float32))
    pixels = on_gpu(np.zeros((1, 9, 9, 3), np.uint8))
    colours: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "channel_order": "RGB"}
    for name, kind, work in (
        ("step", r"uint64 \[1\]", lambda: ops.dropout.apply(x, mask, out=gradient)),
        (
            "dropout.step",
            r"uint64 \[1\]",
            lambda: ops.linear.fprop(x, weight, dropout=mask, activation="relu", out=gradient),
        ),
        ("learning_rate", r"float32 \[1\]", lambda: ops.sgd.update(bias, gradient)),
        ("sgd.learning_rate", r"float32 \[1\]", lambda: ops.linear.wgrad(x, gradient, sgd=sgd, bias=False)),
        ("views.top", r"int64 \[1\]", lambda: ops.augment.fprop(pixels, views, out=images, **colours)),
    ):
        before = len(Driver.current.launches)
        with pytest.raises(
            RuntimeError, match=f"^{name} is on the host while .* pass an array of {kind} in device mem"
        ):
            record(work)
        assert len(Driver.current.launches) == before
        work()  # not recorded it is taken


def test_a_recording_reads_device_memory_at_each_launch(record):
    x, y, step = (
        on_gpu(np.ones((2, 64), np.float32)),
        on_gpu(np.zeros((2, 64), np.float32)),
        on_gpu(np.zeros(1, np.uint64)),
    )
    mask = ops.dropout.parameters(0.5, seed=1, purpose=2, step=step, row_stride=64)
    stream = Driver.current.stream()
    graph = record(lambda: ops.dropout.apply(x, mask, out=y))
    for number in (0, 5):
        there = np.ndarray(1, np.uint64, _memory(step))
        stream.put(lambda there=there, number=number: there.fill(number))
        graph.launch(stream)
        stream.synchronize()
        p = ops.dropout.parameters(0.5, seed=1, purpose=2, step=number, row_stride=64)
        np.testing.assert_array_equal(
            np.ndarray(y.shape, y.dtype, _memory(y)), ops.dropout.apply(np.ones((2, 64), np.float32), p)
        )


def test_a_model_in_anothers_recording_is_refused(record):
    model = tiny16(devices="cuda:0")
    for work in (lambda: model.train_step(IMAGES, LABELS), lambda: model.forward(IMAGES)):
        with pytest.raises(RuntimeError, match="CuPy's current stream is being captured, and what a model does"):
            record(work)
    assert model.step == 0


# --- the stand-in is as strict as CUDA


def _leave_open(driver: Driver, one: Stream, two: Stream) -> None:
    two.wait_event(one.record())
    two.put(lambda: None)


def _merge(driver: Driver, one: Stream, two: Stream) -> None:
    two.begin_capture()
    one.wait_event(two.record())


def _pageable(driver: Driver, one: Stream, two: Stream) -> None:
    target, source = driver.empty(1), np.zeros(1)
    to_device = cupy.cuda.runtime.memcpyHostToDevice
    cupy.cuda.runtime.memcpyAsync(target.data.ptr, source.ctypes.data, 8, to_device, one.ptr)


def _end_of_another(driver: Driver, one: Stream, two: Stream) -> None:
    two.wait_event(one.record())
    two.end_capture()


FORBIDDEN: dict[str, tuple[Callable[[Driver, Stream, Stream], object], str]] = {
    "a stream that is not joined": (_leave_open, "Unjoined"),
    "waiting for work outside": (lambda driver, one, two: one.wait_event(two.record()), "Isolation"),
    "two graphs in one": (_merge, "Merge"),
    "asking an event of the graph": (lambda driver, one, two: one.record().done, "CapturedEvent"),
    "waiting for an event of the graph": (lambda driver, one, two: one.record().synchronize(), "CapturedEvent"),
    "the legacy stream": (lambda driver, one, two: driver.default[0].put(lambda: None), "Implicit"),
    "ending it on another stream": (_end_of_another, "Unmatched"),
    "beginning it again": (lambda driver, one, two: one.begin_capture(), "Unsupported"),
    "waiting for a stream": (lambda driver, one, two: one.synchronize(), "synchronising while a graph is recorded"),
    "asking any event": (lambda driver, one, two: two.record().done, "asking an event while a graph is recorded"),
    "getting memory": (lambda driver, one, two: driver.empty(1 << 20), "allocating while a graph is recorded"),
    "memory that is not pinned": (_pageable, "memory that is not pinned"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_stand_in_refuses_in_a_recording(install_driver, what):
    driver = install_driver()
    one, two = Stream(non_blocking=True), Stream(non_blocking=True)
    work, message = FORBIDDEN[what]
    on_gpu(np.zeros(1))
    one.begin_capture()

    def record() -> None:
        work(driver, one, two)
        one.end_capture()

    with pytest.raises((CudaError, AssertionError), match=message):
        record()
