"""Kernels on a GPU's tensors, by the stand-in driver of tests/cuda: PyTorch's stream and memory, and no waiting.

The tensors are the host's, which the executor reads as well; PyTorch itself has no GPU here.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import alexnet_cuda.torch as act
from alexnet_cuda import ops
from alexnet_cuda.backends.cuda.runtime import CudaRuntime
from alexnet_cuda.backends.runtime import Tensor as TensorOf
from alexnet_cuda.backends.simt.memory import to_simt
from alexnet_cuda.torch import arrays, functional, operators
from tests.cuda.conftest import install_driver  # noqa: F401  (a fixture)
from tests.cuda.standin import Driver, Stream

LRN = ops.lrn.parameters(16, alpha=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["conv2d", "linear", "lrn", "max_pool", "lrn_max_pool", "dropout"])
def test_all_goes_to_pytorchs_stream(
    install_driver: Callable[..., Driver],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    dtype: Any,
) -> None:
    shapes: tuple[tuple[int, ...], ...] = ((2, 16, 7, 6),)
    if name == "conv2d":
        shapes, call = (
            (*shapes, (32, 8, 3, 3), (32,)),
            lambda *t: act.conv2d(*t, padding=1, groups=2, activation="relu"),
        )
    elif name == "linear":
        shapes, call = ((3, 40), (24, 40), (24,)), act.linear
    else:
        function, key = getattr(act, name), {"rate": 0.5, "seed": 1, "step": torch.tensor([7])}
        options = key if name == "dropout" else {"p": LRN} if name.startswith("lrn") else {}
        call = lambda x: function(x, **options)  # noqa: E731
    torch.manual_seed(0)
    given = [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]
    expected = gradients(call, given)

    driver = install_driver()
    stream = Stream(non_blocking=True)

    def submit(self: Any, work: Any, kept: Any = ()) -> None:
        """On copies in the executor's memory, at once, as what PyTorch does with the results is not put on a stream."""
        there = {n: t for n, t in work.keywords.items() if isinstance(t, TensorOf) and t.address}
        copies = {n: to_simt(np.frombuffer(memory(t), np.uint8)) for n, t in there.items()}
        moved = {n: t._replace(address=copies[n].ctypes.data) for n, t in there.items()}
        CudaRuntime.submit(self, partial(work, **moved), kept)
        assert stream.queue.queue
        stream.synchronize()
        for name, tensor in there.items():
            ctypes.memmove(tensor.address, copies[name].ctypes.data, copies[name].nbytes)

    monkeypatch.setattr(arrays._TorchRuntime, "submit", submit)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=stream.ptr))
    monkeypatch.setattr(operators, "place", lambda tensor: arrays._on_gpu(tensor.device, 0))
    monkeypatch.setattr(functional, "_computed", lambda x: x.dtype)  # as on a GPU
    found = gradients(call, given)
    assert driver.launches
    assert driver.allocations == 0, "memory is PyTorch's"
    for actual, right in zip(found, expected, strict=True):
        # Both round 16 bits after each operation, of which there are two in a row, of sums that differ themselves.
        assert actual.dtype == dtype
        assert torch.linalg.vector_norm(actual - right) <= 20 * torch.finfo(dtype).eps * torch.linalg.vector_norm(right)


def memory(tensor: TensorOf) -> ctypes.Array[ctypes.c_char]:
    size = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    return (ctypes.c_char * size).from_address(tensor.address)


def gradients(call: Callable[..., Tensor], given: list[Tensor]) -> list[Tensor]:
    """The result, and the gradients of the sum of its squares."""
    y = call(*given)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), given)]
