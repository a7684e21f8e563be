"""Models on GPUs in other threads and processes, by the stand-in driver."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import ops
from alexnet_cuda.backends.cuda import runtime
from tests.model.test_pickle import held
from tests.model.test_threads import SMALL
from tests.model.tiny import tiny, tiny16

from .standin import Driver, default_device
from .test_model import IMAGES, LABELS, on_gpu

Install = Callable[..., Driver]


def in_child(call: Callable[[], Any]) -> str:
    """What a call says in a forked child."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(60)
        try:
            text = repr(call())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.mark.parametrize("devices", ["cuda:0", ("cuda:0", "cuda:1")], ids=str)
def test_a_used_model_goes_on_as_a_pickled_one(install_driver, devices):
    install_driver()
    model = tiny16(devices=devices, **SMALL)
    results = [model.train_step(IMAGES, LABELS) for _ in range(2)]
    data = pickle.dumps((model, results))
    assert len(data) < held(model) + 8192
    twin, copies = pickle.loads(data)
    assert twin.devices == model.devices
    assert [(r.loss, r.correct) for r in copies] == [(r.loss, r.correct) for r in results]
    assert twin.train_step(IMAGES, LABELS).loss == model.train_step(IMAGES, LABELS).loss
    np.testing.assert_array_equal(twin.forward(IMAGES), model.forward(IMAGES))
    with pytest.raises(ValueError, match="read-only"):
        model.parameters["fc8.weight"][...] = 0


def test_a_forked_child_is_told_that_cuda_does_not_work_there(install_driver, monkeypatch, caplog):
    install_driver()
    monkeypatch.setattr(runtime, "_process", None)
    monkeypatch.setattr("alexnet_cuda.backends.devices.runs_as", lambda capability, architectures: "sm_90")
    assert in_child(lambda: tiny16(devices="cuda:0", **SMALL).devices) == "('cuda:0',)"  # its parent has not used it
    model = tiny16(devices="cuda:0", **SMALL)
    result = model.train_step(IMAGES, LABELS)
    images, x = on_gpu(IMAGES), on_gpu(np.ones(3, np.float32))
    calls: list[Callable[[], Any]] = [
        lambda: model.predict(IMAGES),
        lambda: model.predict(images),
        lambda: model.train_step(IMAGES, LABELS),
        lambda: model.parameters["fc8.bias"],
        lambda: result.loss,
        lambda: tiny16(devices="cuda:0", **SMALL),
        lambda: ops.relu.fprop(x),
        lambda: pickle.dumps(model),
    ]
    for call in calls:
        assert in_child(call).startswith(
            "RuntimeError: CUDA does not work in a process that was forked from one that uses it; start processes by"
        )

    def default() -> tuple[str, str]:
        return default_device("float32"), caplog.messages[0][:52]

    assert in_child(default) == "('cpu', 'cuda:0 stays unused: CUDA does not work in a process')"
    assert default_device("float32") == "cuda:0"
    assert in_child(lambda: tiny(devices="cpu", **SMALL).predict(IMAGES)[0].shape) == "(4, 5)"
    np.testing.assert_array_equal(model.predict(IMAGES)[0].shape, (4, 5))
