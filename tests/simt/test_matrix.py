"""ldmatrix, mma.sync and the conversions to their types, against NumPy and the lane layouts of the PTX ISA."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet_cuda import _simt
from tests.ops.tolerance import tensor_core_sum

from .harness import Executor, unwritten

Array = NDArray[Any]

LANES = np.arange(32)
G, T = LANES // 4, LANES % 4
TILES_M, TILES_N = 2, 3  # of mma_kernel
DTYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_ldmatrix(executor, count, transposed):
    x = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    y = executor.empty((32, count, 2), np.uint16)
    executor.run(f"ldmatrix_x{count}", executor.array(x), y, scalars=[transposed, 32])
    matrices = x.transpose(0, 2, 1) if transposed else x
    for i in range(count):
        np.testing.assert_array_equal(y[:, i, 0], matrices[i, G, 2 * T])
        np.testing.assert_array_equal(y[:, i, 1], matrices[i, G, 2 * T + 1])


def _fragments_16(a: Array, b: Array) -> tuple[Array, Array]:
    def pair(matrix: Array, row: Array, k: Array) -> Array:
        bits = matrix.view(np.uint16).astype(np.uint32)
        return np.asarray(bits[row, k] | bits[row, k + 1] << 16)

    left = [pair(a, G, 2 * T), pair(a, G + 8, 2 * T), pair(a, G, 2 * T + 8), pair(a, G + 8, 2 * T + 8)]
    transposed = np.ascontiguousarray(b.T)
    right = [pair(transposed, G, 2 * T), pair(transposed, G, 2 * T + 8)]
    return np.stack(left, 1), np.stack(right, 1)


def _fragments_tf32(a: Array, b: Array) -> tuple[Array, Array]:
    a, b = a.view(np.uint32), b.view(np.uint32)
    return (
        np.stack([a[G, T], a[G + 8, T], a[G, T + 4], a[G + 8, T + 4]], 1),
        np.stack([b[T, G], b[T + 4, G]], 1),
    )


def _fragments_d(d: Array) -> Array:
    return np.stack([d[G, 2 * T], d[G, 2 * T + 1], d[G + 8, 2 * T], d[G + 8, 2 * T + 1]], 1)


def _multiply(executor: Executor, a: Array, b: Array, d: Array, tile: int) -> tuple[Array, Array, Array]:
    """d[m, n] + a[m] b[n] by the kernel, and a and b as the instruction sees them, in float64."""
    precision = {2: "bf16" if a.dtype == ml_dtypes.bfloat16 else "fp16", 4: "tf32"}[a.itemsize]
    if precision == "tf32":
        # Operands with all bits: the instruction drops the lowest 13.
        fragments, exact = (
            _fragments_tf32,
            [(x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for x in (a, b)],
        )
        assert (exact[0] != a).any()
    else:
        fragments, exact = _fragments_16, [a, b]
    left, right = zip(*(fragments(a[m % TILES_M], b[m]) for m in range(TILES_N)), strict=True)
    sums = np.stack([[_fragments_d(d[m, n]) for n in range(TILES_N)] for m in range(TILES_M)], 0)
    in_lanes = executor.array(np.ascontiguousarray(sums.transpose(2, 0, 1, 3)))
    left, right = np.stack(left[:TILES_M], 1), np.stack(right, 1)
    executor.run(f"mma_{precision}", executor.array(left), executor.array(right), in_lanes, scalars=[tile])
    result = np.empty_like(d)
    for m, n in np.ndindex(TILES_M, TILES_N):
        result[m, n, G, 2 * T], result[m, n, G, 2 * T + 1] = in_lanes[:, m, n, 0], in_lanes[:, m, n, 1]
        result[m, n, G + 8, 2 * T], result[m, n, G + 8, 2 * T + 1] = in_lanes[:, m, n, 2], in_lanes[:, m, n, 3]
    return result, exact[0].astype(float), exact[1].astype(float)


def _operands(precision: str) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(3)
    depth = 8 if precision == "tf32" else 16
    a = rng.standard_normal((TILES_M, 16, depth), np.float32)
    b = rng.standard_normal((TILES_N, depth, 8), np.float32)
    dtype = DTYPES.get(precision, np.float32)
    return a.astype(dtype), b.astype(dtype), rng.standard_normal((TILES_M, TILES_N, 16, 8), np.float32)


@pytest.mark.parametrize("tile", [0, 1])
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_mma(executor, precision, tile):
    executor.mma_sums("exact")
    a, b, d = _operands(precision)
    result, a, b = _multiply(executor, a, b, d, tile)
    product = np.einsum("mik,nkj->mnij", a, b) + d
    # One rounding of at most half a unit for each of the additions.
    bound = a.shape[-1] * 2.0**-24 * (np.einsum("mik,nkj->mnij", np.abs(a), np.abs(b)) + np.abs(d))
    assert (np.abs(result - product) <= bound).all()


@pytest.mark.parametrize("tile", [0, 1])
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_mma_cuts_sums_off_as_published(executor, precision, tile):
    a, b, d = _operands(precision)
    # Terms of many sizes, sums that vanish, rows of zeros, and what is no number, which stays where it is.
    a[0] = (a[0].astype(float) * np.exp2(np.random.default_rng(4).integers(-9, 4, a[0].shape))).astype(a.dtype)
    a[1, 0], d[1, :, 0] = 0, 0
    a[1, 1, 8:], b[:, 8:] = -a[1, 1, : a.shape[2] - 8], b[:, : b.shape[1] - 8]
    a[1, 2, 3], d[1, 1, 3, 4], d[1, 1, 4, 4] = np.inf, np.nan, -np.inf
    executor.mma_sums("truncated")
    result, a, b = _multiply(executor, a, b, d, tile)
    expected, step = d.astype(float), a.shape[-1] // 2
    with np.errstate(invalid="ignore"):
        for k in (0, step):
            products = np.einsum("mik,nkj->kmnij", a[..., k : k + step], b[:, k : k + step])
            expected = tensor_core_sum(expected, products)
        finite = np.isfinite(expected)
        assert np.isnan(result[1, 1, 3, 4])
        assert result[1, 1, 4, 4] == -np.inf
        assert (result[1, :, 2] == np.where(b[:, 3] > 0, np.inf, -np.inf)).all()
    np.testing.assert_array_equal(result[finite], expected[finite])
    assert finite.sum() == finite.size - TILES_N * 8 - 2
    assert not result[1, :, 0].any()


def test_what_mma_can_be_asked_for():
    command = [sys.executable, "-c", "from alexnet_cuda import _simt; _simt.mma_sums()"]
    environment = {**os.environ, "ALEXNET_CUDA_SIMT_MMA": "rounded"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert 'ALEXNET_CUDA_SIMT_MMA is "rounded"; expected exact or truncated' in done.stderr
    before = _simt.mma_sums()
    with pytest.raises(ValueError, match=r'^value is "rounded"; expected exact or truncated'):
        _simt.set_mma_sums(value="rounded")
    assert _simt.mma_sums() == before in ("exact", "truncated")


def test_conversions(executor):
    rng = np.random.default_rng(4)
    exponents = np.exp2(rng.integers(-30, 18, 4096)).astype(np.float32)
    special = [0.0, -0.0, np.inf, -np.inf, 65504, 65519.99, 65520, 1e-8, 2.0**-24, 2.0**-25, 3 * 2.0**-25, 6.1e-5, 3e38]
    halfway = np.float32(1) + np.arange(19, dtype=np.float32) * np.float32(2.0**-12)
    x = np.concatenate([rng.standard_normal(4096, np.float32) * exponents, np.array(special, np.float32), halfway])
    x = np.resize(x, -(-x.size // 64) * 64).astype(np.float32)
    y = executor.empty((x.size, 4), np.uint32)
    executor.run("convert", executor.array(x), y, grid=x.size // 64, block=64)
    assert unwritten(y) == 0
    bits = x.view(np.uint32)
    tf32 = np.where(np.isinf(x), bits, (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000))
    np.testing.assert_array_equal(y[:, 0], tf32)
    np.testing.assert_array_equal(y[:, 1], x.astype(ml_dtypes.bfloat16).view(np.uint16))
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    np.testing.assert_array_equal(y[:, 2], half.view(np.uint16))
    np.testing.assert_array_equal(y[:, 3].view(np.float32), half.astype(np.float32))


def test_conversions_keep_nan(executor):
    # One that NumPy makes, one that a GPU makes, a negative one, one whose last bit alone says that it is none.
    bits = np.array([0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32)
    x = np.resize(bits, 32).view(np.float32)
    y = executor.empty((32, 4), np.uint32)
    executor.run("convert", executor.array(x), y)
    assert np.isnan(y[:, 0].view(np.float32)).all()
    assert np.isnan(y[:, 1].astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)).all()
    assert np.isnan(y[:, 2].astype(np.uint16).view(np.float16)).all()
    assert np.isnan(y[:, 3].view(np.float32)).all()
