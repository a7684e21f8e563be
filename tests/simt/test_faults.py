"""Every fault that the executor is there to find, in a kernel that has it."""

from __future__ import annotations

import numpy as np
import pytest

from .harness import Executor, ExecutorError, unwritten

SEEDS = range(8)


def _wrong_for_some_seed(executor: Executor, name: str, shared: int = 0) -> bool:
    x = np.arange(64, dtype=np.float32)
    results = []
    for broken in (0, 1):
        for seed in SEEDS:
            executor.seed(seed)
            y = executor.empty(64)
            executor.run(name, executor.array(x), y, scalars=[broken], block=64, shared=shared)
            results.append(y)
    right = results[0]
    assert all((y == right).all() for y in results[: len(SEEDS)])
    return any((y != right).any() for y in results[len(SEEDS) :])


def test_missing_barrier(executor):
    assert _wrong_for_some_seed(executor, "reverse")


def test_missing_barrier_before_shared_memory_is_used_again(executor):
    assert _wrong_for_some_seed(executor, "reverse_twice", shared=4 * 64)


def test_missing_syncwarp(executor):
    assert _wrong_for_some_seed(executor, "reverse_warp")


def test_missing_named_barrier(executor):
    executor.seed(3)
    wrong = 0
    for seed in SEEDS:
        executor.seed(seed)
        y = executor.empty(64)
        executor.run("named_barrier", executor.array(np.zeros(64, np.float32)), y, scalars=[1], block=128)
        wrong += int(np.isnan(y).any())
    assert wrong > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_missing_wait_for_cp_async(executor, seed):
    executor.seed(seed)
    x = np.random.default_rng(0).random((7, 64, 4), np.float32)
    y = executor.empty(x.shape)
    executor.run("pipeline", executor.array(x), y, scalars=[7, 1], block=64, shared=2 * 64 * 16)
    assert (y != x[:, ::-1]).all()
    assert np.isnan(y[0]).all()


def test_target_of_cp_async_before_the_wait(executor):
    y = executor.empty(1)
    executor.run("async_misuse", executor.array(np.zeros(1, np.float32)), y, scalars=[5], block=1)
    assert np.isnan(y[0])


def test_barrier_that_some_threads_do_not_reach(executor):
    y = executor.empty(64)
    with pytest.raises(ExecutorError, match=r"block \(\d, 0, 0\), no thread can go on: .*barrier of .*kernels.cu:\d+"):
        executor.run("divergent_barrier", y, scalars=[0], grid=2, block=64)


def test_two_barriers_at_once(executor):
    with pytest.raises(ExecutorError, match=r"thread \(\d+, 0, 0\): waits at the barrier of .* that of"):
        executor.run("divergent_barrier", executor.empty(64), scalars=[1], block=64)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0, r"names lanes .*, which have left|left the kernel, but lanes .* wait for it in __shfl_xor_sync"),
        (1, r"__shfl_xor_sync\(mask 0xffffffff\) at \S+ for lanes 20-31 of warp 0"),
        (2, r"__ballot_sync at .*while lanes .* in __shfl_xor_sync|__shfl_xor_sync at .*in __ballot_sync"),
        (3, r"mask 0x0000ffff.*a mask without itself"),
    ],
    ids=["left", "at a barrier", "in another operation", "not in the mask"],
)
def test_shuffle_with_lanes_absent(executor, mode, message, seed):
    executor.seed(seed)
    with pytest.raises(ExecutorError, match=message):
        executor.run("absent_lanes", executor.empty(32, np.int32), scalars=[mode])


def test_lanes_that_leave_while_others_wait_for_them(executor):
    def message(seed: int) -> str:
        executor.seed(seed)
        with pytest.raises(ExecutorError) as caught:
            executor.run("absent_lanes", executor.empty(32, np.int32), scalars=[0])
        return str(caught.value)

    assert any("left the kernel, but lanes" in message(seed) for seed in range(8))


def test_partial_warp_cannot_shuffle_with_all_lanes(executor):
    with pytest.raises(ExecutorError, match=r"lanes 24-31, which have left the kernel or never were in it"):
        executor.run("absent_lanes", executor.empty(32, np.int32), scalars=[9], block=24)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("index", [64, 70, 100_000, -1, -100_000])
def test_read_out_of_bounds(executor, index, at_end):
    """A fault where the guard page is, poison where the page goes on."""
    x, y = executor.array(np.ones(64, np.float32), at_end), executor.empty(64)
    if abs(index) < 1000 and at_end == (index < 0):
        executor.run("global_access", x, y, scalars=[index, 5], grid=2)
        assert np.isnan(y[5])
        return
    place = f"{-4 * index} bytes before the start" if index < 0 else f"{4 * (index - 64)} bytes past the end"
    thread = r"block \(0, 0, 0\), thread \(5, 0, 0\): "
    with pytest.raises(ExecutorError, match=rf"{thread}read at 0x{x.ctypes.data + 4 * index:x}, {place} of buffer"):
        executor.run("global_access", x, y, scalars=[index, 5], grid=2)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("index", [64, 70, 100_000, -1, -100_000])
def test_write_out_of_bounds(executor, index, at_end):
    x, y = executor.array(np.ones(64, np.float32)), executor.empty(64, at_end=at_end)
    place = "before the start" if index < 0 else "past the end"
    with pytest.raises(ExecutorError, match=rf"write .*\d+ bytes {place} of buffer \d+ \(256 bytes\)"):
        executor.run("global_access", x, y, scalars=[0, index], grid=2)
    # The guard zone is whole again.
    executor.run("global_access", x, y, scalars=[5, 5], grid=2)


def test_released_memory_is_not_read(executor):
    x, y = executor.array(np.ones(64, np.float32)), executor.empty(64)
    between = executor.array(np.zeros(4096, np.float32))
    distance = (between.ctypes.data - x.ctypes.data) // 4
    del between
    with pytest.raises(ExecutorError, match="read at"):
        executor.run("global_access", x, y, scalars=[distance, 5], grid=2)


@pytest.mark.parametrize("dynamic", [0, 1])
@pytest.mark.parametrize("index", [8, 9, -1, -60])
def test_shared_memory_out_of_bounds(executor, index, dynamic):
    # Between two arrays the gap's first half is taken for a write past the one before it.
    place = "before the start" if index == -1 or (dynamic and index < 0) else "past the end"
    name = "dynamic shared memory" if dynamic else "shared array"
    with pytest.raises(ExecutorError, match=f"write {place} of {name}"):
        executor.run("shared_access", executor.empty(32), scalars=[index, dynamic], shared=32)
    executor.run("shared_access", executor.empty(32), scalars=[7, dynamic], shared=32)


def test_far_beyond_dynamic_shared_memory(executor):
    with pytest.raises(ExecutorError, match=r"write at .* bytes past the end of dynamic shared memory \(128 bytes\)"):
        executor.run("shared_access", executor.empty(32), scalars=[32, 1], shared=128)


def test_unwritten_output(executor):
    x, y = executor.array(np.ones(64, np.float32)), executor.empty(96)
    executor.run("global_access", x, y, scalars=[0, 70], grid=2)
    assert unwritten(y) == 32
    assert np.isnan(y[5])


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0, "its stack overflowed"),
        (1, "integer division by zero"),
        (2, r"__trap\(\) at .*kernels.cu:\d+"),
    ],
)
def test_faults_of_a_thread(executor, mode, message):
    y = executor.array(np.zeros(2, np.int32))
    for _ in range(2):
        with pytest.raises(ExecutorError, match=rf"block \(0, 0, 0\), thread \(0, 0, 0\): {message}"):
            executor.run("trap", y, scalars=[mode], block=1)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0, "cp.async at .* of 16 bytes .* multiples of its size"),
        (1, "cp.async at .* of 8 bytes .* multiples of its size"),
        (2, "cp.async at .* not in an array of shared memory"),
        (3, "cp.async at .* not in an array of shared memory"),
        (4, r"read at .* bytes past the end of buffer .*after .*kernels.cu"),
    ],
)
def test_cp_async_misuse(executor, mode, message):
    x, y = executor.array(np.zeros(16, np.float32)), executor.empty(16)
    with pytest.raises(ExecutorError, match=message):
        executor.run("async_misuse", x, y, scalars=[mode], block=1)


def test_matrix_operations_need_all_lanes(executor):
    x, y = executor.array(np.zeros(256, np.uint16)), executor.empty((32, 4), np.uint32)
    with pytest.raises(ExecutorError, match="ldmatrix"):
        executor.run("ldmatrix_x4", x, y, scalars=[0, 31])
    a, b, d = (executor.array(np.zeros(size, np.uint32)) for size in (256, 192, 768))
    with pytest.raises(ExecutorError, match=r"mma.sync\(mask 0xffffffff\) .* names lanes 16-31"):
        executor.run("mma_bf16", a, b, d, scalars=[0], block=16)


def test_memory_that_the_executor_does_not_guard(executor):
    with pytest.raises(ExecutorError, match="argument 0 of the kernel points to memory"):
        executor.run("reverse", np.ones(32, np.float32), executor.empty(32), scalars=[0])


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        (1, 1025, 0, r"a block of \(1025, 1, 1\) threads"),
        (1, 0, 0, r"a block of \(0, 1, 1\) threads"),
        (1, (1, 1, 65), 0, r"a block of \(1, 1, 65\) threads"),
        ((1, 65536), 1, 0, r"a grid of \(1, 65536, 1\) blocks"),
        (0, 1, 0, r"a grid of \(0, 1, 1\) blocks"),
        (1, 1, 300_000, "300000 bytes of dynamic shared memory; expected at most 232448"),
        (1, 1, 232_448, r"shared array values at .* does not fit: 48 KiB static, 227 KiB with dynamic"),
    ],
)
def test_impossible_launches(executor, grid, block, shared, message):
    x = executor.array(np.zeros(2048, np.float32))
    with pytest.raises(ExecutorError, match=message):
        executor.run("reverse", x, x, scalars=[0], grid=grid, block=block, shared=shared)
