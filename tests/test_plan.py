"""The plan of the network against the published figures, to the digit, and what crosses between two towers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from alexnet_cuda.cli.summary import render, summarize
from alexnet_cuda.config import config_from_preset
from alexnet_cuda.network.layers.max_pool import window
from alexnet_cuda.network.plan import build_plan, share
from alexnet_cuda.ops import max_pool

# Layer: output, weight, parameters with bias, multiply-adds of one image.
PAPER = {
    "conv1": ((55, 55, 96), (96, 11, 11, 3), 34_944, 105_415_200),
    "conv2": ((27, 27, 256), (256, 5, 5, 48), 307_456, 223_948_800),
    "conv3": ((13, 13, 384), (384, 3, 3, 256), 885_120, 149_520_384),
    "conv4": ((13, 13, 384), (384, 3, 3, 192), 663_936, 112_140_288),
    "conv5": ((13, 13, 256), (256, 3, 3, 192), 442_624, 74_760_192),
    "fc6": ((4096,), (4096, 9216), 37_752_832, 37_748_736),
    "fc7": ((4096,), (4096, 4096), 16_781_312, 16_777_216),
    "fc8": ((1000,), (1000, 4096), 4_097_000, 4_096_000),
}


@pytest.mark.parametrize("preset", ["paper", "original"])
def test_it_equals_the_published_figures_to_the_digit(preset):
    steps = {s.name: s for s in build_plan(config_from_preset(preset)).steps}
    figures = {n: (s.output, s.weight_shape, s.parameters, s.multiply_adds) for n, s in steps.items() if s.weight_shape}
    assert figures == PAPER
    assert [steps[f"pool{n}"].output for n in (1, 2, 5)] == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]


@pytest.mark.parametrize(
    ("preset", "overrides", "parameters", "multiply_adds"),
    [
        ("paper", {}, 60_965_224, 724_406_816),
        ("original", {}, 60_965_224, 724_406_816),
        ("caffe", {}, 60_965_224, 724_406_816),
        ("caffenet", {}, 60_965_224, 724_406_816),
        ("paper", {"groups": 1}, 62_378_344, 1_135_256_096),
        ("torchvision", {}, 61_100_840, 714_188_480),
        # Of conv3, fc6 and fc7 half of the weights.
        ("paper", {"links": False}, 60_965_224 - 442_368 - 27_262_976, 724_406_816 - 74_760_192 - 27_262_976),
    ],
)
def test_totals(preset, overrides, parameters, multiply_adds):
    summary = summarize(config_from_preset(preset, **overrides))
    assert (summary["parameters"], summary["multiply_adds"]) == (parameters, multiply_adds)


def test_original_has_the_order_of_the_code_of_2012():
    steps = build_plan(config_from_preset("original")).steps
    assert steps[0].input == (227, 227, 3)  # of images of 224
    order = [s.name + ("" if s.activation == "none" else f" {s.activation}") for s in steps]
    assert order[:7] == ["conv1", "lrn1", "pool1 relu", "conv2 relu", "lrn2", "map_lrn2", "pool2"]
    assert order[7:11] == ["conv3 relu", "conv4 relu", "conv5", "pool5 relu"]
    assert order[11:] == ["fc6 relu", "dropout6", "fc7 relu", "dropout7", "fc8"]
    crossed = [exchange.before for exchange in build_plan(config_from_preset("original")).exchanges]
    assert crossed == ["conv3", "fc6", "fc7", "fc8", "logits"]
    for size, padded in ((224, 227), (67, 67), (64, 67), (227, 227)):
        assert config_from_preset("original", size).padded_size == padded


def test_two_towers_cross_where_the_paper_does_and_where_layers_see_both():
    networks = ("paper", {}), ("caffe", {}), ("paper", {"groups": 1, "lrn": False}), ("paper", {"links": False})
    paper, caffe, ungrouped, apart = (
        {exchange.before: exchange.floats for exchange in build_plan(config_from_preset(preset, **overrides)).exchanges}
        for preset, overrides in networks
    )
    assert apart == {"fc8": 2_048, "logits": 500}
    assert paper == {"conv3": 21_632, "fc6": 4_608, "fc7": 2_048, "fc8": 2_048, "logits": 500}
    assert list(caffe) == ["lrn1", "lrn2", "conv3", "fc6", "fc7", "fc8", "logits"]
    assert list(ungrouped) == ["conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8", "logits"]


def test_each_tower_holds_exactly_half():
    plan = build_plan(config_from_preset("paper"))
    held = [sum(map(math.prod, plan.tower_parameter_shapes(t, 2).values())) for t in (0, 1)]
    assert held == [60_965_224 // 2] * 2
    assert plan.tower_parameter_shapes(1, 2)["conv3.weight"] == (192, 3, 3, 256)
    assert plan.tower_parameter_shapes(0, 2)["conv2.weight"] == (128, 5, 5, 48)
    for n in (1, 2, 7, 10, 1000):
        (a, b), (c, d) = share(n, 0, 2), share(n, 1, 2)
        assert (a, b, d) == (0, c, n)
        assert 0 <= (b - a) - (d - c) <= 1


def test_the_rendered_summary_shows_every_layer_and_total():
    text = render(summarize(config_from_preset("paper")))
    for needed in ("60,965,224", "724,406,816", "34,944", "21,632 cross", "500 logits cross", "dropout7"):
        assert needed in text


def test_a_step_takes_any_padding_and_ceil_mode() -> None:
    """As data: no preset has them. conv1 of 224 pixels and three zeros below and right, as in the code of 2012."""
    config = config_from_preset("paper", 224)
    object.__setattr__(config, "conv_paddings", (((0, 3), (0, 3)), *config.conv_paddings[1:]))
    conv1, _, pool1, *_ = build_plan(config).steps
    assert (conv1.output, pool1.output) == ((55, 55, 96), (27, 27, 96))
    rounded_up = window(replace(pool1, padding=(0, (0, 1)), ceil_mode=True))
    y, _ = max_pool.fprop(np.zeros((1, *pool1.input), np.float32), train=False, **rounded_up)
    assert y.shape == (1, 27, 28, 96)
