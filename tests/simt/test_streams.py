"""The executor's streams: what the events forbid never happens, what they allow does, and shows a missing wait."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_cuda.backends.simt import device as devices
from alexnet_cuda.backends.simt.device import SimtDevice
from alexnet_cuda.backends.simt.streams import Scheduler

ORDERS = range(6)


@pytest.fixture(params=ORDERS)
def order(request):
    devices.scheduler.reseed(request.param)
    yield int(request.param)
    devices.scheduler.reseed(0)


def test_a_stream_keeps_its_order_and_events_order_streams():
    for seed in ORDERS:
        scheduler, log = Scheduler(seed), []
        one, two = scheduler.stream(), scheduler.stream(copies=True)
        one.put(lambda log=log: log.append("one, first"))
        event = one.record()
        one.put(lambda log=log: log.append("one, second"))
        two.wait(event)
        two.put(lambda log=log: log.append("two"))
        one.synchronize()
        two.synchronize()
        assert log.index("one, first") < log.index("one, second")
        assert log.index("one, first") < log.index("two")


def test_what_fails_is_told_to_who_rests_on_it_and_nobody_else():
    """Whoever's wait it was that ran it: the work of other models goes on."""
    for seed in ORDERS:
        scheduler, log = Scheduler(seed), []
        failing, resting, other = (scheduler.stream(copies) for copies in (False, True, False))
        failing.put(lambda: 1 // 0)
        event = failing.record()
        resting.put(lambda log=log: log.append("before"))
        resting.wait(event)
        resting.put(lambda log=log: log.append("never"))
        other.put(lambda log=log: log.append("other"))
        other.synchronize()
        first, second = (failing, resting) if seed % 2 else (resting, failing)
        with pytest.raises(ZeroDivisionError):
            first.synchronize()
        second.synchronize()  # it has been told
        with pytest.raises(ZeroDivisionError):
            failing.synchronize(event)  # but what was to be there at the mark is not
        assert sorted(log) == ["before", "other"]
        resting.wait(event)
        resting.put(lambda log=log: log.append("later"))
        resting.synchronize()
        assert log[-1] == "later"


def test_orders_differ_where_nothing_forbids_it():
    seen = set()
    for seed in range(12):
        scheduler, log = Scheduler(seed), []
        kernels, copies = scheduler.stream(), scheduler.stream(copies=True)
        for i in range(3):
            kernels.put(lambda log=log, i=i: log.append(f"kernel {i}"))
            copies.put(lambda log=log, i=i: log.append(f"copy {i}"))
        kernels.synchronize()
        copies.synchronize()
        seen.add(tuple(log))
    kernels_done, copies_done = (tuple(f"{what} {i}" for i in range(3)) for what in ("kernel", "copy"))
    assert kernels_done + copies_done in seen
    assert copies_done + kernels_done in seen
    assert len(seen) > 2


def test_waiting_for_what_nobody_records_is_an_error_and_clears_the_streams():
    scheduler, other = Scheduler(), Scheduler()
    stream = scheduler.stream()
    stream.wait(other.stream().record())
    with pytest.raises(RuntimeError, match="every stream waits for an event that no stream will record"):
        stream.synchronize()
    assert not stream.queue


def _exchange(missing: str) -> float:
    """Two devices: one writes and sends, the other adds to what it got; without the wait that `missing` names."""
    sender, receiver = SimtDevice("a"), SimtDevice("b")
    source, target, result = (d.empty((4,), np.float32) for d in (sender, receiver, receiver))
    ready = sender.record()
    sender.upload(source, np.full(4, 2, np.float32))
    event = sender.send(target, source, [ready if missing == "source" else sender.record()])
    if missing != "arrival":
        receiver.wait(event)
    receiver.copy(result, target)
    value = receiver.download(result)[0]
    sender.upload(source, np.full(4, 3, np.float32))
    sender.download(source)
    return float(value)


def test_an_exchange_with_its_waits_is_right_in_every_order(order):
    assert _exchange("none") == 2.0


@pytest.mark.parametrize("missing", ["source", "arrival"])
def test_an_exchange_without_one_of_them_is_wrong_in_some_order(missing):
    values = []
    for seed in ORDERS:
        devices.scheduler.reseed(seed)
        values.append(_exchange(missing))
    devices.scheduler.reseed(0)
    assert any(value != 2.0 for value in values)  # NaN differs too


def test_an_array_of_another_device_is_named():
    from alexnet_cuda import ops

    one, two = SimtDevice("one"), SimtDevice("two")
    x, y = one.empty((3,), np.float32), two.empty((3,), np.float32)
    with one.active(), pytest.raises(ValueError, match="y is on another device, two; expected this one, one"):
        ops.relu.fprop(x, out=y)


def test_what_numpy_computes_is_no_array_of_the_executor():
    from alexnet_cuda.backends.simt.memory import SimtArray, to_simt

    x = to_simt(np.arange(3, dtype=np.float32))
    assert type(x[1:]) is type(x.reshape(1, 3)) is type(x.view(np.uint8)) is SimtArray
    assert type(x + 1) is type(np.exp(x)) is np.ndarray
    assert type(x.sum()) is np.float32
