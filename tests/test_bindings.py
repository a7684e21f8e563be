"""The extension `_cuda` where no GPU is needed: launch choice, checks before a launch, Philox, no driver."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from alexnet_cuda.backends.cpu.dropout import DropoutParams
from alexnet_cuda.backends.cpu.sgd import SgdParams
from alexnet_cuda.backends.kernels._runtime import Tensor

_cuda = pytest.importorskip(
    "alexnet_cuda._cuda", exc_type=ModuleNotFoundError, reason="built with ALEXNET_CUDA_BUILD=cpu"
)

ADDRESS = 4096  # never read: each call below stops before the launch
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}

DROPOUT = DropoutParams(0.5, seed=1, purpose=2, step=0, start=0, row_stride=5)
SGD = SgdParams(None, None, None)


def tensor(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name, ADDRESS, dtype, shape)


CALLS: dict[str, dict[str, Any]] = {
    "relu_fprop": {name: tensor(name, 3, 5) for name in ("x", "y")},
    "relu_bprop": {name: tensor(name, 3, 5) for name in ("y", "dy", "dx")},
    "dropout_apply": {
        "x": tensor("x", 3, 5),
        "y": tensor("y", 3, 5),
        "step": tensor("step", 1, dtype="uint64"),
        "dropout": DROPOUT,
    },
    "softmax_cross_entropy": {
        **{name: tensor(name, 3, 5) for name in ("logits", "dlogits")},
        "labels": tensor("labels", 3, dtype="int64"),
        "loss": tensor("loss", 3),
        "correct": tensor("correct", 3, dtype="uint8"),
        "first_column": 0,
        "scale": 1.0,
    },
    "copy_columns": {name: tensor(name, 3, 5) for name in ("x", "addend", "y")},
    "sgd": {
        **{name: tensor(name, 3, 5) for name in ("weights", "velocity", "gradient")},
        "copy": tensor("copy", 3, 5, dtype="bfloat16"),
        "learning_rate": tensor("learning_rate", 1),
        "sgd": SGD,
    },
}
OPTIONAL = {("softmax_cross_entropy", "dlogits"), ("sgd", "copy"), ("copy_columns", "addend")}
TENSORS = [(op, name) for op, call in CALLS.items() for name, value in call.items() if isinstance(value, Tensor)]


def invoke(op: str, **changes: Any) -> None:
    """Call with good arguments but for the changes; of a tensor those are its address or fields."""
    call = {**CALLS[op], "stream": 0}
    for name, value in changes.items():
        if isinstance(call.get(name), Tensor) and isinstance(value, int | dict):
            changes[name] = call[name]._replace(**value if isinstance(value, dict) else {"address": value})
    getattr(_cuda, op)(**call | changes)


@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_null_pointer_is_named(op: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is a null pointer; expected the address of [0-9]+ elements"):
        invoke(op, **{name: 0})


@pytest.mark.parametrize(("op", "name"), [tensor for tensor in TENSORS if tensor[1] != "correct"])
def test_misaligned_pointer_is_named(op: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is at address 4097; expected a multiple of"):
        invoke(op, **{name: 4097})


@pytest.mark.parametrize(("op", "name"), TENSORS)
def test_another_shape_or_dtype_is_named(op: str, name: str) -> None:
    """Of any but the first tensor, which the others are measured by; its own dtype is among those offered."""
    with pytest.raises(ValueError, match=f"^{name} is of complex64; expected"):
        invoke(op, **{name: {"dtype": "complex64"}})
    if name not in ("x", "weights", "logits") and (op, name) != ("relu_bprop", "y"):
        with pytest.raises(ValueError, match=rf"^{name} has the shape \[[0-9, ]+\]; expected"):
            invoke(op, **{name: {"shape": (4, 5, 1)}})


@pytest.mark.parametrize(("op", "name"), TENSORS)
@pytest.mark.parametrize("value", [1.5, None, "1"])
def test_wrong_type_is_a_type_error(op: str, name: str, value: object) -> None:
    if value is None and (op, name) in OPTIONAL:
        return
    with pytest.raises(TypeError, match=name):
        invoke(op, **{name: value})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scale": math.inf}, "scale is inf"),
        ({"logits": {"shape": (3, 0)}}, "the columns of logits is 0"),
        ({"first_column": 6}, "first_column is 6"),
        ({"first_column": 1}, "the columns of dlogits is 5"),
        ({"dlogits": {"address": ADDRESS + 4}}, "dlogits overlaps logits"),
        ({"dlogits": {"dtype": "bfloat16"}}, "dlogits overlaps logits"),
    ],
)
def test_softmax_that_does_not_fit_is_named(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=f"^{error}.*expected"):
        invoke("softmax_cross_entropy", **changes)


@pytest.mark.parametrize(
    ("op", "options", "error"),
    [
        ("dropout_apply", {"rate": 1.0}, "rate is 1.0"),
        ("dropout_apply", {"rate": -0.1}, "rate is -0.1"),
        ("dropout_apply", {"rate": math.nan}, "rate is nan"),
        ("dropout_apply", {"start": -1}, "start is -1"),
        ("dropout_apply", {"row_stride": -1}, "row_stride is -1"),
        ("dropout_apply", {"start": 2**34 - 14}, r"start \+ \(rows - 1\) \* row_stride \+ columns is too large"),
        ("dropout_apply", {"row_stride": 2**33}, r"start \+ \(rows - 1\) \* row_stride \+ columns is too large"),
        ("dropout_apply", {"start": 2**34, "row_stride": 0}, r"start \+ .* is too large"),
        ("sgd", {"momentum": -0.1}, "momentum is -0.1"),
        ("sgd", {"weight_decay": math.nan}, "weight_decay is nan"),
        ("sgd", {"rate_factor": 1e39}, "rate_factor is"),
        ("sgd", {"gradient_scale": math.inf}, "gradient_scale is inf"),
    ],
)
def test_option_out_of_range_is_named(op: str, options: dict[str, Any], error: str) -> None:
    name = op.removesuffix("_apply")
    with pytest.raises(ValueError, match=f"^{error}.*expected"):
        invoke(op, **{name: replace(CALLS[op][name], **options)})


@pytest.mark.parametrize(("op", "option"), [("dropout_apply", "dropout"), ("sgd", "sgd")])
def test_option_of_another_type_is_a_type_error(op: str, option: str) -> None:
    with pytest.raises(TypeError, match=r"DropoutParams|SgdParams"):
        invoke(op, **{option: object()})


def test_copy_of_the_master_weights_own_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^copy is of float32 .*; expected bfloat16 or float16, or None"):
        invoke("sgd", copy={"dtype": "float32"})


@pytest.mark.parametrize("op", CALLS)
def test_empty_input_returns_at_once(op: str) -> None:
    own = {n: CALLS[op][n] for o, n in TENSORS if o == op and n not in ("step", "learning_rate")}
    invoke(op, **{n: {"address": 0, "shape": (0, *t.shape[1:])} for n, t in own.items()})


def test_launch_without_a_gpu_is_a_runtime_error_that_says_so() -> None:
    # A process of its own that sees no GPU, so that the addresses are never touched on a machine that has one.
    code = (
        "from alexnet_cuda import _cuda\n"
        "from alexnet_cuda.ops.lrn import parameters\n"
        "x, y = (('x', 4096, 'float32', (1, 1, 1, 5), 0), ('y', 8192, 'float32', (1, 1, 1, 5), 0))\n"
        "try: _cuda.lrn_fprop(window=parameters(5), x=x, y=y, stream=0)\n"
        "except RuntimeError as error: print(error)"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    advice, place = done.stdout.split("launching lrn_fprop_kernel")
    assert "csrc/ops/lrn.cu:" in place
    assert "alexnet-cuda doctor" in advice
    if _cuda.driver_version() == 0:
        assert "this machine has no NVIDIA driver: install driver 580 or newer" in advice


@pytest.mark.parametrize(("dtype", "size"), DTYPES.items())
@pytest.mark.parametrize("count", [0, 1, 3, 8, 9, 255, 256, 257, 2048, 2049, 10**6, 10**9])
@pytest.mark.parametrize("vectors", [True, False])
def test_elementwise_launch_choice(dtype: str, size: int, count: int, vectors: bool) -> None:
    config = _cuda.elementwise_config(count=count, dtype=dtype, vectors=vectors)
    assert config["vector"] == (16 // size if vectors else 1)
    assert config["block"] == 256
    wanted = max(1, -(-count // (config["vector"] * 256)))
    assert config["grid"] == min(wanted, 2112)
    assert config["grid"] * config["block"] >= config["vector"], "the tail needs a thread for each element"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 7, 128, 1001, 128 * 13 * 13, 128 * 55 * 55])
@pytest.mark.parametrize("columns", [0, 1, 5, 8, 10, 96, 100, 256, 1000, 4096, 9216])
def test_bias_gradient_launch_choice(dtype: str, rows: int, columns: int) -> None:
    config = _cuda.bias_bprop_config(rows=rows, columns=columns, dtype=dtype)
    assert columns % config["vector"] == 0
    assert config["block_columns"] * config["block_rows"] == 256
    assert config["block_columns"] & (config["block_columns"] - 1) == 0
    assert config["grid"] * config["block_columns"] * config["vector"] >= columns, "every column"
    assert config["splits"] * config["rows_per_split"] >= rows, "every row"
    assert config["splits"] == 1 or config["splits"] * config["grid"] <= 264
    assert config["workspace_floats"] == (config["splits"] * columns if config["splits"] > 1 else 0)


def test_bias_gradient_of_conv1_fills_the_device() -> None:
    config = _cuda.bias_bprop_config(rows=128 * 55 * 55, columns=96, dtype="bfloat16")
    assert (config["vector"], config["block_columns"], config["grid"], config["splits"]) == (8, 16, 1, 264)


@pytest.mark.parametrize(("classes", "block"), [(1, 32), (10, 32), (128, 32), (129, 64), (1000, 256), (21_841, 256)])
def test_softmax_launch_choice(classes: int, block: int) -> None:
    assert _cuda.softmax_cross_entropy_config(rows=7, classes=classes) == {"block": block, "grid": 7}


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.0, 0), (0.5, 2**31), (0.3, round(0.3 * 2**32)), (1 - 2**-40, 2**32)]
)
def test_dropout_threshold(rate: float, threshold: int) -> None:
    assert _cuda.dropout_threshold(rate=rate) == threshold


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # Random123's kat_vectors, philox4x32 with 10 rounds.
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_agrees_with_the_published_vectors(counter: list[int], key: list[int], expected: list[int]) -> None:
    assert _cuda.philox4x32(counter=counter, key=key) == expected
