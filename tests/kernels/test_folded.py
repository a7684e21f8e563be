"""Inputs that come folded: what `augment` and `conv2d_fold` write, and the products that take it, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import _simt
from alexnet_cuda.backends.cpu import fold as reference
from alexnet_cuda.backends.kernels.conv2d import Problem
from alexnet_cuda.backends.runtime import Tensor
from alexnet_cuda.base.params import FoldedLayout
from alexnet_cuda.ops import conv2d

from .guarded import DTYPES, Array, assert_bits, device, empty, executor_seed, problem, run_product, tensors

PRECISIONS = {"float32": "float32", "tf32": "float32", "bfloat16": "bfloat16", "float16": "float16"}


@dataclass(frozen=True)
class Case:
    """A convolution; shape is N, H, W, C, K, R, S."""

    shape: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    @property
    def pq(self) -> tuple[int, int]:
        _, h, w, _, _, r, s = self.shape
        (sh, sw), (ph, pw) = self.stride, self.padding
        return (h + 2 * ph - r) // sh + 1, (w + 2 * pw - s) // sw + 1

    def layout(self, dtype: Any) -> FoldedLayout:
        _, h, w, c, _, r, s = self.shape
        layout = conv2d.folded_layout((h, w, c), (r, s), stride=self.stride, padding=self.padding, dtype=dtype)
        assert layout is not None
        return layout

    def problem(self, precision: str, x_folded: bool = False) -> Problem:
        return problem(self.shape, precision, stride=self.stride, padding=self.padding, x_folded=x_folded)

    def tensors(self, dtype: Any, whole: bool = False) -> dict[str, Array]:
        """x, weight, bias and dy, normal; with `whole` small integers, of which any order of additions is exact."""
        n, h, w, c, k, r, s = self.shape
        rng = np.random.default_rng(3)
        shapes = {"x": (n, h, w, c), "weight": (k, r, s, c), "bias": (k,), "dy": (n, *self.pq, k)}
        draw = (lambda size: rng.integers(-2, 3, size)) if whole else rng.standard_normal
        return {name: device(draw(size), np.float32 if name == "bias" else dtype) for name, size in shapes.items()}


CASES = {
    "conv1": Case((2, 227, 227, 3, 96, 11, 11), (4, 4)),
    "like conv1, the last cells partly outside": Case((3, 23, 26, 3, 24, 11, 11), (4, 4)),
    "like torchvision": Case((2, 20, 20, 3, 16, 11, 11), (4, 4), (2, 2)),
    "lopsided": Case((3, 21, 18, 3, 40, 7, 6), (4, 3), (2, 1)),
    "one stride of 1, channels of no whole 2 bytes": Case((2, 9, 8, 6, 16, 3, 2), (1, 2), (0, 1)),
    "stride beyond the filter": Case((2, 14, 17, 5, 8, 2, 3), (3, 5), (1, 0)),
    "cells wholly in the padding": Case((2, 7, 6, 3, 8, 3, 2), (1, 2), (3, 4)),
    "a rest that no filter reaches": Case((1, 20, 19, 3, 8, 5, 4), (8, 8)),
    "no images": Case((0, 9, 8, 3, 8, 3, 3), (2, 2)),
}
SMALL = {name: case for name, case in CASES.items() if name != "conv1"}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
small_case = pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


@every_precision
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
@every_case
def test_python_and_kernels_agree_on_the_layout(case, direction, precision):
    choice = _simt.conv2d_config(direction=direction, aligned=True, force="", problem=case.problem(precision))
    assert choice["fold"]
    assert choice["x_shape"] == (case.shape[0], *case.layout(DTYPES[PRECISIONS[precision]]).shape)


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (12, 1), (6, 2), (3, 3), (16, 2)])
@every_dtype
def test_python_and_kernels_agree_on_what_is_not_folded(channels, groups, dtype):
    shape, options = (2, 9, 8, channels, 6, 3, 2), {"stride": (2, 1), "padding": (1, 0), "groups": groups}
    ask = {"direction": "fprop", "aligned": True, "force": ""}
    choice = _simt.conv2d_config(**ask, problem=problem(shape, dtype, **options))
    layout = conv2d.folded_layout(shape[1:4], shape[5:], dtype=DTYPES[dtype], **options)
    assert (layout is not None) == choice["fold"]
    if layout is None:
        with pytest.raises(ValueError, match=r"x is folded, of \d groups and \d+ channels; expected one dense group"):
            _simt.conv2d_config(**ask, problem=problem(shape, dtype, **options, x_folded=True))


def run_fold(x: Array, layout: FoldedLayout) -> Array:
    folded = empty((x.shape[0], *layout.shape), x.dtype)
    _simt.conv2d_fold(layout=layout, **tensors(x=x, folded=folded), stream=0)
    return folded


@every_dtype
@pytest.mark.parametrize("shift", [0, 1])
@every_case
def test_fold(case, shift, dtype):
    given = case.tensors(DTYPES[dtype])["x"]
    x = empty(given.size + shift, given.dtype)[shift:].reshape(given.shape)
    x[...] = given
    layout = case.layout(given.dtype)
    expected = np.full((len(x), *layout.shape), np.nan, given.dtype)
    reference.fold(given, layout, expected)
    for seed in (0, 1):
        with executor_seed(seed):
            assert_bits(run_fold(x, layout), expected)


def run(case: Case, direction: str, precision: str, t: dict[str, Array], x_folded: bool, shift: int = 0) -> list[Array]:
    """Give y of fprop, or dweight and dbias of wgrad, of an x that begins so many bytes later."""
    array = run_fold(t["x"], case.layout(t["x"].dtype)) if x_folded else t["x"]
    x = tensors(x=array)["x"]
    assert x is not None
    x, given = x._replace(address=x.address + shift), case.problem(precision, x_folded)
    if direction == "fprop":
        y = empty(t["dy"].shape, array.dtype)
        run_product("fprop", given, x=x, weight=t["weight"], bias=t["bias"], y=y, activation="relu")
        return [y]
    dweight, dbias = device(np.ones(t["weight"].shape), np.float32), empty(t["bias"].shape, np.float32)
    run_product("wgrad", given, x=x, dy=t["dy"], dweight=dweight, dbias=dbias, accumulate=True)
    return [dweight, dbias]


@every_precision
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
@small_case
def test_a_product_of_a_folded_input_has_the_bits_of_one_that_folds(case, direction, precision, monkeypatch):
    arrays = case.tensors(DTYPES[PRECISIONS[precision]])
    for force in ("", "splits=3"):
        monkeypatch.setenv("ALEXNET_CUDA_FORCE", force)
        for seed in (0, 1):
            with executor_seed(seed):
                folds, folded = (run(case, direction, precision, arrays, flag) for flag in (False, True))
            for actual, expected in zip(folded, folds, strict=True):
                assert_bits(actual, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_so_has_conv1(direction, precision):
    case = Case((1, 227, 227, 3, 96, 11, 11), (4, 4))
    arrays = case.tensors(DTYPES[precision])
    folds, folded = (run(case, direction, precision, arrays, flag) for flag in (False, True))
    for actual, expected in zip(folded, folds, strict=True):
        assert_bits(actual, expected)


@every_precision
def test_wgrad_of_odd_filters_takes_a_folded_input_too(precision):
    case = Case((2, 21, 18, 3, 13, 7, 6), (4, 3), (2, 1))
    choices = [
        _simt.conv2d_config(
            direction="wgrad", aligned=True, force="", problem=case.problem(precision, flag)
        )  # what would be folded for fprop alone
        for flag in (False, True)
    ]
    assert [(choice["fold"], choice["vector"]) for choice in choices] == [(False, False), (True, False)]
    arrays = case.tensors(DTYPES[PRECISIONS[precision]], whole=True)
    folds, folded = (run(case, "wgrad", precision, arrays, flag) for flag in (False, True))
    for actual, expected in zip(folded, folds, strict=True):
        assert_bits(actual, expected)


@every_precision
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_a_folded_input_needs_no_room_to_fold(direction, precision):
    plain, folded = (
        _simt.conv2d_config(
            direction=direction, aligned=True, force="", problem=CASES["conv1"].problem(precision, flag)
        )
        for flag in (False, True)
    )
    size = 2 * 57 * 57 * 48 * np.dtype(DTYPES[PRECISIONS[precision]]).itemsize
    assert plain.pop("workspace_bytes") - folded.pop("workspace_bytes") == -(-size // 256) * 256
    assert plain == folded


def augment(size: int, n: int, dtype: Any, *, reverse: bool, layout: FoldedLayout | None) -> Array:
    """Views of images, some mirrored, that are 4 and 2 pixels larger; the corners of the range are among them."""
    rng = np.random.default_rng(8)
    views = {
        "images": rng.integers(0, 256, (n, size + 4, size + 2, 3), dtype=np.uint8),
        "top": np.resize([4, 0, 1], n).astype(np.int64),
        "left": np.resize([0, 2, 1, 1], n).astype(np.int64),
        "mirrored": np.resize([False, True], n),
        "shift": rng.normal(0, 20, (n, 3)).astype(np.float32),
    }
    given = {name: device(values) for name, values in views.items()}
    y = empty((n, size, size, 3) if layout is None else (n, *layout.shape), dtype)
    colours = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "reverse_channels": reverse}
    _simt.augment(**tensors(**given, y=y), **colours, folded=layout, stream=0)
    return y


# Of square images of 3 channels: size, filter, stride, padding.
INPUTS = {
    "paper": (227, (11, 11), (4, 4), (0, 0)),
    "torchvision": (224, (11, 11), (4, 4), (2, 2)),
    "the last cells partly outside": (41, (11, 11), (4, 4), (0, 0)),
    "lopsided": (21, (7, 6), (4, 3), (2, 1)),
    "cells of one position": (9, (3, 2), (1, 1), (1, 0)),
    "cells of two": (11, (2, 3), (2, 1), (0, 1)),
    "stride beyond the filter": (17, (2, 3), (3, 5), (1, 0)),
    "cells wholly in the padding": (6, (3, 2), (1, 2), (3, 4)),
    "one cell": (3, (3, 3), (3, 3), (0, 0)),
    "one pixel": (1, (1, 1), (1, 1), (0, 0)),
}


@every_dtype
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", INPUTS)
def test_augment_writes_what_a_fold_of_its_views_would(name, reverse, dtype):
    size, kernel, stride, padding = INPUTS[name]
    layout = conv2d.folded_layout((size, size, 3), kernel, stride=stride, padding=padding, dtype=DTYPES[dtype])
    assert layout is not None
    n = 2 if size > 100 else 5
    expected = run_fold(augment(size, n, DTYPES[dtype], reverse=reverse, layout=None), layout)
    for seed in (0, 1):
        with executor_seed(seed):
            assert_bits(augment(size, n, DTYPES[dtype], reverse=reverse, layout=layout), expected)


@every_dtype
def test_augment_of_no_images(dtype):
    layout = conv2d.folded_layout((21, 21, 3), (7, 6), stride=(4, 3), dtype=DTYPES[dtype])
    assert augment(21, 0, DTYPES[dtype], reverse=False, layout=layout).size == 0


FOLD = FoldedLayout((9, 8, 3), (2, 2), (1, 0), (5, 4, 12))
FOLD_TENSORS = {"x": Tensor("x", 0, "float32", (0, 9, 8, 3)), "folded": Tensor("folded", 0, "float32", (0, 5, 4, 12))}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unfolded": (9, 8, 0)}, "^C is 0; expected 1 to"),
        ({"unfolded": (2**20, 2**20, 3)}, r"^H \* W is more than"),
        ({"stride": (0, 2)}, "^stride is 0; expected 1 to"),
        ({"padding": (0, -1)}, "^padding is -1; expected 0 to"),
        ({"padding": (0, 2**29)}, "^padding is 536870912; expected 0 to 357913941"),
        ({"shape": (5, 4, 8)}, r"^the folded extents are 5 x 4 x 8; expected .* C = 12 and whole 16 bytes, 4 each"),
        ({"shape": (5, 4, 13)}, "^the folded extents are 5 x 4 x 13; expected"),
        ({"shape": (0, 4, 12)}, "^the folded extents are 0 x 4 x 12; expected"),
        ({"shape": (5, -4, 12)}, "^folded width is -4"),
        ({"stride": (2**15, 2**15), "shape": (1, 1, 12)}, r"^stride \* stride \* C is more than"),
        ({"x": {"dtype": "bfloat16"}}, "^the folded extents are 5 x 4 x 12; expected .* 8 each"),
        ({"x": {"shape": (2**28, 9, 8, 3)}}, r"^N \* folded height \* folded width is 5368709120; expected"),
        ({"x": {"dtype": "float64"}}, "^x is of float64"),
        ({"x": {"shape": (0, 9, 8, 4)}}, r"^x has the shape \[0, 9, 8, 4\]; expected \[0, 9, 8, 3\]"),
        ({"folded": {"shape": (0, 5, 4, 8)}}, r"^folded has the shape \[0, 5, 4, 8\]; expected \[0, 5, 4, 12\]"),
        ({"folded": {"address": 4}}, "^folded is at address 4; expected a multiple of 16"),
    ],
    ids=str,
)
def test_fold_names_what_it_refuses(change, words):
    given = {name: tensor._replace(**change.pop(name, {})) for name, tensor in FOLD_TENSORS.items()}
    with pytest.raises(ValueError, match=words):
        _simt.conv2d_fold(layout=replace(FOLD, **change), **given, stream=0)


def test_fold_refuses_to_write_over_its_input():
    room = empty((2, 5, 4, 12), np.float32)
    given = tensors(x=room.reshape(-1)[: 2 * 9 * 8 * 3].reshape(2, 9, 8, 3), folded=room)
    with pytest.raises(ValueError, match=r"^folded overlaps x; expected memory of its own"):
        _simt.conv2d_fold(layout=FOLD, **given, stream=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (3, 3, 8)}, "^the folded extents are 3 x 3 x 8; expected"),
        ({"stride": (0, 2)}, "^stride is 0"),
        ({"unfolded": (5, 5, 4)}, "^folded is of views 5 x 5 x 4; expected square ones of 3 channels"),
        ({"y": 8}, "^y is at address .*; expected a multiple of 16"),
        ({"y": 16}, "^y is at address .*, from which 864 bytes are not in one buffer"),
    ],
    ids=str,
)
def test_augment_names_what_it_refuses(change, words):
    change = dict(change)
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "images": ((2, 8, 7, 3), np.uint8),
        "top": ((2,), np.int64),
        "left": ((2,), np.int64),
        "mirrored": ((2,), np.uint8),
        "shift": ((2, 3), np.float32),
    }
    arrays = {name: empty(shape, dtype) for name, (shape, dtype) in shapes.items()}
    shift = change.pop("y", 0)
    layout = replace(FoldedLayout((5, 5, 3), (2, 2), (0, 0), (3, 3, 12)), **change)
    y = empty((2, *layout.shape), np.float32)
    arguments = tensors(**arrays, y=y)
    assert arguments["y"] is not None
    arguments["y"] = arguments["y"]._replace(address=y.ctypes.data + shift)
    colours = {"mean": (0, 0, 0), "std": (1, 1, 1), "reverse_channels": False}
    with pytest.raises(ValueError, match=words):
        _simt.augment(**arguments, **colours, folded=layout, stream=0)


@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_a_folded_input_lies_on_16_bytes(direction):
    case = Case((2, 9, 8, 3, 8, 3, 3), (2, 2))
    with pytest.raises(ValueError, match=r"^x is at address \d+; expected a multiple of 16"):
        run(case, direction, "float32", case.tensors(np.float32), True, shift=4)
