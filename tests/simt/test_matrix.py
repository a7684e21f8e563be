"""ldmatrix, mma.sync and the conversions to their types, against NumPy and the lane layouts of the PTX ISA."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from .harness import Executor, unwritten

Array = NDArray[Any]

LANES = np.arange(32)
G, T = LANES // 4, LANES % 4
TILES_M, TILES_N = 2, 3  # of mma_kernel
DTYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_ldmatrix(executor: Executor, count: int, transposed: int) -> None:
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


@pytest.mark.parametrize("tile", [0, 1])
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_mma(executor: Executor, precision: str, tile: int) -> None:
    rng = np.random.default_rng(3)
    depth = 8 if precision == "tf32" else 16
    a = rng.standard_normal((TILES_M, 16, depth), np.float32)
    b = rng.standard_normal((TILES_N, depth, 8), np.float32)
    d = rng.standard_normal((TILES_M, TILES_N, 16, 8), np.float32)
    if precision == "tf32":
        # Operands with all bits: the instruction drops the lowest 13.
        left, right = zip(*(_fragments_tf32(a[m % TILES_M], b[m]) for m in range(TILES_N)), strict=True)
        exact_a, exact_b = ((x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(float) for x in (a, b))
        assert (exact_a != a).any()
    else:
        a, b = a.astype(DTYPES[precision]), b.astype(DTYPES[precision])
        left, right = zip(*(_fragments_16(a[m % TILES_M], b[m]) for m in range(TILES_N)), strict=True)
        exact_a, exact_b = a.astype(float), b.astype(float)
    sums = executor.array(np.stack([[_fragments_d(d[m, n]) for n in range(TILES_N)] for m in range(TILES_M)], 0))
    in_lanes = executor.array(np.ascontiguousarray(sums.transpose(2, 0, 1, 3)))
    executor.run(
        f"mma_{precision}",
        executor.array(np.stack(left[:TILES_M], 1)),
        executor.array(np.stack(right, 1)),
        in_lanes,
        scalars=[tile],
    )
    product = np.einsum("mik,nkj->mnij", exact_a, exact_b) + d
    # One rounding of at most half a unit for each of the additions.
    bound = depth * 2.0**-24 * (np.einsum("mik,nkj->mnij", np.abs(exact_a), np.abs(exact_b)) + np.abs(d))
    for m in range(TILES_M):
        for n in range(TILES_N):
            error = np.abs(in_lanes[:, m, n] - _fragments_d(product[m, n]))
            assert (error <= _fragments_d(bound[m, n])).all()


def test_conversions(executor: Executor) -> None:
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


def test_conversions_keep_nan(executor: Executor) -> None:
    x = np.full(32, np.nan, np.float32)
    y = executor.empty((32, 4), np.uint32)
    executor.run("convert", executor.array(x), y)
    assert np.isnan(y[:, 0].view(np.float32)).all()
    assert np.isnan(y[:, 1].astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)).all()
    assert np.isnan(y[:, 2].astype(np.uint16).view(np.float16)).all()
    assert np.isnan(y[:, 3].view(np.float32)).all()
