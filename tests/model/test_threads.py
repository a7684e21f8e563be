"""One model and several threads: each gets what it would get alone, and one at a time may train."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import Model
from alexnet_cuda.base.locks import ForkLock, Level

from .tiny import Array, batch, tiny

SMALL = {"conv_widths": (4, 4, 4, 4, 4), "fc_widths": (8, 8), "lrn": False}
PLACES = ("cpu", ("cpu", "cpu"), "simt")
# Long enough for what another thread wrongly begins to be done; where it waits as it should, a test takes so long.
HEAD_START = 0.15


def images_and_labels(model: Model, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (2, 76, 76, 3), dtype=np.uint8), rng.integers(0, model.config.num_classes, 2)


def in_the_midst(
    model: Model, monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any], other: Callable[[], Any]
) -> Any:
    """The results of `call` and of `other`, which another thread begins in the midst of it, its images just loaded."""
    load, begun = model._inputs.load, threading.Event()
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(other()))

    def loaded(*args: Any, **kwargs: Any) -> Any:
        halves = load(*args, **kwargs)
        if not begun.is_set():
            begun.set()
            thread.start()
            thread.join(HEAD_START)
        return halves

    monkeypatch.setattr(model._inputs, "load", loaded)
    result = call()
    assert begun.is_set()
    thread.join(60)
    monkeypatch.undo()
    (second,) = results
    return result, second


@pytest.mark.parametrize("devices", PLACES, ids=str)
def test_predictions_of_two_threads_are_those_of_one(devices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(devices=devices, **SMALL)
    (one, _), (two, _) = (images_and_labels(model, seed) for seed in (1, 2))
    expected = model.probabilities(one), model.forward(two)
    kept = [array.copy() for array in expected]
    actual = in_the_midst(model, monkeypatch, lambda: model.probabilities(one), lambda: model.forward(two))
    for array, other, before in zip(actual, expected, kept, strict=True):
        np.testing.assert_array_equal(array, other)
        np.testing.assert_array_equal(other, before)  # what was handed out is no buffer


@pytest.mark.parametrize("devices", PLACES, ids=str)
def test_what_others_see_while_one_trains_is_whole(
    devices: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, file = tiny(devices=devices, **SMALL), tmp_path / "model.safetensors"
    images, labels = images_and_labels(model, 1)

    def others() -> Any:
        model.save(file)
        return model.probabilities(images), dict(model.parameters), dict(model.velocity), pickle.dumps(model)

    # The first step of a device may be gone through twice; the one in question is the second.
    model.train_step(images, labels)
    _, seen = in_the_midst(model, monkeypatch, lambda: model.train_step(images, labels), others)
    probabilities, parameters, velocity, pickled = seen
    np.testing.assert_array_equal(probabilities, model.probabilities(images))
    for copy in (pickle.loads(pickled), Model.load(file, devices=devices)):
        assert copy.step == 2
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(copy.parameters[name], value)
            np.testing.assert_array_equal(parameters[name], value)
            np.testing.assert_array_equal(velocity[name], model.velocity[name])


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(RuntimeError) as caught:
        call()
    return str(caught.value)


def test_two_threads_cannot_train_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, alone = tiny(**SMALL), tiny(**SMALL)
    images, labels = images_and_labels(model, 1)
    expected = alone.train_step(images, labels).loss

    def step() -> Any:
        return model.train_step(images, labels)

    def others() -> list[str]:
        return [refused(step), refused(lambda: model.backward(labels)), refused(lambda: model.sgd_step(0.1))]

    result, texts = in_the_midst(model, monkeypatch, step, others)
    assert len(texts) == 3
    for text in texts:
        assert "in the midst of a training step: it can be trained by one thread at a time" in text
    assert (result.loss, model.step) == (expected, 1)
    for name, value in alone.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], value)


def test_two_threads_cannot_both_wait_to_train() -> None:
    model = tiny(**SMALL)
    images, labels = batch(model)

    def step() -> Any:
        return model.train_step(images, labels)

    with ThreadPoolExecutor(2) as pool:
        with model._turns.take("predict"):
            first = pool.submit(step)
            while not model._turns._trainers:
                time.sleep(0.001)
            text = pool.submit(refused, step).result(timeout=60)
        first.result(timeout=60)
    assert "it can be trained by one thread at a time" in text
    assert model.step == 1
    model.train_step(images, labels)  # who came in vain is forgotten


def test_a_step_in_three_calls_belongs_to_one_thread() -> None:
    model = tiny(**SMALL)
    images, labels = batch(model)
    with ThreadPoolExecutor(1) as pool:

        def elsewhere(call: Callable[[], Any]) -> Any:
            return pool.submit(call).result(timeout=60)

        model.forward(images, train=True)
        elsewhere(lambda: model.forward(images, train=True))
        assert "another thread's training step" in refused(lambda: model.backward(labels))
        elsewhere(lambda: model.backward(labels))
        assert "another thread's training step" in refused(lambda: model.sgd_step(0.1))
        model.forward(images, train=True)
        elsewhere(lambda: model.predict(images))
        assert "loses it to what any thread computes" in refused(lambda: model.backward(labels))
        model.forward(images, train=True)
        model.backward(labels)
        elsewhere(lambda: model.predict(images))
        model.sgd_step(0.1)
        assert model.step == 1


def test_a_call_within_a_call_is_refused_and_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a handler of signals, which runs in the thread that it interrupts."""
    model = tiny(**SMALL)
    images, labels = images_and_labels(model, 1)
    expected, parameters = model.probabilities(images), dict(model.parameters)
    texts: list[str] = []
    load = model._inputs.load

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        halves = load(*args, **kwargs)
        for call in (
            lambda: model.predict(images),
            lambda: model.parameters["conv1.bias"],
            lambda: model.set_parameters(parameters),
        ):
            texts.append(refused(call))
        return halves

    monkeypatch.setattr(model._inputs, "load", interrupted)
    np.testing.assert_array_equal(model.probabilities(images), expected)
    model.train_step(images, labels)
    expected_texts = [
        f"this thread is in the midst of a call to {outer} and cannot {inner} within it"
        for outer in ("predict", "train")
        for inner in ("predict", "read", "write")
    ]
    assert list(dict.fromkeys(texts)) == expected_texts  # a step of new shapes is gone through once before


@pytest.mark.parametrize("devices", ["cpu", "simt"])
def test_models_of_two_threads_train_as_each_alone(devices: str) -> None:
    """They share the pool of threads, the limit of BLAS, the executor."""
    together = threading.Barrier(2)

    def losses(seed: int, wait: bool) -> list[float]:
        model = tiny(devices=devices, seed=seed, **SMALL)
        images, labels = images_and_labels(model, seed)
        if wait:
            together.wait(60)
        return [model.train_step(images, labels).loss for _ in range(3)]

    expected = [losses(seed, False) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(losses, seed, True) for seed in (1, 2)]
        assert [future.result(timeout=60) for future in running] == expected


def test_a_handler_of_signals_may_read_while_its_thread_waits_for_its_turn() -> None:
    """The thread that waits is next in turn; a handler that runs in it may take the same lock."""
    lock = ForkLock(Level.MODEL)
    with lock._next:  # as a thread that waits holds it
        assert lock._next.acquire(blocking=False), "a handler in the same thread would wait for itself"
        lock._next.release()
