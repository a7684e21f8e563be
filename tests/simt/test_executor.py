"""Kernels that are right give right results on the executor, in every order that it runs their threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .harness import unwritten

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "shared"), [("reverse", 0), ("reverse_twice", 4 * 96), ("reverse_warp", 0)])
def test_exchange_through_shared_memory(executor, name, shared, seed):
    executor.seed(seed)
    x = np.arange(5 * 96, dtype=np.float32)
    y = executor.empty(5 * 96)
    executor.run(name, executor.array(x), y, scalars=[0], grid=5, block=96, shared=shared)
    blocks = x.reshape(5, 96)
    expected = {
        "reverse": blocks[:, ::-1],
        "reverse_twice": 3 * blocks[:, ::-1],
        "reverse_warp": blocks.reshape(-1, 32)[:, ::-1],
    }[name]
    np.testing.assert_array_equal(y, expected.ravel())


@pytest.mark.parametrize("block", [1, 31, 33, 1024])
def test_block_sizes_and_grid_dimensions(executor, block):
    x = np.arange(block, dtype=np.float32)
    y = executor.empty(block)
    executor.run("reverse", executor.array(x), y, scalars=[0], block=block)
    np.testing.assert_array_equal(y, x[::-1])


def test_block_votes(executor):
    for positive in (0, 1, 69, 70):
        x = np.zeros(70, np.int32)
        x[:positive] = 1
        y = executor.empty(70, np.int32)
        executor.run("syncthreads_votes", executor.array(x), y, block=70)
        np.testing.assert_array_equal(y, positive * 4 + (positive == 70) * 2 + (positive > 0))


def test_a_barrier_does_not_wait_for_threads_that_left(executor):
    y = executor.empty(64)
    executor.run("divergent_barrier", y, scalars=[2], block=64)
    assert unwritten(y) == 1
    np.testing.assert_array_equal(np.delete(y, 7), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_barrier_opens_when_the_last_thread_missing_leaves(executor, seed):
    executor.seed(seed)
    y = executor.empty(64)
    executor.run("divergent_barrier", y, scalars=[3], block=64)
    assert unwritten(y) == 32
    np.testing.assert_array_equal(y[32:], 1)


def test_orders_are_drawn_from_the_seed(executor):
    executor.threads(1)
    blocks, warps, lanes, steps = [], [], [], []
    for seed in range(64):
        executor.seed(seed)
        turns = []
        for _ in range(2):
            counters, out = executor.array(np.zeros(3, np.int32)), executor.empty((3, 4, 4, 32), np.int32)
            executor.run("order", counters, out, grid=4, block=128)
            turns.append(np.array(out))
        np.testing.assert_array_equal(turns[0], turns[1])
        start, after_barrier, after_warp = turns[0]
        blocks.append(tuple(start.min((1, 2)).argsort()))
        for phase in (start, after_barrier):
            warps.append(tuple(phase[0].min(1).argsort()))
        for phase in (start, after_barrier, after_warp):
            lanes.append(tuple(phase[0, 0].argsort()))
        first, second = start[0, 0].argsort()[:2]
        steps.append((second - first) % 32)
        # A new order after each.
        assert (start[0].argsort() != after_barrier[0].argsort()).any()
        assert (after_barrier[0].argsort() != after_warp[0].argsort()).any()
    # Every warp is first, and last, about as often as another.
    for place in (0, -1):
        counts = np.bincount([order[place] for order in warps], minlength=4)
        assert counts.min() >= 16, counts
    # Blocks come in steps of 1 or 3, from any of them; lanes in steps of any odd number, from any of them.
    assert len(set(blocks)) == 8
    assert len({order[0] for order in lanes}) == 32
    assert len(set(steps)) > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_named_barrier(executor, seed):
    executor.seed(seed)
    x = np.arange(64, dtype=np.float32)
    y = executor.empty(64)
    executor.run("named_barrier", executor.array(x), y, scalars=[0], block=128)
    np.testing.assert_array_equal(y, x[::-1])


def _shuffled(op: int, operands: NDArray[Any], width: int) -> NDArray[Any]:
    """The source lane of each lane, from the description of the shuffles in the CUDA C++ programming guide."""
    lanes = np.arange(32)
    start = lanes - lanes % width
    if op == 0:
        return np.asarray(start + operands % width)
    delta = operands[0]
    source = {1: lanes - delta, 2: lanes + delta, 3: lanes ^ delta}[op]
    stays = {1: source < start, 2: source >= start + width, 3: source >= start + width}[op]
    return np.asarray(np.where(stays, lanes, source))


@pytest.mark.parametrize("width", [32, 16, 4, 1])
@pytest.mark.parametrize("op", range(4))
def test_shuffles(executor, op, width):
    rng = np.random.default_rng(op)
    for delta in (0, 1, 3, 9, 31):
        operands = np.where(op == 0, rng.integers(0, 64, 32), delta).astype(np.int32)
        y = executor.empty(64, np.int32)
        executor.run("shuffle", executor.array(operands), y, scalars=[op, width], block=64)
        source = _shuffled(op, operands, width)
        np.testing.assert_array_equal(y, np.concatenate([100 + source, 132 + source]))


def test_warp_votes(executor):
    x = (np.random.default_rng(0).random(96) < 0.5).astype(np.int32)
    x[32:48] = 1
    x[64:] = 0
    y = executor.empty((96, 3), np.uint32)
    executor.run("vote", executor.array(x), y, block=96)
    for warp in range(3):
        lanes = x[warp * 32 : warp * 32 + 32]
        bits = int((lanes.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum())
        for lane in range(32):
            half = slice(0, 16) if lane < 16 else slice(16, 32)
            mask = 0x0000FFFF if lane < 16 else 0xFFFF0000
            expected = [bits & mask, lanes[half].all(), lanes.any()]
            np.testing.assert_array_equal(y[warp * 32 + lane], expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_atomics(executor, threads):
    executor.threads(threads)
    x = np.random.default_rng(0).integers(0, 7, 4096).astype(np.int32)
    bins, largest = executor.array(np.zeros(7, np.int32)), executor.array(np.zeros(1, np.uint32))
    executor.run("histogram", executor.array(x), bins, largest, grid=16, block=256)
    np.testing.assert_array_equal(bins, np.bincount(x))
    assert largest[0] == x.max()


@pytest.mark.parametrize("seed", SEEDS)
def test_tiled_gemm(executor, seed):
    executor.seed(seed)
    rng = np.random.default_rng(1)
    m, n, k = 37, 50, 45
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    c = executor.empty((m, n))
    executor.run("gemm", executor.array(a), executor.array(b), c, scalars=[m, n, k], grid=(4, 3), block=(16, 16))
    bound = k * 2.0**-24 * (np.abs(a).astype(float) @ np.abs(b))
    assert (np.abs(c - a.astype(float) @ b) <= bound).all()
    again = executor.empty((m, n))
    executor.seed(seed + 100)
    executor.threads(1)
    executor.run("gemm", executor.array(a), executor.array(b), again, scalars=[m, n, k], grid=(4, 3), block=(16, 16))
    np.testing.assert_array_equal(again, c)


@pytest.mark.parametrize("seed", SEEDS)
def test_cp_async_pipeline(executor, seed):
    executor.seed(seed)
    x = np.random.default_rng(2).random((7, 64, 4), np.float32)
    y = executor.empty(x.shape)
    executor.run("pipeline", executor.array(x), y, scalars=[7, 0], block=64, shared=2 * 64 * 16)
    np.testing.assert_array_equal(y, x[:, ::-1])


@pytest.mark.parametrize("size", [0, 4, 8, 16])
def test_cp_async_fills_with_zeros(executor, size):
    x = np.arange(1, 1 + size // 4, dtype=np.float32)
    y = executor.empty(4)
    executor.run("zero_fill", executor.array(x), y, scalars=[size], block=1)
    np.testing.assert_array_equal(y, np.pad(x, (0, 4 - x.size)))
