"""What a binding says of a tensor that it cannot take: the checks of ``csrc/bindings/tensor.h``, all by one binding."""

from __future__ import annotations

from typing import Any

import pytest

from alexnet_cuda import _simt
from alexnet_cuda.backends.kernels._runtime import Tensor

ADDRESS = 4096  # never read: each call below stops before the launch
CALL = {
    "dy": Tensor("dy", ADDRESS, "float32", (30_000, 5)),
    "dbias": Tensor("dbias", ADDRESS, "float32", (5,)),
    "workspace": Tensor("workspace", ADDRESS, "uint8", (8000,)),
}


@pytest.mark.parametrize(
    ("name", "changes", "error"),
    [
        ("dy", {"address": 0}, "dy is a null pointer; expected the address of 150000 elements"),
        ("dy", {"address": 4100}, "dy is at address 4100; expected a multiple of 16"),
        ("dbias", {"address": 4097}, "dbias is at address 4097; expected a multiple of 4"),
        ("dy", {"address": ADDRESS}, "dy is at address 4096, from which 600000 bytes are not in one buffer"),
        ("dy", {"dtype": "int64"}, "dy is of int64; expected float32, bfloat16 or float16"),
        ("dbias", {"dtype": "bfloat16"}, "dbias is of bfloat16; expected float32"),
        ("dbias", {"shape": (5, 1)}, r"dbias has the shape \[5, 1\]; expected \[5\]"),
        ("dy", {"shape": (2**40, 2**20)}, r"dy has the shape \[\d+, \d+\]; expected at most \d+ elements"),
        ("dy", {"shape": (-1, 5)}, r"dy has the shape \[-1, 5\]; expected at most"),
        ("dy", {"pitch": 8}, "dy has a pitch of 8; expected it dense"),
    ],
)
def test_unfit_tensor_is_named(name: str, changes: dict[str, Any], error: str) -> None:
    # Checks go from one to the next, so the tensor before `dbias` is empty, which needs no memory.
    call = CALL if name == "dy" else CALL | {"dy": Tensor("dy", 0, "float32", (0, 5))}
    with pytest.raises(ValueError, match=f"^{error}"):
        _simt.bias_bprop(**call | {name: call[name]._replace(**changes)}, stream=0)


@pytest.mark.parametrize("value", [None, 4096, "dy", (4096, "float32", (5,)), ("dy", 1.5, "float32", (5,), 0)])
def test_something_else_than_a_tensor_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="dy: Tensor"):
        _simt.bias_bprop(**CALL | {"dy": value}, stream=0)
