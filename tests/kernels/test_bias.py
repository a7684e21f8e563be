"""The kernels of bias, which no operation of its own uses, run by the CPU executor.

Vectors and tails; the executor itself fails a kernel that touches a byte beyond a buffer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from alexnet_cuda import _simt

from ..ops.tolerance import PRECISIONS, assert_close, assert_equal
from .guarded import DTYPES, Array, assert_bits, at, device, empty, executor_seed

MATRICES = [(1, 1), (3, 5), (7, 96), (33, 100), (300, 10), (2500, 8), (1001, 48), (6, 1000), (20_000, 3)]


@pytest.fixture(autouse=True, params=[0, 1], ids=["seed0", "seed1"])
def seed(request: pytest.FixtureRequest) -> Iterator[None]:
    with executor_seed(request.param):
        yield


def normal(shape: tuple[int, ...] | int, dtype: str) -> Array:
    return device(np.random.default_rng(7).standard_normal(shape), DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), MATRICES)
def test_fprop(dtype: str, rows: int, columns: int) -> None:
    x, y, bias = normal((rows, columns), dtype), empty((rows, columns), DTYPES[dtype]), normal(columns, "float32")
    _simt.bias_fprop(**at(x=x, bias=bias, y=y), rows=rows, columns=columns, dtype=dtype, stream=0)
    assert_equal(y, (x.astype(np.float32) + bias).astype(x.dtype))


def test_fprop_of_more_numbers_than_a_grid_has_threads() -> None:
    rows, columns = (2 * 2112 * 256 + 5) // 7, 7  # 7 divides no grid, so that the columns wrap
    x, bias = device(np.zeros((rows, columns), np.float32)), normal(columns, "float32")
    _simt.bias_fprop(**at(x=x, bias=bias, y=x), rows=rows, columns=columns, dtype="float32", stream=0)
    assert_equal(x, np.broadcast_to(bias, x.shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), MATRICES)
def test_bprop(dtype: str, rows: int, columns: int) -> None:
    dy, dbias = normal((rows, columns), dtype), empty(columns, np.float32)
    shape = {"rows": rows, "columns": columns, "dtype": dtype}
    workspace = empty(_simt.bias_bprop_config(**shape)["workspace_floats"], np.float32)
    _simt.bias_bprop(**at(dy=dy, dbias=dbias, workspace=workspace), **shape, stream=0)
    wide = dy.astype(np.float64)
    precision = PRECISIONS[dtype].sums
    assert_close(dbias, wide.sum(0), precision.bound(wide.sum(0), precision.dot(rows, (wide**2).sum(0))), np.float32)
    first = dbias.copy()
    _simt.set_seed(value=_simt.seed() + 99)
    _simt.bias_bprop(**at(dy=dy, dbias=dbias, workspace=workspace), **shape, stream=0)
    assert_bits(dbias, first)


def test_gradient_of_no_rows_is_zero() -> None:
    dbias = empty(5, np.float32)
    _simt.bias_bprop(**at(dy=None, dbias=dbias, workspace=None), rows=0, columns=5, dtype="float32", stream=0)
    assert_equal(dbias, np.zeros(5, np.float32))
