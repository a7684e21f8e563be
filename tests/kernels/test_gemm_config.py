"""Launch choice of convolution and fully connected layers: pure functions of the problem, asked through `_simt`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from alexnet_cuda import _simt

from .guarded import DTYPES, assert_bits, device, empty, problem, run_product

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


# Multiprocessors, and shared memory of one: an H200's, an A100's, an A10's, an RTX 4090's, a B200's.
MACHINES = [(132, 228), (108, 164), (72, 100), (128, 100), (148, 228)]


def conv2d(
    direction: str,
    shape: tuple[int, ...],
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    *,
    precision: str = "bfloat16",
    pitch: tuple[int, int, int] = (0, 0, 0),
    **options: Any,
) -> Any:
    given = problem(shape, precision, stride=(stride, stride), padding=(padding, padding), groups=groups, pitch=pitch)
    return _simt.conv2d_config(**{"direction": direction, "problem": given, "aligned": True, "force": "", **options})


linear = conv2d  # with three sizes


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
    assert f"{choice['blocks']} blocks on 132 SMs, {choice['resident_blocks']} at once" in choice["reason"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", CONV2D)
def test_conv2d(layer, direction, precision):
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
def test_conv1_is_folded_to_48_channels(direction, precision):
    shape, stride, padding, groups = CONV2D["conv1"]
    choice = conv2d(direction, shape, stride, padding, groups, precision=precision)
    reduced = {"fprop": (128 * 55 * 55, 96, 432), "wgrad": (96, 432, 128 * 55 * 55)}
    assert choice["fold"]
    assert choice["vector"]
    assert (choice["m"], choice["n"], choice["k"]) == reduced[direction]
    assert choice["workspace_bytes"] >= 128 * 57 * 57 * 48 * PRECISIONS[precision]


def test_conv1_fprop_and_conv4_waste_no_columns():
    assert conv2d("fprop", *CONV2D["conv1"])["tile"][:2] == (128, 96)
    choice = conv2d("fprop", *CONV2D["conv4"])
    assert 192 % choice["tile"][1] == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_group_of_48_channels_wastes_no_columns(precision):
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
def test_linear(layer, direction):
    rows, features, out = LINEAR[layer]
    choice = linear(direction, LINEAR[layer])
    check_choice(choice)
    expected = {"fprop": (rows, out, features), "dgrad": (rows, features, out), "wgrad": (out, features, rows)}
    assert (choice["m"], choice["n"], choice["k"]) == expected[direction]
    assert choice["vector"]
    assert choice["blocks"] >= 64, "one block an SM reads memory at its rate only where most SMs have one"


def test_one_image_takes_the_flat_tile():
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
def test_vectors_need_multiples_of_16_bytes(shape, groups, pitch, aligned, vector):
    choice = conv2d("fprop", shape, groups=groups, pitch=pitch, aligned=aligned)
    assert choice["vector"] == vector
    if not vector:
        assert choice["tile"][:2] == (64, 64)


def test_odd_channels_are_folded_only_in_one_dense_group():
    shape = (2, 9, 9, 6, 16, 3, 3)
    assert conv2d("fprop", shape)["fold"]
    assert conv2d("fprop", shape, aligned=False)["vector"], "the folded copies are aligned whatever was given"
    assert conv2d("wgrad", shape)["fold"]
    assert not conv2d("wgrad", shape, aligned=False)["fold"]
    assert not conv2d("dgrad", shape)["fold"]
    assert not conv2d("fprop", shape, groups=2)["fold"]
    assert not conv2d("fprop", shape, pitch=(8, 0, 0))["fold"]


def test_the_choice_is_the_least_of_the_model():
    best = conv2d("wgrad", *CONV2D["conv3"])
    for tile in ("128x128", "128x96", "64x64"):
        for splits in range(1, 70):
            forced = conv2d("wgrad", *CONV2D["conv3"], force=f"tile={tile},splits={splits}")
            if forced["splits"] in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
                assert best["microseconds"] <= forced["microseconds"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("multiprocessors", "kibibytes"), MACHINES)
def test_blocks_at_once(precision, multiprocessors, kibibytes):
    """As many as registers allow (by __launch_bounds__) and as fit the shared memory of docs/kernels/conv2d.md."""
    machine = {"multiprocessors": multiprocessors, "multiprocessor_bytes": kibibytes * 1024}
    large = {"128x128": (1, 96), "128x96": (1, 96), "192x48": (1, 96)}
    small = {"64x64": (2 if precision == "float32" else 3, 64), "16x128": (3, 72)}
    for tile, (registers, memory) in {**large, **small}.items():
        choice = conv2d("fprop", *CONV2D["conv4"], precision=precision, force=f"tile={tile}", **machine)
        assert choice["resident_blocks"] == min(registers, kibibytes // (memory + 1))


def test_blocks_that_run_at_once_start_at_once():
    """Four 64 x 64 blocks an SM, three at once: 4 times the products, twice the start."""
    shape = (132 * 4, 64, 64, 64, 64, 1, 1)  # as many positions as 132 * 4 * 64 blocks of 64
    time = conv2d("fprop", shape, force="tile=64x64,splits=1")["microseconds"]
    blocks = 4 * 64
    products = 2 * 64 * 64 * 64 / (3.3e6 * 0.7)
    assert time == pytest.approx(blocks * products + math.ceil(blocks / 3) * 1.5)


def test_of_the_machine_the_tile_alone_depends():
    """Splits decide the order of additions: the same on every GPU, and on the CPU executor."""
    differing = 0
    for precision in PRECISIONS:
        for direction in DIRECTIONS:
            for batch in (1, 128):
                for ask, (first, *rest) in [
                    *((conv2d, layer) for layer in CONV2D.values()),
                    *((linear, (layer,)) for layer in LINEAR.values()),
                ]:
                    choices = [
                        ask(
                            direction,
                            (batch, *first[1:]),
                            *rest,
                            precision=precision,
                            multiprocessors=multiprocessors,
                            multiprocessor_bytes=kibibytes * 1024,
                        )
                        for multiprocessors, kibibytes in MACHINES
                    ]
                    for key in ("splits", "fold", "vector", "workspace_bytes", "m", "n", "k"):
                        assert len({choice[key] for choice in choices}) == 1
                    differing += len({choice["tile"] for choice in choices}) > 1
    assert differing > 50


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_tile_gives_the_same_bits(direction, precision, monkeypatch):
    """So the machine may choose it. Three tiles of reduction and more, in one go and in two splits."""
    rows, inputs, outputs = {"fprop": (20, 232, 56), "dgrad": (20, 56, 232), "wgrad": (232, 24, 56)}[direction]
    dtype = DTYPES.get(precision, np.float32)
    rng = np.random.default_rng(5)
    sizes = {"x": (rows, inputs), "y": (rows, outputs), "weight": (outputs, inputs)}
    given = {name: device(rng.standard_normal(size), dtype) for name, size in sizes.items()}
    x, y, weight = given.values()
    for splits in (1, 2):
        results = {}
        for tile in ("128x128", "128x96", "192x48", "64x64", "16x128"):
            force = f"tile={tile},splits={splits}"
            choice = linear(direction, (rows, inputs, outputs), precision=precision, force=force)
            assert choice["splits"] == splits
            monkeypatch.setenv("ALEXNET_CUDA_FORCE", force)
            out = empty(sizes[{"fprop": "y", "dgrad": "x", "wgrad": "weight"}[direction]], np.float32)
            arrays = {
                "fprop": {"x": x, "weight": weight, "y": out},
                "dgrad": {"dy": y, "weight": weight, "dx": out},
                "wgrad": {"x": x, "dy": y, "dweight": out},
            }[direction]
            run_product(direction, problem((rows, inputs, outputs), precision), **arrays)
            results[choice["tile"]] = out
        assert len(results) == (3 if direction == "wgrad" else 5)
        first, *others = results.values()
        for other in others:
            assert_bits(other, first)


def test_pins():
    choice = conv2d("fprop", *CONV2D["conv2"], force="tile=64x64,splits=3")
    assert choice["tile"] == (64, 64, 64)
    assert choice["splits"] == 3
    assert "pinned" in choice["reason"]
    assert conv2d("fprop", *CONV2D["conv2"], force="splits=5")["splits"] == 5
    most = conv2d("fprop", *CONV2D["conv2"], force="splits=999")
    assert most["splits"] == 19, "one for each tile of the reduction, 25 * 48 by 64"
    assert "19 splits (999 pinned)" in most["reason"]
    assert conv2d("wgrad", *CONV2D["conv2"], force="tile=192x48")["tile"] != (192, 48, 64), "does not fit"
    assert conv2d("wgrad", *CONV2D["conv2"], force="tile=16x128")["tile"] != (16, 128, 64), "does not fit"


def test_more_blocks_than_a_grid_has():
    assert conv2d("wgrad", (64, 27, 37, 8 * 65, 8 * 65, 1, 1), groups=65, force="splits=999")["splits"] == 999
    with pytest.raises(
        ValueError, match=r"^a matrix product of 66 .* in 999 splits \(ALEXNET_CUDA_FORCE\) .* and 65535 groups times"
    ):
        conv2d("wgrad", (64, 27, 37, 8 * 66, 8 * 66, 1, 1), groups=66, force="splits=999")
    rows = 2**30
    assert linear("fprop", (rows, 8, 2**14))["blocks"] < 2**31
    with pytest.raises(ValueError, match=r"^a matrix product .* too many blocks; expected at most 2147483647 tiles"):
        linear("fprop", (rows, 8, 2**14), aligned=False)
    with pytest.raises(ValueError, match=r"^a tensor is too large; expected at most 2\^44 elements"):
        linear("wgrad", (1, 2**28, 2**28))


@pytest.mark.parametrize("force", ["tile=1x1", "splits=0", "splits=x", "speed=11", "tile"])
def test_bad_pins(force):
    with pytest.raises(ValueError, match=r"ALEXNET_CUDA_FORCE has .* expected tile=128x128, .* or splits=1 to 999"):
        conv2d("fprop", *CONV2D["conv2"], force=force)


def test_a_product_is_planned_once_for_each_setting(monkeypatch):
    arrays = {"x": empty((3, 17), np.float32), "weight": empty((29, 17), np.float32), "y": empty((3, 29), np.float32)}
    counts = []
    for force in ("splits=5", "splits=5", "splits=7", "splits=7"):
        monkeypatch.setenv("ALEXNET_CUDA_FORCE", force)
        before = _simt.conv2d_plan_count()
        run_product("fprop", problem((3, 17, 29), "float32"), **arrays)
        counts.append(_simt.conv2d_plan_count() - before)
    assert counts == [2, 0, 2, 0], "for operands on 16 bytes and for others"


def test_workspace_serves_every_alignment():
    for direction in DIRECTIONS:
        for layer in CONV2D.values():
            shape, stride, padding, groups = layer
            options = {"stride": (stride, stride), "padding": (padding, padding), "groups": groups}
            needed = _simt.conv2d_workspace_bytes(direction=direction, problem=problem(shape, "bfloat16", **options))
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
def test_refusals(change, message):
    arguments: dict[str, Any] = {"direction": "fprop", "shape": (1, 7, 7, 16, 16, 3, 3), **change}
    with pytest.raises(ValueError, match=message):
        conv2d(**arguments)
