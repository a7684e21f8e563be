"""Inputs that come folded: what `augment` and `conv2d_fold` write, and the products that take it, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import _simt
from alexnet_cuda.backends.cpu import fold as reference
from alexnet_cuda.base.params import FoldedLayout
from alexnet_cuda.ops import conv2d

from .guarded import DTYPES, Array, assert_bits, at, device, empty, executor_seed

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

    def problem(self, precision: str, **options: Any) -> dict[str, Any]:
        problem = {"shape": self.shape, "stride": self.stride, "padding": self.padding, "groups": 1}
        return {**problem, "pitch": (0, 0, 0), "precision": precision, **options}

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
def test_python_and_kernels_agree_on_the_layout(case: Case, direction: str, precision: str) -> None:
    choice = _simt.conv2d_config(direction=direction, aligned=True, force="", **case.problem(precision))
    assert choice["fold"]
    assert choice["x_shape"] == (case.shape[0], *case.layout(DTYPES[PRECISIONS[precision]]).shape)


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (12, 1), (6, 2), (3, 3), (16, 2)])
@every_dtype
def test_python_and_kernels_agree_on_what_is_not_folded(channels: int, groups: int, dtype: str) -> None:
    shape, options = (2, 9, 8, channels, 6, 3, 2), {"stride": (2, 1), "padding": (1, 0), "groups": groups}
    pitch = (0, 0, 0)
    choice = _simt.conv2d_config(
        direction="fprop", aligned=True, force="", shape=shape, pitch=pitch, precision=dtype, **options
    )
    layout = conv2d.folded_layout(shape[1:4], shape[5:], dtype=DTYPES[dtype], **options)
    assert (layout is not None) == choice["fold"]
    if layout is None:
        with pytest.raises(ValueError, match=r"x is folded, of \d groups and \d+ channels; expected one dense group"):
            _simt.conv2d_config(
                direction="fprop",
                aligned=True,
                force="",
                shape=shape,
                pitch=pitch,
                precision=dtype,
                x_folded=True,
                **options,
            )


def run_fold(x: Array, layout: FoldedLayout) -> Array:
    folded = empty((x.shape[0], *layout.shape), x.dtype)
    _simt.conv2d_fold(
        **at(x=x, folded=folded),
        shape=x.shape,
        stride=layout.stride,
        padding=layout.padding,
        fold_shape=layout.shape,
        dtype=x.dtype.name,
        stream=0,
    )
    return folded


@every_dtype
@pytest.mark.parametrize("shift", [0, 1])
@every_case
def test_fold(case: Case, shift: int, dtype: str) -> None:
    given = case.tensors(DTYPES[dtype])["x"]
    x = empty(given.size + shift, given.dtype)[shift:].reshape(given.shape)
    x[...] = given
    layout = case.layout(given.dtype)
    expected = np.full((len(x), *layout.shape), np.nan, given.dtype)
    reference.fold(given, layout, expected)
    for seed in (0, 1):
        with executor_seed(seed):
            assert_bits(run_fold(x, layout), expected)


def run_product(
    case: Case, direction: str, precision: str, t: dict[str, Array], x_folded: bool, shift: int = 0
) -> list[Array]:
    """Give y of fprop, or dweight and dbias of wgrad, of an x that begins so many bytes later."""
    problem = case.problem(precision, x_folded=x_folded)
    room = empty(_simt.conv2d_workspace_bytes(direction=direction, **problem), np.uint8)
    x = run_fold(t["x"], case.layout(t["x"].dtype)) if x_folded else t["x"]
    common = {**at(x=x, workspace=room), **problem, "workspace_bytes": room.size, "stream": 0}
    common["x"] += shift
    if direction == "fprop":
        y = empty(t["dy"].shape, x.dtype)
        _simt.conv2d_fprop(
            **at(weight=t["weight"], bias=t["bias"], addend=None, y=y), y_float=False, activation="relu", **common
        )
        return [y]
    dweight, dbias = device(np.ones(t["weight"].shape), np.float32), empty(t["bias"].shape, np.float32)
    _simt.conv2d_wgrad(**at(dy=t["dy"], dweight=dweight, dbias=dbias), accumulate=True, **common)
    return [dweight, dbias]


@every_precision
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
@small_case
def test_a_product_of_a_folded_input_has_the_bits_of_one_that_folds(
    case: Case, direction: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = case.tensors(DTYPES[PRECISIONS[precision]])
    for force in ("", "splits=3"):
        monkeypatch.setenv("ALEXNET_CUDA_FORCE", force)
        for seed in (0, 1):
            with executor_seed(seed):
                folds, folded = (run_product(case, direction, precision, tensors, flag) for flag in (False, True))
            for actual, expected in zip(folded, folds, strict=True):
                assert_bits(actual, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_so_has_conv1(direction: str, precision: str) -> None:
    case = Case((1, 227, 227, 3, 96, 11, 11), (4, 4))
    tensors = case.tensors(DTYPES[precision])
    folds, folded = (run_product(case, direction, precision, tensors, flag) for flag in (False, True))
    for actual, expected in zip(folded, folds, strict=True):
        assert_bits(actual, expected)


@every_precision
def test_wgrad_of_odd_filters_takes_a_folded_input_too(precision: str) -> None:
    case = Case((2, 21, 18, 3, 13, 7, 6), (4, 3), (2, 1))
    choices = [
        _simt.conv2d_config(
            direction="wgrad", aligned=True, force="", **case.problem(precision, x_folded=flag)
        )  # what would be folded for fprop alone
        for flag in (False, True)
    ]
    assert [(choice["fold"], choice["vector"]) for choice in choices] == [(False, False), (True, False)]
    tensors = case.tensors(DTYPES[PRECISIONS[precision]], whole=True)
    folds, folded = (run_product(case, "wgrad", precision, tensors, flag) for flag in (False, True))
    for actual, expected in zip(folded, folds, strict=True):
        assert_bits(actual, expected)


@every_precision
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_a_folded_input_needs_no_room_to_fold(direction: str, precision: str) -> None:
    problem = CASES["conv1"].problem(precision)
    plain, folded = (
        _simt.conv2d_config(direction=direction, aligned=True, force="", **problem, x_folded=flag)
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
    fold = {} if layout is None else {"stride": layout.stride, "padding": layout.padding, "shape": layout.shape}
    _simt.augment(
        **at(**given, y=y),
        count=n,
        height=size + 4,
        width=size + 2,
        size=size,
        channels=3,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        reverse_channels=reverse,
        dtype=np.dtype(dtype).name,
        stream=0,
        **{f"fold_{name}": value for name, value in fold.items()},
    )
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
def test_augment_writes_what_a_fold_of_its_views_would(name: str, reverse: bool, dtype: str) -> None:
    size, kernel, stride, padding = INPUTS[name]
    layout = conv2d.folded_layout((size, size, 3), kernel, stride=stride, padding=padding, dtype=DTYPES[dtype])
    assert layout is not None
    n = 2 if size > 100 else 5
    expected = run_fold(augment(size, n, DTYPES[dtype], reverse=reverse, layout=None), layout)
    for seed in (0, 1):
        with executor_seed(seed):
            assert_bits(augment(size, n, DTYPES[dtype], reverse=reverse, layout=layout), expected)


@every_dtype
def test_augment_of_no_images(dtype: str) -> None:
    layout = conv2d.folded_layout((21, 21, 3), (7, 6), stride=(4, 3), dtype=DTYPES[dtype])
    assert augment(21, 0, DTYPES[dtype], reverse=False, layout=layout).size == 0


FOLD = {"shape": (2, 9, 8, 3), "stride": (2, 2), "padding": (1, 0), "fold_shape": (5, 4, 12), "dtype": "float32"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (-1, 9, 8, 3)}, "^N is -1"),
        ({"shape": (2, 9, 8, 0)}, "^C is 0; expected 1 to"),
        ({"shape": (2, 2**20, 2**20, 3)}, r"^H \* W is more than"),
        ({"stride": (0, 2)}, "^stride is 0; expected 1 to"),
        ({"padding": (0, -1)}, "^padding is -1; expected 0 to"),
        ({"padding": (0, 2**29)}, "^padding is 536870912; expected 0 to 357913941"),
        (
            {"fold_shape": (5, 4, 8)},
            r"^the folded extents are 5 x 4 x 8; expected .* C = 12 and whole 16 bytes, 4 each",
        ),
        ({"fold_shape": (5, 4, 13)}, "^the folded extents are 5 x 4 x 13; expected"),
        ({"dtype": "bfloat16"}, "^the folded extents are 5 x 4 x 12; expected .* 8 each"),
        ({"fold_shape": (0, 4, 12)}, "^the folded extents are 0 x 4 x 12; expected"),
        ({"fold_shape": (5, -4, 12)}, "^folded width is -4"),
        ({"stride": (2**15, 2**15), "fold_shape": (1, 1, 12)}, r"^stride \* stride \* C is more than"),
        ({"shape": (2**28, 9, 8, 3)}, r"^N \* folded height \* folded width is 5368709120; expected"),
        ({"dtype": "float64"}, "^dtype is"),
        ({"folded": 0}, "^folded is a null pointer"),
        ({"folded": 4}, "^folded is at address .*; expected a multiple of 16"),
        ({"x": 0}, "^x is a null pointer"),
    ],
    ids=str,
)
def test_fold_names_what_it_refuses(change: dict[str, Any], words: str) -> None:
    x, folded = empty(2 * 9 * 8 * 3, np.float32), empty(2 * 5 * 4 * 12 + 4, np.float32)
    addresses = at(x=x, folded=folded)
    for name in ("x", "folded"):
        if name in change:
            addresses[name] = change[name] and addresses[name] + change[name]
    with pytest.raises(ValueError, match=words):
        _simt.conv2d_fold(**{**FOLD, **change, **addresses}, stream=0)


def test_fold_refuses_to_write_over_its_input() -> None:
    room = empty(2 * 5 * 4 * 12, np.float32)
    with pytest.raises(ValueError, match=r"^folded overlaps x; expected memory of its own"):
        _simt.conv2d_fold(**FOLD, **at(x=room, folded=room), stream=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fold_shape": (3, 3, 8)}, "^the folded extents are 3 x 3 x 8; expected"),
        ({"fold_stride": (0, 2)}, "^stride is 0"),
        ({"channels": 4}, "^channels is 4; expected 3 to 3"),
        ({"y": 8}, "^y is at address .*; expected a multiple of 16"),
        ({"y": 16}, "^y is at address .*, from which 864 bytes are not in one buffer"),
    ],
    ids=str,
)
def test_augment_names_what_it_refuses(change: dict[str, Any], words: str) -> None:
    names = {"images": np.uint8, "top": np.int64, "left": np.int64, "mirrored": np.uint8, "shift": np.float32}
    arrays = {name: empty(1000, dtype) for name, dtype in names.items()}
    y = empty((2, 3, 3, 12), np.float32)
    arguments: dict[str, Any] = at(**arrays)
    arguments |= {"count": 2, "height": 8, "width": 7, "size": 5, "channels": 3, "reverse_channels": False}
    arguments |= {"mean": (0, 0, 0), "std": (1, 1, 1), "dtype": "float32", "stream": 0}
    arguments |= {"fold_stride": (2, 2), "fold_padding": (0, 0), "fold_shape": (3, 3, 12), **change}
    arguments["y"] = at(y=y)["y"] + change.get("y", 0)
    with pytest.raises(ValueError, match=words):
        _simt.augment(**arguments)


@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_a_folded_input_lies_on_16_bytes(direction: str) -> None:
    case = Case((2, 9, 8, 3, 8, 3, 3), (2, 2))
    with pytest.raises(ValueError, match=r"^x is at address \d+; expected a multiple of 16"):
        run_product(case, direction, "float32", case.tensors(np.float32), True, shift=4)
