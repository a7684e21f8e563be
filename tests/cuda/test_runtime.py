"""Operations on CuPy arrays outside a model: where they run, and what is refused before anything is launched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import pytest

from alexnet_cuda import ops
from alexnet_cuda.backends.cuda.runtime import extension

from .standin import Driver, Stream
from .test_model import on_gpu

Install = Callable[..., Driver]


def test_kernels_go_to_the_current_stream(install_driver):
    driver = install_driver()
    x = on_gpu(np.array([-1, 2, 3], np.float32))
    stream = Stream(non_blocking=True)
    with stream:
        y = ops.relu.fprop(x)
    assert driver.launches == ["relu_fprop"]
    assert len(stream.queue.queue) == 1
    stream.synchronize()
    assert isinstance(y, cupy.ndarray)
    assert (y.shape, y.dtype) == ((3,), np.float32)


def test_an_array_of_another_device_is_named(install_driver):
    driver = install_driver()
    x, y = (on_gpu(np.zeros(3, np.float32), device) for device in (0, 1))
    with pytest.raises(ValueError, match="y is on cuda:1; expected cuda:0, the current device"):
        ops.relu.fprop(x, out=y)
    with pytest.raises(TypeError, match="relu: all arrays must be of one kind, got cpu and cuda"):
        ops.relu.fprop(x, out=np.zeros(3, np.float32))
    assert not driver.launches


def test_ranges_of_channels_and_empty_batches(install_driver):
    install_driver()
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((2, 5, 6, 8), (4, 3, 3, 16)))
    y = ops.conv2d.fprop(on_gpu(x), on_gpu(weight)[..., 8:16], padding=1)
    Driver.current.stream().synchronize()
    expected = ops.conv2d.fprop(x, weight[..., 8:16], padding=1)
    actual = np.ndarray(y.shape, np.float32, _bytes(y))
    assert np.linalg.norm(actual - expected) < 1e-6 * np.linalg.norm(expected)
    assert ops.conv2d.fprop(on_gpu(x[:0]), on_gpu(weight)[..., 8:16], padding=1).shape == (0, 5, 6, 4)


def _bytes(array: Any) -> Any:
    import ctypes

    return (ctypes.c_char * array.nbytes).from_address(array.data.ptr)


def test_missing_extension_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "alexnet_cuda._cuda", None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has no CUDA kernels; see `alexnet-cuda doctor`"):
        extension()
