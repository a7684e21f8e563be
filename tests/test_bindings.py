"""The extension `_cuda` where no GPU is needed: launch choice, Philox, no driver."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_cuda = pytest.importorskip(
    "alexnet_cuda._cuda", exc_type=ModuleNotFoundError, reason="built with ALEXNET_CUDA_BUILD=cpu"
)

DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}


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
