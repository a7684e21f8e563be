"""The kernels of relu, tanh, bias, dropout, softmax with cross-entropy and SGD, run by the CPU executor.

Vectors and tails, aligned and not; the executor itself fails a kernel that touches a byte beyond a buffer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import _simt, philox

from .kernels.guarded import DTYPES, Array, at, device, empty, executor_seed

# Half a unit in the last place, relative, of a result rounded once.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
FLOAT16_TINY = 2.0**-25  # half of float16's smallest subnormal number, where rounding is no longer relative
COUNTS = [1, 3, 8, 17, 255, 2048, 5003]


@pytest.fixture(autouse=True, params=[0, 1], ids=["seed0", "seed1"])
def seed(request: pytest.FixtureRequest) -> Iterator[None]:
    with executor_seed(request.param):
        yield


def normal(shape: tuple[int, ...] | int, dtype: str, scale: float = 1.0) -> Array:
    return device(scale * np.random.default_rng(7).standard_normal(shape), DTYPES[dtype])


def assert_close(actual: Array, expected: npt.NDArray[np.float64], allowed: npt.ArrayLike) -> None:
    error = np.abs(actual.astype(np.float64) - expected)
    assert (error <= allowed).all(), f"off by {np.nanmax(error)}, NaN: {np.isnan(error).any()}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "shifted"])
def test_relu(dtype: str, count: int, offset: int) -> None:
    x, dy, y, dx = (a[offset:] for a in (normal(count, dtype), -normal(count, dtype), *(normal(count, dtype),) * 2))
    dy, y, dx = device(dy), device(np.zeros_like(y)), device(np.zeros_like(dx))
    common = {"count": count - offset, "dtype": dtype, "stream": 0}
    _simt.relu_fprop(**at(x=x, y=y), **common)
    _simt.relu_bprop(**at(y=y, dy=dy, dx=dx), **common)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, dy.dtype.type(0)))


def test_relu_shows_nan() -> None:
    x = device(np.array([np.nan, -np.inf, np.inf, -0.0], np.float32))
    _simt.relu_fprop(**at(x=x, y=x), count=4, dtype="float32", stream=0)
    np.testing.assert_array_equal(x, [np.nan, 0, np.inf, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", COUNTS)
def test_tanh(dtype: str, count: int) -> None:
    x, dy, y, dx = (
        normal(count, dtype),
        normal(count, dtype, 3),
        empty(count, DTYPES[dtype]),
        empty(count, DTYPES[dtype]),
    )
    common = {"count": count, "dtype": dtype, "stream": 0}
    _simt.tanh_fprop(**at(x=x, y=y), **common)
    expected = np.tanh(x.astype(np.float64))
    # CUDA allows its float32 tanhf two units in the last place.
    assert_close(y, expected, (ROUNDING[dtype] + 2.0**-22) * np.abs(expected) + FLOAT16_TINY)
    _simt.tanh_bprop(**at(y=y, dy=dy, dx=dx), **common)
    wide, slope = y.astype(np.float64), dy.astype(np.float64)
    # 1 - y^2 is off by a rounding of y^2 and one of the difference, both below 2^-24, then two roundings more.
    assert_close(dx, slope * (1 - wide**2), np.abs(slope) * (ROUNDING[dtype] + 4 * 2.0**-24) + FLOAT16_TINY)


# More elements than a grid has threads, so that each takes several.
BEYOND_ONE_GRID = 2 * 2112 * 256 + 5


def test_relu_beyond_one_grid() -> None:
    x, y = normal(BEYOND_ONE_GRID + 1, "float32")[1:], empty(BEYOND_ONE_GRID, np.float32)
    _simt.relu_fprop(**at(x=x, y=y), count=BEYOND_ONE_GRID, dtype="float32", stream=0)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_bias_beyond_one_grid() -> None:
    rows, columns = BEYOND_ONE_GRID // 7, 7  # 7 divides no grid, so that the columns wrap
    x, bias = device(np.zeros((rows, columns), np.float32)), normal(columns, "float32")
    _simt.bias_fprop(**at(x=x, bias=bias, y=x), rows=rows, columns=columns, dtype="float32", stream=0)
    np.testing.assert_array_equal(x, np.broadcast_to(bias, x.shape))


MATRICES = [(1, 1), (3, 5), (7, 96), (33, 100), (300, 10), (2500, 8), (1001, 48), (6, 1000), (20_000, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), MATRICES)
def test_bias(dtype: str, rows: int, columns: int) -> None:
    x, y = normal((rows, columns), dtype), empty((rows, columns), DTYPES[dtype])
    bias, dbias = normal(columns, "float32"), empty(columns, np.float32)
    shape = {"rows": rows, "columns": columns, "dtype": dtype}
    _simt.bias_fprop(**at(x=x, bias=bias, y=y), **shape, stream=0)
    np.testing.assert_array_equal(y, (x.astype(np.float32) + bias).astype(x.dtype))

    workspace = empty(_simt.bias_bprop_config(**shape)["workspace_floats"], np.float32)
    _simt.bias_bprop(**at(dy=x, dbias=dbias, workspace=workspace), **shape, stream=0)
    wide = x.astype(np.float64)
    # A thread adds at most about 400 rows one after the other, then a few levels of halving.
    assert_close(dbias, wide.sum(0), 400 * 2.0**-24 * np.abs(wide).sum(0))
    first = dbias.copy()
    _simt.set_seed(value=_simt.seed() + 99)
    _simt.bias_bprop(**at(dy=x, dbias=dbias, workspace=workspace), **shape, stream=0)
    np.testing.assert_array_equal(dbias.view(np.uint32), first.view(np.uint32))


def test_bias_gradient_of_no_rows_is_zero() -> None:
    dbias = empty(5, np.float32)
    _simt.bias_bprop(**at(dy=None, dbias=dbias, workspace=None), rows=0, columns=5, dtype="float32", stream=0)
    np.testing.assert_array_equal(dbias, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "columns", "start", "row_stride"),
    [(4, 8, 0, 8), (5, 16, 16, 64), (3, 7, 2, 9), (6, 12, 4, 22), (9, 40, 40, 80), (4, 16, 2**34 - 80, 20)],
)
def test_dropout_draws_what_numpy_draws(dtype: str, rows: int, columns: int, start: int, row_stride: int) -> None:
    x, y = normal((rows, columns), dtype), empty((rows, columns), DTYPES[dtype])
    key, purpose, number, rate = 0x123456789ABCDEF0, 77, 2**33 + 5, 0.3
    step = device(np.array([number], np.uint64))
    _simt.dropout_apply(
        **at(x=x, y=y, step=step),
        rows=rows,
        columns=columns,
        start=start,
        row_stride=row_stride,
        seed=key,
        purpose=purpose,
        rate=rate,
        dtype=dtype,
        stream=0,
    )
    bits = np.stack([philox.bits(key, purpose, number, start + row * row_stride, columns) for row in range(rows)])
    scaled = (x.astype(np.float32) * np.float32(1 / (1 - rate))).astype(x.dtype)
    np.testing.assert_array_equal(y, np.where(bits < round(rate * 2**32), x.dtype.type(0), scaled))
    assert 0 < (y == 0).sum() < y.size


def softmax(
    logits: Array, labels: Array, dlogits: Array | None, dtype: str, scale: float = 0.25
) -> tuple[Array, Array]:
    rows, classes = logits.shape
    loss, correct, labels = empty(rows, np.float32), empty(rows, np.uint8), device(labels, np.int64)
    _simt.softmax_cross_entropy(
        **at(logits=logits, labels=labels, loss=loss, correct=correct, dlogits=dlogits),
        rows=rows,
        classes=classes,
        scale=scale,
        dtype=dtype,
        stream=0,
    )
    return loss, correct


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (3, 10), (5, 33), (2, 130), (3, 300), (4, 1000)])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_softmax_cross_entropy(dtype: str, rows: int, classes: int, size: float) -> None:
    logits = normal((rows, classes), dtype, size)
    labels = np.random.default_rng(8).integers(0, classes, rows)
    if classes > 5:
        logits[:2] = np.minimum(logits[:2], 0)
        logits[:2, 3:5] = size  # a tie, which the first one wins
        labels[:2] = 3, 4
    wide, all_rows = logits.astype(np.float64), np.arange(rows)
    shifted = wide - wide.max(1, keepdims=True)
    exponentials = np.exp(shifted)
    expected_loss = np.log(exponentials.sum(1)) - shifted[all_rows, labels]
    expected = exponentials / exponentials.sum(1, keepdims=True)
    expected[all_rows, labels] -= 1
    expected *= 0.25
    separate = empty(logits.shape, logits.dtype)
    for dlogits in (separate, None, logits):
        loss, correct = softmax(logits, labels, dlogits, dtype)
        # The sum carries one rounding an exponential and an addition: 4 logits a thread, 5 levels, 8 warps.
        assert_close(loss, expected_loss, 2.0**-19 * (1 + np.abs(expected_loss)))
        np.testing.assert_array_equal(correct, wide.argmax(1) == labels)
        if dlogits is not None:
            assert_close(dlogits, expected, ROUNDING[dtype] * np.abs(expected) + 2.0**-19 * 0.25 + FLOAT16_TINY)


def test_softmax_of_a_bad_label_or_nan_is_nan() -> None:
    logits = device(np.array([[0, 0, 0, 0], [0, 0, np.nan, 0], [0, 0, 0, 0]], np.float32))
    loss, correct = softmax(logits, np.array([4, 2, -1]), logits, "float32")
    assert np.isnan(loss).all()
    assert np.isnan(logits).all()
    assert not correct.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("copy_dtype", [None, "bfloat16", "float16"])
@pytest.mark.parametrize("count", COUNTS)
def test_sgd(dtype: str, copy_dtype: str | None, count: int) -> None:
    weights, velocity, gradient = normal(count, "float32"), normal(count, "float32", 0.1), normal(count, dtype, 2)
    copy = None if copy_dtype is None else empty(count, DTYPES[copy_dtype])
    w, v, g = (a.astype(np.float64) for a in (weights, velocity, gradient))
    learning_rate = device(np.array([0.01], np.float32))
    v = 0.9 * v - 0.02 * (5e-4 * w + 0.5 * g)
    _simt.sgd(
        **at(weights=weights, velocity=velocity, gradient=gradient, copy=copy, learning_rate=learning_rate),
        count=count,
        rate_factor=2.0,
        momentum=0.9,
        weight_decay=5e-4,
        gradient_scale=0.5,
        dtype=dtype,
        copy_dtype=copy_dtype or "bfloat16",
        stream=0,
    )
    # Each number passes at most six roundings, none of a number larger than these.
    largest = np.abs(w) + np.abs(v) + 0.02 * np.abs(g)
    assert_close(velocity, v, 6 * 2.0**-24 * (np.abs(v) + 0.02 * np.abs(g) + 0.1))
    assert_close(weights, w + v, 6 * 2.0**-24 * (largest + 0.1))
    if copy is not None:
        np.testing.assert_array_equal(copy, weights.astype(copy.dtype))
