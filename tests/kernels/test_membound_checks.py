"""LRN, pools, LRN with max-pool and augmentation: what the bindings refuse before anything is launched."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any

import pytest

# `_simt` is always built; `_cuda` not with ALEXNET_CUDA_BUILD=cpu.
MODULES = ["_simt", *(["_cuda"] if importlib.util.find_spec("alexnet_cuda._cuda") else [])]

ADDRESS = 1 << 20  # stands for an address of the module's, and is never read: each call stops before the launch

WINDOW = {"groups": 2, "size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75}
IMAGES = {"images": 2, "height": 7, "width": 6, "channels": 12}
POOL = {**IMAGES, "size": 3, "stride": 2}
FUSED = {**IMAGES, **WINDOW, "pool_size": 3, "pool_stride": 2}
LRN = {"images": 2, "pixels": 42, "channels": 12, **WINDOW}


def pointers(*names: str) -> dict[str, int]:
    return {name: ADDRESS * (i + 1) for i, name in enumerate(names)}


CALLS: dict[str, dict[str, Any]] = {
    "lrn_fprop": {**pointers("x", "y"), **LRN},
    "lrn_bprop": {**pointers("dy", "x", "dx"), **LRN},
    "max_pool_fprop": {**pointers("x", "y", "argmax"), **POOL},
    "max_pool_bprop": {**pointers("dy", "argmax", "dx"), **POOL},
    "avg_pool_fprop": {**pointers("x", "y"), **POOL},
    "avg_pool_bprop": {**pointers("dy", "dx"), **POOL},
    "lrn_max_pool_fprop": {**pointers("x", "y", "argmax"), **FUSED},
    "lrn_max_pool_bprop": {**pointers("dy", "argmax", "x", "dx"), **FUSED},
    "augment": {
        **pointers("images", "top", "left", "mirrored", "shift", "y"),
        "count": 2,
        "height": 9,
        "width": 8,
        "size": 7,
        "channels": 3,
        "mean": [1.0, 2.0, 3.0],
        "std": [4.0, 5.0, 6.0],
        "reverse_channels": False,
    },
}
BYTES = {"argmax", "mirrored"}  # any address is aligned
POINTERS = [
    (op, name)
    for op, call in CALLS.items()
    for name, value in call.items()
    if isinstance(value, int) and value >= ADDRESS
]
OPTIONAL = {("max_pool_fprop", "argmax"), ("lrn_max_pool_fprop", "argmax")}
EXTENTS = ("images", "count", "pixels", "height", "width", "channels", "groups", "size", "stride")
EXTENTS += ("pool_size", "pool_stride")
SIZES = [(op, name) for op, call in CALLS.items() for name in EXTENTS if name in call and call[name] < ADDRESS]


class Extension:
    """An extension, and addresses that it takes for those of tensors."""

    def __init__(self, name: str) -> None:
        self.module = importlib.import_module(f"alexnet_cuda.{name}")
        # The CPU executor takes no address outside of its buffers.
        self.base = self.module.allocate(bytes=8 * ADDRESS, label="never read") + 64 if name == "_simt" else ADDRESS

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def invoke(self, op: str, **changes: Any) -> None:
        arguments = {"dtype": "float32", "stream": 0, **CALLS[op], **changes}
        for name in arguments:
            if (op, name) in POINTERS and isinstance(arguments[name], int) and arguments[name]:
                arguments[name] += self.base - ADDRESS
        getattr(self.module, op)(**arguments)


@pytest.fixture(params=MODULES, scope="module")
def extension(request: pytest.FixtureRequest) -> Extension:
    return Extension(request.param)


@pytest.mark.parametrize(("op", "name"), [p for p in POINTERS if p not in OPTIONAL])
def test_null_pointer_is_named(extension: Extension, op: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is a null pointer; expected the address of [0-9]+ elements"):
        extension.invoke(op, **{name: 0})


@pytest.mark.parametrize(("op", "name"), [p for p in POINTERS if p[1] not in BYTES and p != ("augment", "images")])
def test_misaligned_pointer_is_named(extension: Extension, op: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is at address [0-9]+; expected a multiple of"):
        extension.invoke(op, **{name: ADDRESS + 1})


@pytest.mark.parametrize(("op", "name"), SIZES)
@pytest.mark.parametrize("value", [-1, 2**62])
def test_impossible_size_is_named(extension: Extension, op: str, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} is {value}; expected|^groups is {value}"):
        extension.invoke(op, **{name: value})


@pytest.mark.parametrize("op", CALLS)
def test_unknown_dtype_is_named(extension: Extension, op: str) -> None:
    with pytest.raises(ValueError, match=r'^dtype is "float64"; expected float32, bfloat16 or float16$'):
        extension.invoke(op, dtype="float64")


@pytest.mark.parametrize(("op", "name"), [*SIZES, *POINTERS])
@pytest.mark.parametrize("value", [1.5, None, "1"])
def test_wrong_type_is_a_type_error(extension: Extension, op: str, name: str, value: object) -> None:
    with pytest.raises(TypeError, match=name):
        extension.invoke(op, **{name: value})


LRN_OPS = ("lrn_fprop", "lrn_bprop", "lrn_max_pool_fprop", "lrn_max_pool_bprop")
POOL_OPS = ("max_pool_fprop", "max_pool_bprop", "avg_pool_fprop", "avg_pool_bprop")


@pytest.mark.parametrize(
    ("ops", "changes", "words"),
    [
        (LRN_OPS, {"size": 4}, "size is 4; expected an odd number of channels"),
        (LRN_OPS, {"groups": 5}, "groups is 5; expected a divisor of channels, 12"),
        (LRN_OPS, {"k": 0.0}, "k is 0.0"),
        (LRN_OPS, {"k": math.nan}, "k is nan"),
        (LRN_OPS, {"k": 1e-39}, "k is 0.0"),
        (LRN_OPS, {"alpha": -1.0}, "alpha is -1.0"),
        (LRN_OPS, {"beta": math.inf}, "beta is inf"),
        (LRN_OPS, {"channels": 4000, "groups": 1, "size": 2051}, "expected a window of at most 2049"),
        (POOL_OPS, {"size": 16, "height": 20, "width": 20}, "size is 16; expected 1 to 15"),
        (POOL_OPS, {"size": 7}, "size is 7; expected at most the input's extent, 7 x 6"),
        (LRN_OPS[2:], {"pool_size": 7}, "pool_size is 7; expected at most the input's extent, 7 x 6"),
        (POOL_OPS, {"height": 2**20, "width": 2**20}, "height [*] width is more than 1073741824"),
        (POOL_OPS, {"images": 2**30, "height": 2**14}, "images is 1073741824, of"),
        (("augment",), {"size": 9}, "size is 9; expected at most the images' extent, 9 x 8"),
        (("augment",), {"channels": 5}, "channels is 5; expected 3 to 4"),
        (("augment",), {"mean": [0.0, math.nan, 0.0]}, "mean is nan"),
        (("augment",), {"std": [1.0, 0.0, 1.0]}, "std is 0.0"),
    ],
    ids=str,
)
def test_value_out_of_range_is_named(
    extension: Extension, ops: tuple[str, ...], changes: dict[str, Any], words: str
) -> None:
    for op in ops:
        with pytest.raises(ValueError, match=words):
            extension.invoke(op, **changes)


@pytest.mark.parametrize(
    ("op", "output", "other"),
    [
        ("lrn_fprop", "y", "x"),
        ("lrn_bprop", "dx", "x"),
        ("lrn_bprop", "dx", "dy"),
        ("max_pool_fprop", "y", "x"),
        ("max_pool_bprop", "dx", "dy"),
        ("avg_pool_fprop", "y", "x"),
        ("avg_pool_bprop", "dx", "dy"),
        ("lrn_max_pool_fprop", "y", "x"),
        ("lrn_max_pool_bprop", "dx", "x"),
        ("lrn_max_pool_bprop", "dx", "dy"),
    ],
)
@pytest.mark.parametrize("distance", [0, 4, -4])
def test_overlap_is_named(extension: Extension, op: str, output: str, other: str, distance: int) -> None:
    with pytest.raises(ValueError, match=f"^{output} overlaps {other}; expected memory of its own"):
        extension.invoke(op, **{output: CALLS[op][other] + distance})


@pytest.mark.parametrize("op", CALLS)
def test_empty_batch_returns_at_once(extension: Extension, op: str) -> None:
    nothing = {name: 0 for call, name in POINTERS if call == op}
    extension.invoke(op, **{**nothing, "count" if op == "augment" else "images": 0})
