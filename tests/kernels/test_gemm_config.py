"""Launch choice of convolution and fully connected layers: pure functions of the problem, asked through `_simt`."""

from __future__ import annotations

import math
from typing import Any

import pytest

from alexnet_cuda import _simt

DIRECTIONS = ("fprop", "dgrad", "wgrad")
PRECISIONS = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}
TILES = {(128, 128), (128, 96), (192, 48), (64, 64), (16, 128)}
# N, H, W, C, K, R, S; stride; padding; groups
CONV2D = {
    "conv1": ((128, 227, 227, 3, 96, 11, 11), 4, 0, 1),
    "conv2": ((128, 27, 27, 96, 256, 5, 5), 1, 2, 2),
    "conv3": ((128, 13, 13, 256, 384, 3, 3), 1, 1, 1),
    "conv4": ((128, 13, 13, 384, 384, 3, 3), 1, 1, 2),
    "conv5": ((128, 13, 13, 384, 256, 3, 3), 1, 1, 2),
    "lopsided": ((3, 9, 8, 24, 40, 3, 2), 2, 1, 2),
}
LINEAR = {"fc6": (128, 9216, 4096), "fc7": (128, 4096, 4096), "fc8": (128, 4096, 1000), "fc6 of one": (1, 9216, 4096)}


def conv2d(
    direction: str, shape: tuple[int, ...], stride: int = 1, padding: int = 0, groups: int = 1, **options: Any
) -> Any:
    defaults = {"precision": "bfloat16", "aligned": True, "force": "", "pitch": (0, 0, 0)}
    return _simt.conv2d_config(
        direction=direction,
        shape=shape,
        stride=(stride, stride),
        padding=(padding, padding),
        groups=groups,
        **{**defaults, **options},
    )


def linear(direction: str, shape: tuple[int, ...], **options: Any) -> Any:
    defaults = {"precision": "bfloat16", "aligned": True, "force": "", "pitch": (0, 0, 0)}
    return _simt.linear_config(direction=direction, shape=shape, **{**defaults, **options})


def check_choice(choice: Any) -> None:
    tile_m, tile_n, tile_k = choice["tile"]
    assert (tile_m, tile_n) in TILES
    tiles_k = math.ceil(choice["k"] / tile_k)
    per_split = math.ceil(tiles_k / choice["splits"])
    assert (choice["splits"] - 1) * per_split < tiles_k, "every split has work"
    tiles = math.ceil(choice["m"] / tile_m) * math.ceil(choice["n"] / tile_n)
    assert choice["blocks"] == tiles * choice["groups"] * choice["splits"]
    if choice["splits"] > 1:
        assert choice["workspace_bytes"] >= 4 * choice["splits"] * choice["groups"] * choice["m"] * choice["n"]
    assert f"{choice['blocks']} blocks" in choice["reason"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", CONV2D)
def test_conv2d(layer: str, direction: str, precision: str) -> None:
    shape, stride, padding, groups = CONV2D[layer]
    n, h, w, c, k, r, s = shape
    p, q = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    choice = conv2d(direction, shape, stride, padding, groups, precision=precision)
    check_choice(choice)
    assert choice["tile"][2] == 128 // PRECISIONS[precision]
    if not choice["fold"]:
        expected = {
            "fprop": (n * p * q, k // groups, r * s * c // groups),
            "dgrad": (n * h * w, c // groups, r * s * k // groups),
            "wgrad": (k // groups, r * s * c // groups, n * p * q),
        }
        assert (choice["m"], choice["n"], choice["k"]) == expected[direction]
    if layer != "lopsided":
        assert choice["vector"] == (layer != "conv1" or direction != "dgrad")
        # Of the work in a launch at most a third may be what the last round of blocks leaves idle.
        assert choice["blocks"] / (132 * math.ceil(choice["blocks"] / 132)) > 2 / 3


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("direction", ["fprop", "wgrad"])
def test_conv1_is_folded_to_48_channels(direction: str, precision: str) -> None:
    shape, stride, padding, groups = CONV2D["conv1"]
    choice = conv2d(direction, shape, stride, padding, groups, precision=precision)
    reduced = {"fprop": (128 * 55 * 55, 96, 432), "wgrad": (96, 432, 128 * 55 * 55)}
    assert choice["fold"]
    assert choice["vector"]
    assert (choice["m"], choice["n"], choice["k"]) == reduced[direction]
    assert choice["workspace_bytes"] >= 128 * 57 * 57 * 48 * PRECISIONS[precision]


def test_conv1_fprop_and_conv4_waste_no_columns() -> None:
    assert conv2d("fprop", *CONV2D["conv1"])["tile"][:2] == (128, 96)
    choice = conv2d("fprop", *CONV2D["conv4"])
    assert 192 % choice["tile"][1] == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_group_of_48_channels_wastes_no_columns(precision: str) -> None:
    """conv2's dgrad, and conv1 of one of two towers; modelled, a third less than with the best of the other tiles."""
    choice = conv2d("dgrad", *CONV2D["conv2"], precision=precision)
    assert choice["tile"][:2] == (192, 48)
    other = conv2d("dgrad", *CONV2D["conv2"], precision=precision, force="tile=64x64")
    assert choice["microseconds"] < 0.7 * other["microseconds"]
    (n, h, w, c, k, r, s), stride, padding, groups = CONV2D["conv1"]
    tower = conv2d("fprop", (n, h, w, c, k // 2, r, s), stride, padding, groups, precision=precision)
    assert tower["tile"][:2] == (192, 48)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", LINEAR)
def test_linear(layer: str, direction: str) -> None:
    rows, features, out = LINEAR[layer]
    choice = linear(direction, LINEAR[layer])
    check_choice(choice)
    expected = {"fprop": (rows, out, features), "dgrad": (rows, features, out), "wgrad": (out, features, rows)}
    assert (choice["m"], choice["n"], choice["k"]) == expected[direction]
    assert choice["vector"]
    assert choice["blocks"] >= 64, "one block an SM reads memory at its rate only where most SMs have one"


def test_one_image_takes_the_flat_tile() -> None:
    assert linear("fprop", LINEAR["fc6 of one"])["tile"][:2] == (16, 128)
    assert linear("wgrad", LINEAR["fc6 of one"])["tile"][:2] != (16, 128)


@pytest.mark.parametrize(
    ("shape", "groups", "pitch", "aligned", "vector"),
    [
        ((2, 7, 7, 16, 16, 3, 3), 1, (0, 0, 0), True, True),
        ((2, 7, 7, 16, 16, 3, 3), 1, (0, 0, 0), False, False),
        ((2, 7, 7, 24, 16, 3, 3), 2, (0, 0, 0), True, False),
        ((2, 7, 7, 16, 16, 3, 3), 1, (17, 0, 0), True, False),
        ((2, 7, 7, 16, 16, 3, 3), 1, (24, 0, 24), True, True),
        ((2, 7, 7, 16, 16, 3, 3), 1, (0, 0, 20), True, False),
    ],
)
def test_vectors_need_whole_chunks(
    shape: tuple[int, ...], groups: int, pitch: tuple[int, ...], aligned: bool, vector: bool
) -> None:
    choice = conv2d("fprop", shape, groups=groups, pitch=pitch, aligned=aligned)
    assert choice["vector"] == vector
    if not vector:
        assert choice["tile"][:2] == (64, 64)


def test_odd_channels_are_folded_only_in_one_dense_group() -> None:
    shape = (2, 9, 9, 6, 16, 3, 3)
    assert conv2d("fprop", shape)["fold"]
    assert conv2d("fprop", shape, aligned=False)["vector"], "the folded copies are aligned whatever was given"
    assert conv2d("wgrad", shape)["fold"]
    assert not conv2d("wgrad", shape, aligned=False)["fold"]
    assert not conv2d("dgrad", shape)["fold"]
    assert not conv2d("fprop", shape, groups=2)["fold"]
    assert not conv2d("fprop", shape, pitch=(8, 0, 0))["fold"]


def test_the_choice_is_the_least_of_the_model() -> None:
    best = conv2d("wgrad", *CONV2D["conv3"])
    for tile in ("128x128", "128x96", "64x64"):
        for splits in range(1, 70):
            forced = conv2d("wgrad", *CONV2D["conv3"], force=f"tile={tile},splits={splits}")
            if forced["splits"] in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
                assert best["microseconds"] <= forced["microseconds"]


def test_pins() -> None:
    choice = conv2d("fprop", *CONV2D["conv2"], force="tile=64x64,splits=3")
    assert choice["tile"] == (64, 64, 64)
    assert choice["splits"] == 3
    assert "pinned" in choice["reason"]
    assert conv2d("fprop", *CONV2D["conv2"], force="splits=5")["splits"] == 5
    assert conv2d("wgrad", *CONV2D["conv2"], force="tile=192x48")["tile"] != (192, 48, 64), "does not fit"
    assert conv2d("wgrad", *CONV2D["conv2"], force="tile=16x128")["tile"] != (16, 128, 64), "does not fit"


@pytest.mark.parametrize("force", ["tile=1x1", "splits=0", "splits=x", "speed=11", "tile"])
def test_bad_pins(force: str) -> None:
    with pytest.raises(ValueError, match=r"ALEXNET_CUDA_FORCE has .* expected tile=128x128, .* or splits=1 to 999"):
        conv2d("fprop", *CONV2D["conv2"], force=force)


def test_workspace_serves_every_alignment() -> None:
    for direction in DIRECTIONS:
        for layer in CONV2D.values():
            shape, stride, padding, groups = layer
            needed = _simt.conv2d_workspace_bytes(
                direction=direction,
                shape=shape,
                stride=(stride, stride),
                padding=(padding, padding),
                groups=groups,
                pitch=(0, 0, 0),
                precision="bfloat16",
            )
            assert needed == max(conv2d(direction, *layer, aligned=a)["workspace_bytes"] for a in (True, False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (-1, 7, 7, 16, 16, 3, 3)}, "N is -1; expected 0 to"),
        ({"shape": (1, 7, 7, 16, 0, 3, 3)}, "K is 0; expected 1 to"),
        ({"shape": (1, 2, 7, 16, 16, 3, 3)}, "the filter is 3 x 3; expected one that fits the padded input"),
        ({"groups": 3}, "groups is 3 for C = 16 and K = 16; expected a divisor of both"),
        ({"pitch": (8, 0, 0)}, "a pitch is less than its channels"),
        ({"shape": (1 << 16, 1 << 8, 1 << 8, 16, 16, 3, 3)}, "expected fewer than 2\\^31"),
        ({"shape": (1, 1 << 14, 1 << 14, 16, 16, 3, 3)}, "an image is too large"),
        ({"precision": "float64"}, 'precision is "float64"; expected float32, tf32, bfloat16 or float16'),
        ({"direction": "sideways"}, 'direction is "sideways"; expected fprop, dgrad or wgrad'),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"direction": "fprop", "shape": (1, 7, 7, 16, 16, 3, 3), **change}
    with pytest.raises(ValueError, match=message):
        conv2d(**arguments)
