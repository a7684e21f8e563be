"""LRN, pools, LRN with max-pool and augmentation where no GPU is needed: launch choice."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import math

import pytest

from alexnet_cuda.base.params import PoolParams
from alexnet_cuda.ops import max_pool

# `_simt` is always built; `_cuda` not with ALEXNET_CUDA_BUILD=cpu.
MODULES = ["_simt", *(["_cuda"] if importlib.util.find_spec("alexnet_cuda._cuda") else [])]

DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}
GRID_LIMIT = 2**31 - 1


@pytest.fixture(params=MODULES, scope="module")
def extension(request):
    return importlib.import_module(f"alexnet_cuda.{request.param}")


def check_row_config(config: dict[str, int], images: int, packs: int) -> None:
    """Every pack has its thread, no block is idle, and no other block size leaves fewer threads idle."""
    block = config["block"]
    assert block % 32 == 0
    assert 32 <= block <= 256
    assert config["blocks_per_image"] == max(1, -(-packs // block))
    assert config["grid"] == images * config["blocks_per_image"] <= GRID_LIMIT
    if packs > 128:
        assert block >= 128
        idle = {b: -packs % b for b in range(128, 257, 32)}
        assert idle[block] == min(idle.values())


def test_more_blocks_than_a_grid_has(extension):
    arguments = {"images": GRID_LIMIT, "pixels": 22, "channels": 12, "groups": 1, "size": 3, "dtype": "float32"}
    with pytest.raises(
        ValueError, match=r"^the tensor needs 4294967294 blocks of threads; expected at most 2147483647"
    ):
        extension.lrn_bprop_config(**arguments, aligned=True)


def test_the_largest_tensors_fit_a_grid(extension):
    most = extension.softmax_cross_entropy_config(rows=GRID_LIMIT, classes=5)
    assert most["grid"] == GRID_LIMIT
    with pytest.raises(ValueError, match=r"^rows is 2147483648; expected 0 to 2147483647"):
        extension.softmax_cross_entropy_config(rows=GRID_LIMIT + 1, classes=5)
    for rows, columns in ((2**13, GRID_LIMIT), (2**44, 1)):
        sums = extension.bias_bprop_config(rows=rows, columns=columns, dtype="float32")
        assert sums["grid"] <= GRID_LIMIT
        assert sums["splits"] <= 65535
    assert extension.elementwise_config(count=2**44, dtype="float32", vectors=False)["grid"] == 16 * 132


def test_the_machine(extension):
    """Elementwise: whole waves. LRN with max-pool: four blocks a multiprocessor, and more blocks for more of those."""
    shape = {"images": 2, "height": 55, "width": 55, "channels": 96, "groups": 2, "size": 5}
    options = {**shape, "pool": PoolParams(3, 2, output=(27, 27)), "dtype": "bfloat16", "aligned": True}
    grids = []
    for multiprocessors, kibibytes in ((72, 100), (108, 164), (132, 228), (170, 100)):
        machine = {"multiprocessors": multiprocessors}
        elementwise = extension.elementwise_config(count=10**9, dtype="float32", vectors=True, **machine)
        assert elementwise["grid"] == 16 * multiprocessors
        config = extension.lrn_max_pool_fprop_config(**options, **machine, multiprocessor_bytes=kibibytes * 1024)
        assert 4 * (config["shared_bytes"] + 1024) <= kibibytes * 1024
        grids.append(config["grid"])
    assert grids == sorted(set(grids))


LRN_SHAPES = [(128, 55 * 55, 96, 2), (128, 27 * 27, 256, 1), (1, 1, 8, 1), (3, 7, 12, 2), (2, 5, 22, 2), (1, 9, 1, 1)]


@pytest.mark.parametrize(("dtype", "width"), DTYPES.items())
@pytest.mark.parametrize("shape", LRN_SHAPES)
@pytest.mark.parametrize("size", [1, 5, 9, 4001])
@pytest.mark.parametrize("aligned", [True, False])
def test_lrn_launch_choice(extension, dtype, width, shape, size, aligned):
    arguments = dict(zip(("images", "pixels", "channels", "groups"), shape, strict=True))
    images, pixels, channels, groups = shape
    length, elements = channels // groups, pixels * channels
    for direction, most in (("fprop", 16 // width), ("bprop", 32 // width)):
        choose = getattr(extension, f"lrn_{direction}_config")
        config = choose(**arguments, size=size, dtype=dtype, aligned=aligned)
        fast = size == 5 and length % most == 0 and aligned
        assert config["vector"] == (most if fast else 1)
        if direction == "bprop" and not fast:
            half = min(size // 2, length - 1)
            assert config["block"] == 256
            assert config["grid"] == images * -(-elements // 256)
            assert config["shared_bytes"] == 4 * ((256 + 4 * half) + (256 + 2 * half) + 256) <= 48 * 1024
        else:
            assert config["shared_bytes"] == 0
            check_row_config(config, images, elements // config["vector"])


def test_the_launch_choice_of_empty_images(extension):
    arguments = {"images": 3, "channels": 8, "size": 5, "dtype": "float32", "aligned": True}
    check_row_config(extension.lrn_fprop_config(**arguments, groups=1, pixels=0), 3, 0)
    check_row_config(extension.map_lrn_fprop_config(**arguments, height=0, width=2), 3, 0)


MAP_LRN_SHAPES = [(128, 27, 27, 256), (3, 14, 15, 17), (2, 1, 1, 8)]


@pytest.mark.parametrize(("dtype", "width"), DTYPES.items())
@pytest.mark.parametrize("shape", MAP_LRN_SHAPES)
@pytest.mark.parametrize("size", [1, 5, 9])
@pytest.mark.parametrize("aligned", [True, False])
def test_map_lrn_launch_choice(extension, dtype, width, shape, size, aligned):
    images, h, w, c = shape
    arguments = {"images": images, "height": h, "width": w, "channels": c, "size": size}
    forward, backward = (
        getattr(extension, f"map_lrn_{direction}_config")(**arguments, dtype=dtype, aligned=aligned)
        for direction in ("fprop", "bprop")
    )
    assert forward["vector"] == (16 // width if aligned and c % (16 // width) == 0 else 1)
    check_row_config(forward, images, -(-h // 4) * w * c // forward["vector"])
    assert (backward["vector"], backward["block"]) == (1, 256)
    assert backward["grid"] == images * -(-h // 14) * -(-w // 14) * -(-c // 16)
    # What a block may have on every GPU that the kernels are compiled for: 99 KiB on sm_86, sm_89 and sm_120.
    floats = 16 * ((14 + 2 * (size - 1)) ** 2 + (14 + size - 1) ** 2 + 14**2)
    assert backward["shared_bytes"] == 4 * floats <= 99 * 1024


def test_more_threads_than_an_image_may_have(extension):
    """Of one row and one channel, map_lrn's tiles are so empty that 2^27 elements need more than 2^31 threads."""
    arguments = {"images": 1, "height": 1, "channels": 1, "size": 5, "dtype": "float16", "aligned": True}
    most = extension.map_lrn_bprop_config(**arguments, width=14 * (2**23 - 2))
    assert most["grid"] * most["block"] == 2**31 - 512
    with pytest.raises(ValueError, match=r"^an image needs 2147483648 threads; expected at most \d+: smaller images"):
        extension.map_lrn_bprop_config(**arguments, width=14 * 2**23)


POOL_SHAPES = [
    (128, 55, 55, 96, 3, 2),
    (128, 13, 13, 256, 3, 2),
    (1, 7, 5, 3, 2, 3),
    (2, 20, 31, 40, 15, 1),
    (2, 8, 6, 16, 3, 2, (1, (0, 2)), True),
]


@pytest.mark.parametrize(("dtype", "width"), DTYPES.items())
@pytest.mark.parametrize("shape", POOL_SHAPES)
@pytest.mark.parametrize("aligned", [True, False])
def test_pool_launch_choice(extension, dtype, width, shape, aligned):
    images, h, w, c, *window = shape
    pool, output = max_pool.pool(shape[:4], *window)
    arguments = {"images": images, "height": h, "width": w, "channels": c, "pool": pool}
    vector = 16 // width if aligned and c % (16 // width) == 0 else 1
    outputs = math.prod(output[1:])
    for direction, elements in (("fprop", outputs), ("bprop", h * w * c)):
        config = getattr(extension, f"max_pool_{direction}_config")(**arguments, dtype=dtype, aligned=aligned)
        assert config["vector"] == vector
        check_row_config(config, images, elements // vector)


FUSED_SHAPES = [
    (128, 55, 55, 96, 2, 5, 3, 2),
    (1, 55, 55, 96, 2, 5, 3, 2),
    (128, 27, 27, 256, 1, 5, 3, 2),
    (2, 31, 200, 40, 1, 5, 3, 2),
    (1, 16, 300, 2048, 1, 5, 15, 4),
    (3, 7, 9, 22, 2, 9, 2, 3),
    (1, 1, 1, 1, 1, 5, 1, 1),
    (2, 8, 6, 32, 2, 5, 3, 2, (1, (0, 2)), True),
]


@pytest.mark.parametrize(("dtype", "width"), DTYPES.items())
@pytest.mark.parametrize("shape", FUSED_SHAPES)
@pytest.mark.parametrize("aligned", [True, False])
def test_lrn_max_pool_launch_choice(extension, dtype, width, shape, aligned):
    names = ("images", "height", "width", "channels", "groups", "size")
    n, h, w, c, groups, size, pool, stride, *padding = shape
    chosen, (_, p, q, _) = max_pool.pool((n, h, w, c), pool, stride, *padding)
    arguments = {**dict(zip(names, shape, strict=False)), "pool": chosen}
    config = extension.lrn_max_pool_fprop_config(**arguments, dtype=dtype, aligned=aligned)
    fast = aligned and size == 5 and (c // groups) % (16 // width) == 0
    assert config["vector"] == (16 // width if fast else 1)
    assert config["block"] == 256
    packs = c // config["vector"]
    assert 1 <= config["rows"] <= p
    assert 1 <= config["columns"] <= q
    assert 1 <= config["packs"] <= packs
    tiles = math.prod(-(-total // config[name]) for name, total in (("rows", p), ("columns", q), ("packs", packs)))
    assert config["grid"] == n * tiles
    extents = [(config[name] - 1) * stride + pool for name in ("rows", "columns")]
    assert config["shared_bytes"] == math.prod(extents) * config["packs"] * config["vector"] * width <= 48 * 1024


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("side", "channels", "groups"), [(55, 96, 2), (27, 256, 2), (55, 96, 1), (27, 256, 1)])
def test_lrn_max_pool_normalises_alexnets_pixels_little_more_than_once(extension, dtype, side, channels, groups):
    config = extension.lrn_max_pool_fprop_config(
        images=128,
        height=side,
        width=side,
        channels=channels,
        groups=groups,
        size=5,
        pool=PoolParams(3, 2, output=((side - 1) // 2,) * 2),
        dtype=dtype,
        aligned=True,
    )
    outputs, packs = (side - 3) // 2 + 1, channels // config["vector"]
    normalised = (2 * config["rows"] + 1) * (2 * config["columns"] + 1) * config["packs"]
    blocks = config["grid"] // 128
    assert blocks * normalised <= 1.4 * side * side * packs
    assert config["rows"] * config["columns"] * config["packs"] * blocks <= 1.25 * outputs**2 * packs
    assert config["grid"] >= 264, "the device is full"


@pytest.mark.parametrize(("dtype", "width"), DTYPES.items())
@pytest.mark.parametrize(
    "elements", [*(side * side * c for side, c in itertools.product([1, 2, 3, 32, 224, 227], [3, 4])), 57 * 57 * 48]
)
@pytest.mark.parametrize("aligned", [True, False])
def test_augment_launch_choice(extension, dtype, width, elements, aligned):
    config = extension.augment_config(images=5, elements=elements, dtype=dtype, aligned=aligned)
    vector = config["vector"]
    assert vector == (16 // width if aligned else 1)
    # As many whole vectors as an image can touch, wherever the images before it end.
    packs = max(-(-(elements + image * elements % vector) // vector) for image in range(vector))
    assert config["blocks_per_image"] * config["block"] >= packs
    check_row_config(config, 5, packs)
