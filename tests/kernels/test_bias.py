"""The kernel of the bias gradient, which no operation of its own uses, run by the CPU executor.

Vectors and tails; the executor itself fails a kernel that touches a byte beyond a buffer.
"""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_cuda import _simt

from ..ops.tolerance import PRECISIONS, assert_close, assert_equal
from .guarded import DTYPES, Array, assert_bits, device, empty, executor_seed, tensors

MATRICES = [(1, 1), (3, 5), (7, 96), (33, 100), (300, 10), (2500, 8), (1001, 48), (6, 1000), (20_000, 3)]


@pytest.fixture(autouse=True, params=[0, 1], ids=["seed0", "seed1"])
def seed(request):
    with executor_seed(request.param):
        yield


def normal(shape: tuple[int, ...] | int, dtype: str) -> Array:
    return device(np.random.default_rng(7).standard_normal(shape), DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), MATRICES)
def test_bprop(dtype, rows, columns):
    dy, dbias = normal((rows, columns), dtype), empty(columns, np.float32)
    shape = {"rows": rows, "columns": columns, "dtype": dtype}
    workspace = empty(4 * _simt.bias_bprop_config(**shape)["workspace_floats"], np.uint8)
    arguments = tensors(dy=dy, dbias=dbias, workspace=workspace)
    _simt.bias_bprop(**arguments, stream=0)
    wide = dy.astype(np.float64)
    precision = PRECISIONS[dtype].sums
    assert_close(dbias, wide.sum(0), precision.bound(wide.sum(0), precision.dot(rows, (wide**2).sum(0))), np.float32)
    first = dbias.copy()
    _simt.set_seed(value=_simt.seed() + 99)
    _simt.bias_bprop(**arguments, stream=0)
    assert_bits(dbias, first)


def test_workspace_that_is_missing_or_too_small_is_named():
    arrays = {"dy": normal((2500, 8), "float32"), "dbias": empty(8, np.float32)}
    small = empty(16, np.uint8)
    with pytest.raises(ValueError, match=r"^workspace is None; expected \d+ bytes$"):
        _simt.bias_bprop(**tensors(**arrays, workspace=None), stream=0)
    with pytest.raises(ValueError, match=r"^workspace has 16 bytes; expected \d+ or more$"):
        _simt.bias_bprop(**tensors(**arrays, workspace=small), stream=0)


def test_gradient_of_no_rows_is_zero():
    dbias = empty(5, np.float32)
    _simt.bias_bprop(**tensors(dy=empty((0, 5), np.float32), dbias=dbias, workspace=None), stream=0)
    assert_equal(dbias, np.zeros(5, np.float32))
