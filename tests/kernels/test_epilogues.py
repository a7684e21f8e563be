"""The fused forms of a training step, each against the pair of kernels that it replaces, bit for bit.

What a fused form rounds once and the pair twice is compared through float32, the precision that both compute in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import _simt
from alexnet_cuda.backends.kernels.conv2d import Problem
from alexnet_cuda.backends.runtime import Tensor
from alexnet_cuda.base.params import DropoutParams, LrnParams, PoolParams, SgdParams

from .guarded import DTYPES, Array, assert_bits, device, empty, executor_seed, problem, run_product, tensors

PRECISIONS: dict[str, Any] = {**DTYPES, "tf32": np.float32}


@pytest.fixture(autouse=True, params=[0, 1], ids=["seed0", "seed1"])
def seed(request):
    with executor_seed(request.param):
        yield


@pytest.fixture(params=["", "splits=3"], ids=["", "splits"])
def splits(request, monkeypatch):
    monkeypatch.setenv("ALEXNET_CUDA_FORCE", request.param)
    return bool(request.param)


@dataclass(frozen=True)
class Layer:
    """A convolution, or with three sizes a fully connected layer, whose tensors are ranges of wider ones."""

    shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    margin: int = 0  # columns that each tensor is wider to either side

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the ranges."""
        if len(self.shape) == 3:
            rows, inputs, outputs = self.shape
            return {"x": (rows, inputs), "y": (rows, outputs), "weight": (outputs, inputs)}
        n, h, w, c, k, r, s = self.shape
        p = (h + 2 * self.padding[0] - r) // self.stride[0] + 1
        q = (w + 2 * self.padding[1] - s) // self.stride[1] + 1
        return {"x": (n * h * w, c), "y": (n * p * q, k), "weight": (k * r * s, c // self.groups)}

    def tensor(self, name: str, dtype: Any, values: str = "") -> Array:
        """The range of a poisoned tensor, filled with normal numbers drawn from the name in `values`."""
        rows, columns = self.sizes[name]
        wide = empty((rows, columns + 2 * self.margin), dtype)
        inside = wide[:, self.margin : self.margin + columns]
        if values:
            inside[...] = np.random.default_rng(list(values.encode())).standard_normal((rows, columns))
        return inside

    def assert_margin_untouched(self, *tensors: Array) -> None:
        for tensor in tensors:
            assert isinstance(tensor.base, np.ndarray)
            wide = tensor.base.view(np.uint8).reshape(len(tensor), -1)
            side = self.margin * tensor.itemsize
            assert (wide[:, :side] == 0xFF).all()
            assert (wide[:, wide.shape[1] - side :] == 0xFF).all()

    def problem(self, precision: str) -> Problem:
        x, y, weight = (self.sizes[n][1] + 2 * self.margin if self.margin else 0 for n in ("x", "y", "weight"))
        options = {"stride": self.stride, "padding": self.padding, "groups": self.groups, "pitch": (x, y, weight)}
        return problem(self.shape, precision, **options)

    def config(self, direction: str, precision: str, force: str = "") -> Any:
        aligned = self.margin % 8 == 0
        return _simt.conv2d_config(direction=direction, aligned=aligned, force=force, problem=self.problem(precision))

    def shaped(self, name: str, array: Array) -> Array:
        """A range of the rows of x, y or weight, or another array that lies like it, with its four dimensions."""
        s = self.problem("float32").shape
        if array.ndim != 2 or len(self.shape) == 3:
            return array
        shapes = {"x": (s.N, s.H, s.W, s.C), "y": (s.N, s.P, s.Q, s.K), "weight": (s.K, s.R, s.S, s.C // s.groups)}
        return array.reshape(shapes[name])

    def run(self, direction: str, precision: str, **arguments: Any) -> None:
        """Arrays are as `tensor` makes them."""
        like = {"x": "x", "dx": "x", "mask": "x", "y": "y", "dy": "y", "addend": "x" if direction == "dgrad" else "y"}
        arrays = {n: self.shaped(like.get(n, "weight"), a) for n, a in arguments.items() if isinstance(a, np.ndarray)}
        run_product(direction, self.problem(precision), **arguments | arrays)


LAYERS = {
    "conv2d": Layer((3, 9, 7, 48, 64, 3, 2), (2, 1), (1, 0), 2),
    "conv2d pitched": Layer((3, 9, 7, 48, 64, 3, 2), (2, 1), (1, 0), 2, margin=8),
    "conv2d odd": Layer((2, 9, 8, 22, 26, 3, 2), (1, 2), (0, 1), 2, margin=3),
    "conv2d folded": Layer((3, 21, 18, 3, 40, 7, 6), (4, 3), (2, 1)),
    "linear": Layer((150, 136, 72), margin=16),
    "linear odd": Layer((5, 131, 70)),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.mark.parametrize("direction", ["fprop", "dgrad", "wgrad"])
def test_the_layers_reach_every_path(direction):
    choices = {name: layer.config(direction, "bfloat16", "splits=3") for name, layer in LAYERS.items()}
    assert all(choice["splits"] > 1 for name, choice in choices.items() if "odd" not in name or direction != "wgrad")
    assert {choice["vector"] for choice in choices.values()} == {True, False}
    assert choices["conv2d folded"]["fold"] == (direction != "dgrad")


STEP = 2**40 + 3
RATE = 0.3
# start and row stride; a vector's numbers are whole Philox blocks in the first alone.
DRAWS = {"whole blocks": (2**33 + 8, 96), "odd start": (7, 96), "odd stride": (4, 77)}


def dropout(step: Array, start: int, row_stride: int, rate: float = RATE) -> dict[str, Any]:
    return {
        "dropout": DropoutParams(rate, 0x0123456789ABCDEF, 9, 0, start, row_stride, 1 / (1 - rate)),
        "dropout_step": step,
    }


def apply_dropout(x: Array, dropout: DropoutParams, dropout_step: Array) -> Array:
    y = device(x)
    _simt.dropout_apply(dropout=dropout, **tensors(x=y, y=y, step=dropout_step), stream=0)
    return y


# Each draw in one precision or two: what is drawn depends on none.
@every_layer
@pytest.mark.parametrize(("precision", "draw"), list(zip(PRECISIONS, [*DRAWS, "odd start"], strict=True)))
def test_fprop_with_dropout(layer, precision, draw, splits):
    dtype, draw = PRECISIONS[precision], DRAWS[draw]
    step, whole = device([STEP], np.uint64), layer.tensor("y", np.float32)
    bias = device(np.linspace(-1, 2, layer.sizes["y"][1]), np.float32)
    tensors = {name: layer.tensor(name, dtype, name) for name in ("x", "weight")} | {"bias": bias, "addend": None}
    activation = "relu" if draw[0] == 7 else "tanh"
    layer.run("fprop", precision, **tensors, y=whole, activation=activation)
    expected = apply_dropout(whole, **dropout(step, *draw))
    dropped = (expected == 0) & (whole != 0)
    assert 0.1 < dropped.mean() < 2 * RATE
    for y_float in (False, True):
        y = layer.tensor("y", np.float32 if y_float else dtype)
        given = tensors | dropout(step, *draw)
        layer.run("fprop", precision, **given, y=y, activation=activation)
        assert_bits(y, expected.astype(y.dtype))
        layer.assert_margin_untouched(y)


def test_fprop_at_a_rate_of_0_drops_nothing():
    layer = LAYERS["conv2d"]
    tensors = {name: layer.tensor(name, np.float32, name) for name in ("x", "weight")} | {"bias": None, "addend": None}
    results = [layer.tensor("y", np.float32) for _ in range(2)]
    for y, draw in zip(results, ({}, dropout(device([STEP], np.uint64), 0, 64, 0.0)), strict=True):
        layer.run("fprop", "float32", **tensors, y=y, activation="none", **draw)
        assert_bits(y, results[0])
    assert np.isfinite(results[0]).all()


@pytest.mark.parametrize("layer", [layer for name, layer in LAYERS.items() if name != "conv2d folded"])
@every_precision
def test_dgrad_through_relu_and_dropout(layer, precision, splits):
    dtype, scale = PRECISIONS[precision], float(np.float32(1 / (1 - RATE)))
    draw = dropout(device([STEP], np.uint64), 8, 144)
    tensors = {"dy": layer.tensor("y", dtype, "dy"), "weight": layer.tensor("weight", dtype, "weight")}
    tensors["addend"] = layer.tensor("x", np.float32, "addend")
    plain = layer.tensor("x", np.float32)
    layer.run("dgrad", precision, **tensors, mask=None, dx=plain)
    before = layer.tensor("x", np.float32, "before")
    expected = np.where(before > 0, apply_dropout(plain, **draw), np.float32(0))
    # What the layer before wrote: positive where ReLU and dropout both let it pass.
    mask = layer.tensor("x", dtype)
    mask[...] = apply_dropout(np.maximum(before, np.float32(0)), **draw)
    for dx_float in (False, True):
        dx = layer.tensor("x", np.float32 if dx_float else dtype)
        layer.run("dgrad", precision, **tensors, mask=mask, dx=dx, mask_scale=scale)
        assert_bits(dx, expected.astype(dx.dtype) + dx.dtype.type(0))  # the pair has zeros of both signs
        layer.assert_margin_untouched(dx)


SGD = SgdParams(None, None, None, rate_factor=2.0, momentum=0.9, weight_decay=0.05, gradient_scale=0.25)


def sgd_in_one(layer: Layer, precision: str, operands: dict[str, Array], keep_gradient: bool) -> dict[str, Array]:
    """Weights, velocity, their copy and the gradient after a wgrad that does the step."""
    dtype = PRECISIONS[precision]
    state = {"weights": layer.tensor("weight", np.float32, "w"), "velocity": layer.tensor("weight", np.float32, "v")}
    if dtype != np.float32:
        state["copy"] = layer.tensor("weight", dtype)
    if keep_gradient:
        state["dweight"] = layer.tensor("weight", np.float32)
    given = {f"sgd_{name}": value for name, value in state.items() if name != "dweight"}
    given |= {"sgd": SGD, "sgd_learning_rate": device([0.01], np.float32), "dweight": state.get("dweight")}
    layer.run("wgrad", precision, **operands, **given)
    return state


def sgd_in_two(layer: Layer, precision: str, operands: dict[str, Array], keep_gradient: bool) -> dict[str, Array]:
    """The same by wgrad and then sgd, which takes dense tensors alone."""
    dweight = layer.tensor("weight", np.float32)
    layer.run("wgrad", precision, **operands, dweight=dweight, dbias=None, accumulate=False)
    weights, velocity = (device(layer.tensor("weight", np.float32, name)) for name in ("w", "v"))
    copy = None if PRECISIONS[precision] == np.float32 else empty(weights.shape, DTYPES[precision])
    gradient, learning_rate = device(dweight), device([0.01], np.float32)
    arrays = {"weights": weights, "velocity": velocity, "copy": copy, "gradient": gradient}
    _simt.sgd(sgd=SGD, **tensors(**arrays, learning_rate=learning_rate), stream=0)
    state = {"weights": weights, "velocity": velocity, "copy": copy, "dweight": gradient if keep_gradient else None}
    return {name: array for name, array in state.items() if array is not None}


@every_layer
@every_precision
@pytest.mark.parametrize("keep_gradient", [False, True], ids=["", "dweight"])
def test_wgrad_with_sgd(layer, precision, keep_gradient, splits):
    dtype = PRECISIONS[precision]
    tensors = {"x": layer.tensor("x", dtype, "x"), "dy": layer.tensor("y", dtype, "dy")}
    expected = sgd_in_two(layer, precision, tensors, keep_gradient)
    result = sgd_in_one(layer, precision, tensors, keep_gradient)
    assert result.keys() == expected.keys()
    for name, array in result.items():
        assert np.isfinite(array.astype(np.float32)).all()
        assert_bits(array, expected[name])
        layer.assert_margin_untouched(array)
    assert (result["weights"] != layer.tensor("weight", np.float32, "w")).all()


def test_wgrad_with_sgd_has_the_same_bias_gradient():
    layer = LAYERS["conv2d"]
    tensors = {"x": layer.tensor("x", np.float32, "x"), "dy": layer.tensor("y", np.float32, "dy"), "accumulate": False}
    sgd: dict[str, Any] = {f"sgd_{n}": layer.tensor("weight", np.float32, n) for n in ("weights", "velocity")}
    sgd |= {"sgd_learning_rate": device([1.0], np.float32), "sgd": SGD}
    fused, alone = empty(layer.sizes["y"][1], np.float32), empty(layer.sizes["y"][1], np.float32)
    layer.run("wgrad", "float32", **tensors, dweight=None, dbias=fused, **sgd)
    layer.run("wgrad", "float32", **tensors, dweight=layer.tensor("weight", np.float32), dbias=alone)
    assert_bits(fused, alone)


# images, height, width, channels: vectors of the LRN, and what only the kernel for any window takes.
IMAGES = [(2, 5, 7, 64), (3, 6, 5, 18)]
WINDOW = LrnParams(size=5, k=2.0, alpha=0.1, beta=0.75, groups=2)


def windows(output: Array) -> dict[str, Any]:
    return {"pool": PoolParams(3, 2, output=output.shape[1:3]), "stream": 0}


def relu_bprop(y: Array, dy: Array) -> Array:
    dx = empty(y.shape, y.dtype)
    _simt.relu_bprop(**tensors(y=y, dy=dy, dx=dx), stream=0)
    return dx


def normal(shape: tuple[int, ...], dtype: str, name: str) -> Array:
    return device(np.random.default_rng(list(name.encode())).standard_normal(shape), DTYPES[dtype])


def rectified(shape: tuple[int, ...], dtype: str, threshold: float = 0.0) -> Array:
    """The output of a ReLU; where few numbers are above the threshold, many windows of a pool have none."""
    return device(np.maximum(normal(shape, "float32", "x") - threshold, 0), DTYPES[dtype])


@every_dtype
@pytest.mark.parametrize("images", IMAGES)
def test_lrn_bprop_through_relu(dtype, images):
    x, dy = rectified(images, dtype), normal(images, dtype, "dy")
    x[0, 0, 0, 0] = np.nan
    results = []
    for relu in (False, True):
        dx = empty(images, DTYPES[dtype])
        _simt.lrn_bprop(**tensors(dy=dy, x=x, dx=dx), window=WINDOW, relu=relu, stream=0)
        results.append(dx)
    assert_bits(results[1], relu_bprop(x, results[0]))
    assert (results[0] != results[1]).mean() > 0.3


def pool(x: Array) -> tuple[Array, Array]:
    """The output of a pool, and its argmax."""
    n, h, w, c = x.shape
    p, q = (h - 3) // 2 + 1, (w - 3) // 2 + 1
    y, argmax = empty((n, p, q, c), x.dtype), empty((n, p, q, c), np.uint8)
    _simt.max_pool_fprop(**tensors(x=x, y=y, argmax=argmax), **windows(y))
    return y, argmax


@every_dtype
@pytest.mark.parametrize("images", IMAGES)
def test_lrn_max_pool_bprop_through_relu(dtype, images):
    x = rectified(images, dtype, 1.5)
    y, argmax = pool(x)
    dy = normal(y.shape, dtype, "dy")
    results = []
    for relu in (False, True):
        dx = empty(images, DTYPES[dtype])
        _simt.lrn_max_pool_bprop(**tensors(dy=dy, argmax=argmax, x=x, dx=dx), window=WINDOW, **windows(dy), relu=relu)
        results.append(dx)
    assert_bits(results[1], relu_bprop(x, results[0]))
    assert (results[0] != results[1]).any()


@every_dtype
@pytest.mark.parametrize("images", IMAGES)
def test_max_pool_bprop_through_relu(dtype, images):
    x = rectified(images, dtype, 1.5)
    y, argmax = pool(x)
    dy = normal(y.shape, dtype, "dy")
    results = []
    for gradient, output in ((relu_bprop(y, dy), None), (dy, y), (dy, None)):
        dx = empty(images, DTYPES[dtype])
        _simt.max_pool_bprop(**tensors(dy=gradient, argmax=argmax, dx=dx, y=output), **windows(dy))
        results.append(dx)
    assert_bits(results[1], results[0])
    assert (results[1] != results[2]).any()
    # The same as a ReLU's backward pass after the pool's.
    np.testing.assert_array_equal(results[1], relu_bprop(x, results[2]))


CLASSES = 70


def cross_entropy(logits: Array, dlogits: Array, first_column: int = 0) -> tuple[Array, Array]:
    rows = len(logits)
    loss, correct = empty(rows, np.float32), empty(rows, np.uint8)
    labels = device(np.arange(rows) * 7 % CLASSES, np.int64)
    arrays = tensors(logits=logits, labels=labels, loss=loss, correct=correct, dlogits=dlogits)
    _simt.softmax_cross_entropy(**arrays, first_column=first_column, scale=8.0, stream=0)
    return loss, correct


@every_dtype
@pytest.mark.parametrize("dlogits_dtype", DTYPES)
@pytest.mark.parametrize(("first", "columns"), [(0, 70), (0, 35), (35, 35), (69, 1), (70, 0)])
def test_softmax_of_other_type_and_columns(dtype, dlogits_dtype, first, columns):
    logits = normal((9, CLASSES), dtype, "logits")
    whole = empty(logits.shape, np.float32)
    expected = cross_entropy(logits, whole)
    wanted = slice(first, first + columns)
    part = empty(whole[:, wanted].shape, DTYPES[dlogits_dtype])
    for result, same in zip(cross_entropy(logits, part, first), expected, strict=True):
        assert_bits(result, same)
    assert_bits(part, whole[:, wanted].astype(part.dtype))
    if columns == CLASSES and dtype == dlogits_dtype:
        in_place = device(logits)
        cross_entropy(in_place, in_place)
        assert_bits(in_place, part)


def wide(rows: int, pitch: int, first: int, columns: int, dtype: Any, name: str = "") -> Array:
    """Columns of a poisoned matrix, filled with normal numbers drawn from `name`."""
    inside = empty((rows, pitch), dtype)[:, first : first + columns]
    if name:
        inside[...] = np.random.default_rng(list(name.encode())).standard_normal((rows, columns))
    return inside


def copy_columns(x: Array, addend: Array | None, y: Array) -> None:
    _simt.copy_columns(**tensors(x=x, addend=addend, y=y), stream=0)


# rows, columns, pitches of x, addend and y, first column of each: vectors, dense but no whole row, scalar loads.
COPIES = [
    (7, 48, (64, 48, 96), (8, 0, 16)),
    (8, 27, (27, 27, 27), (0, 0, 0)),
    (7, 27, (27, 27, 27), (0, 0, 0)),
    (5, 48, (64, 51, 96), (8, 2, 17)),
    (1, 1, (1, 9, 3), (0, 3, 2)),
]


@every_dtype
@pytest.mark.parametrize("y_dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns", "pitches", "firsts"), COPIES)
@pytest.mark.parametrize("with_addend", [False, True], ids=["", "addend"])
def test_copy_columns(dtype, y_dtype, rows, columns, pitches, firsts, with_addend):
    x = wide(rows, pitches[0], firsts[0], columns, DTYPES[dtype], "x")
    addend = wide(rows, pitches[1], firsts[1], columns, DTYPES[dtype], "addend") if with_addend else None
    y = wide(rows, pitches[2], firsts[2], columns, DTYPES[y_dtype])
    copy_columns(x, addend, y)
    sums = x.astype(np.float32) if addend is None else x.astype(np.float32) + addend.astype(np.float32)
    assert_bits(y, sums.astype(y.dtype))
    assert isinstance(y.base, np.ndarray)
    poisoned = y.base.view(np.uint8) == 0xFF
    assert poisoned.sum() >= (pitches[2] - columns) * rows * y.itemsize, "written beside the range"


def test_copy_takes_vectors_where_it_can():
    common = {"x_pitch": 0, "addend_pitch": 0, "y_pitch": 0, "x_dtype": "float32", "y_dtype": "bfloat16"}
    for changes, vector in (
        ({}, 8),
        ({"aligned": False}, 1),
        ({"columns": 27}, 8),  # dense: 8 rows of 27 are 27 vectors
        ({"columns": 27, "rows": 7}, 1),
        ({"y_pitch": 52}, 1),
        ({"x_pitch": 56, "y_pitch": 64}, 8),
        ({"y_dtype": "float32"}, 4),
    ):
        choice = _simt.copy_config(**{"rows": 8, "columns": 48, "aligned": True, **common, **changes})
        assert choice["vector"] == vector, changes


@every_dtype
def test_copy_in_place_and_between_columns_of_one_matrix(dtype):
    both = empty((6, 32), DTYPES[dtype])
    left, right = both[:, :16], both[:, 16:]
    left[...] = normal((6, 16), dtype, "left")
    copy_columns(left, None, right)
    assert_bits(right, left)
    expected = (left.astype(np.float32) + right.astype(np.float32)).astype(left.dtype)
    copy_columns(left, right, left)
    assert_bits(left, expected)
    copy_columns(right, left, left)
    assert_bits(left, (expected.astype(np.float32) + right.astype(np.float32)).astype(left.dtype))


def test_copy_keeps_the_bits_of_a_nan():
    x = device(np.array([[0x7FC12345, 0xFF812345, 1, 0x80000000]], np.uint32)).view(np.float32)
    y = empty(x.shape, np.float32)
    copy_columns(x, None, y)
    np.testing.assert_array_equal(y.view(np.uint32), x.view(np.uint32))


FLAT = Layer((3, 16, 24))


def linear(direction: str, precision: str = "bfloat16", **changes: Any) -> None:
    """A call whose arguments are good but for `changes`."""
    dtype = PRECISIONS[precision]
    x, y, weight = (FLAT.tensor(name, dtype, name) for name in ("x", "y", "weight"))
    arguments: dict[str, Any] = {
        "fprop": {"x": x, "weight": weight, "y": y, **dropout(device([STEP], np.uint64), 0, 24)},
        "dgrad": {"dy": y, "weight": weight, "mask": x, "dx": device(x)},
        "wgrad": {
            **{"x": x, "dy": y, "sgd": SGD, "sgd_learning_rate": empty(1, np.float32)},
            **{f"sgd_{name}": empty((24, 16), np.float32) for name in ("weights", "velocity")},
            "sgd_copy": empty((24, 16), dtype) if dtype != np.float32 else None,
        },
    }[direction]
    FLAT.run(direction, precision, **arguments | changes)


WIDE = empty((24, 32), np.float32)[:, :16]


@pytest.mark.parametrize(
    ("direction", "changes", "message"),
    [
        ("fprop", {"dropout_step": None}, "^dropout_step is None; expected a tensor"),
        ("fprop", {"dropout_step": empty(2, np.uint64)}, r"^dropout_step has the shape \[2\]; expected 1 in all"),
        ("fprop", {"x": empty((3, 17), DTYPES["bfloat16"])}, r"^x has the shape \[3, 17\]; expected \[3, 16\]"),
        ("fprop", {"weight": empty((24, 16), np.float32)}, "^weight is of float32; expected bfloat16"),
        ("fprop", {"y": empty((3, 24), np.float16)}, "^y is of float16; expected bfloat16"),
        ("fprop", {"bias": empty(16, np.float32)}, r"^bias has the shape \[16\]; expected \[24\]"),
        ("fprop", {"addend": empty((3, 32), np.float32)[:, :24]}, "^addend has a pitch of 32; expected 0"),
        ("fprop", {"activation": "gelu"}, '^activation is "gelu"; expected none, relu, tanh or logistic'),
        ("dgrad", {"mask_scale": math.inf}, "^mask_scale is inf; expected"),
        ("dgrad", {"mask_scale": 2.0, "mask": None}, "^mask_scale is 2.*expected 1 without a mask"),
        ("wgrad", {"accumulate": True}, "^accumulate is True; expected False with sgd"),
        ("wgrad", {"sgd_velocity": None}, "^sgd_velocity is None; expected a tensor"),
        ("wgrad", {"sgd_velocity": WIDE}, "^sgd_velocity has a pitch of 32; expected 0"),
        ("wgrad", {"sgd_learning_rate": None}, "^sgd_learning_rate is None"),
        ("wgrad", {"sgd_weights": None}, "^sgd_weights is None"),
        ("wgrad", {"sgd_copy": empty((24, 16), np.float16)}, "^sgd_copy is of float16; expected bfloat16"),
        ("wgrad", {"sgd_copy": empty((24, 16), np.float32)}, "^sgd_copy is of float32 as the master weights are"),
        ("wgrad", {"sgd": None}, "^dweight is None; expected a tensor"),
        (
            "wgrad",
            {"dbias": empty(24, np.float32), "dy": empty((3, 32), DTYPES["bfloat16"])[:, :24]},
            "^dy has a pitch",
        ),
    ],
)
def test_bad_argument_is_named(direction, changes, message):
    with pytest.raises(ValueError, match=message):
        linear(direction, **changes)


def test_softmax_refuses_what_it_cannot_do():
    logits = normal((4, CLASSES), "float32", "logits")
    for dlogits, first_column, message in (
        (empty((4, 71), np.float32), 0, "^the columns of dlogits is 71; expected 0 to 70"),
        (empty((4, 41), np.float32), 30, "^the columns of dlogits is 41; expected 0 to 40"),
        (empty((3, 5), np.float32), 0, r"^dlogits has the shape \[3, 5\]; expected \[4, 5\]"),
        (logits, 71, "^first_column is 71"),
        (logits.view(np.float16)[:, :CLASSES], 0, "^dlogits has a pitch of 140"),
        (logits.reshape(-1)[: 4 * 35].reshape(4, 35), 0, "^dlogits overlaps logits"),
        (logits.reshape(-1).view(np.float16)[: 4 * CLASSES].reshape(4, CLASSES), 0, "^dlogits overlaps logits"),
    ):
        with pytest.raises(ValueError, match=message):
            cross_entropy(logits, dlogits, first_column)


def test_copy_refuses_what_it_cannot_do():
    x, y = empty((4, 8), np.float32), empty((4, 8), np.float32)
    halves = y.view(np.float16)[:, :8]
    for a, b, message in (
        (x.view(np.int32), y, "^x is of int32; expected float32, bfloat16 or float16"),
        (x, y.view(np.int32), "^y is of int32; expected"),
        (x, y[:, :7], r"^y has the shape \[4, 7\]; expected \[4, 8\]"),
        (y, halves, "^y overlaps x"),
        (y[:3], y[1:], "^y overlaps x"),
        (y[:, :5], y[:, 3:], "^y overlaps x"),
    ):
        with pytest.raises(ValueError, match=message):
            copy_columns(a, None, b)
    with pytest.raises(ValueError, match=r"^y overlaps addend"):
        copy_columns(x[:3], y[:3], y[1:])


@pytest.mark.parametrize("name", ["x", "weight", "y"])
def test_a_tensor_one_element_short_is_named(name):
    layer = Layer((3, 16, 24), margin=8)
    arrays = {each: layer.tensor(each, DTYPES["bfloat16"], each) for each in ("x", "weight", "y")}
    # The last row of a range ends before its pitch does: dense to its end it has to pass.
    rows, columns = layer.sizes[name]
    for missing in (0, 1):
        exact = empty((rows - 1) * (columns + 16) + columns - missing, DTYPES["bfloat16"])
        exact[...] = 1
        tensor = Tensor(name, exact.ctypes.data, "bfloat16", (rows, columns), columns + 16)
        if missing:
            with pytest.raises(ValueError, match=f"^{name} is at address [0-9]+, from which [0-9]+ bytes are not"):
                layer.run("fprop", "bfloat16", **arrays | {name: tensor})
        else:
            layer.run("fprop", "bfloat16", **arrays | {name: tensor})
