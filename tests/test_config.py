"""Configurations: presets, overrides, and what is refused."""

import json

import pytest

from alexnet_cuda.config import PRESETS, Config, config_from_preset, smallest_image_size
from alexnet_cuda.network.plan import build_plan


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_goes_through_json_and_has_a_smallest_image(preset):
    config = config_from_preset(preset, num_classes=7, seed=2**63, dropout=0.25)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    smallest = smallest_image_size(config)
    pool5 = next(s for s in build_plan(config_from_preset(preset, smallest)).steps if s.name == "pool5")
    assert pool5.output[:2] == (1, 1)
    with pytest.raises(ValueError, match=f"at least {smallest}"):
        config_from_preset(preset, smallest - 1)


def test_presets_differ_where_the_published_networks_do():
    paper, caffe, caffenet, torchvision = map(config_from_preset, ("paper", "caffe", "caffenet", "torchvision"))
    assert (paper.lrn_k, paper.lrn_alpha_over_size, paper.lrn_window, paper.channel_order) == (2, False, "tower", "RGB")
    assert (caffe.lrn_k, caffe.lrn_alpha_over_size, caffe.lrn_window, caffe.channel_order) == (1, True, "across", "BGR")
    assert (paper.bias_init, caffe.bias_init, caffenet.bias_init, torchvision.bias_init) == (1, 0.1, 1, 0)
    original = config_from_preset("original")
    assert (original.lrn_k, original.lrn_alpha_over_size, original.bias_init, original.resize) == (2, True, 1, 256)
    assert [s.name for s in build_plan(caffe).steps[:3]] == ["conv1", "lrn1", "pool1"]
    assert [s.name for s in build_plan(caffenet).steps[:3]] == ["conv1", "pool1", "lrn1"]
    names = [s.name for s in build_plan(torchvision).steps]
    assert names[-6:] == ["pool5", "dropout6", "fc6", "dropout7", "fc7", "fc8"]
    assert not any(name.startswith("lrn") for name in names)


def test_resize_keeps_the_presets_proportion():
    for preset, size, resize in (
        ("paper", 227, 256),
        ("paper", 67, 76),
        ("torchvision", 224, 256),
        ("original", 112, 128),
    ):
        assert config_from_preset(preset, size).resize == resize


def test_every_field_can_be_overridden():
    layers = {"activation": "tanh", "lrn": False, "pool_size": 2, "pool_stride": 2, "dropout": 0.0, "groups": 1}
    config = config_from_preset("paper", 131, conv_widths=[8, 16, 16, 16, 8], fc_widths=(32, 16), **layers)
    steps = build_plan(config).steps
    assert config.conv_widths == (8, 16, 16, 16, 8)
    assert {s.activation for s in steps if s.weight_shape} == {"tanh", "none"}
    assert not any(s.op in ("lrn", "dropout") for s in steps)
    assert all(s.groups == 1 for s in steps)
    assert [s.output for s in steps if s.op == "linear"] == [(32,), (16,), (1000,)]


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"preset": "alexnet"}, ValueError, "unknown preset 'alexnet'; there are caffe, caffenet, original, paper"),
        ({"image_size": 66}, ValueError, "image_size must be at least 67 for this network, got 66"),
        ({"image_size": 0}, ValueError, "image_size must be positive, got 0"),
        ({"image_size": "big"}, TypeError, "image_size must be of type int, got 'big'"),
        ({"num_classes": True}, TypeError, "num_classes must be of type int, got True"),
        ({"num_classes": 0}, ValueError, "num_classes must be positive"),
        ({"conv_width": (1,)}, ValueError, "unknown configuration field 'conv_width'"),
        ({"conv_widths": (96, 256)}, ValueError, "conv_widths must be five positive integers"),
        ({"conv_widths": (96, 255, 384, 384, 256)}, ValueError, "conv_widths must be even with two groups"),
        ({"conv_widths": 96}, TypeError, "conv_widths must be a sequence of numbers, got 96"),
        ({"groups": 3}, ValueError, "groups must be 1 or 2, got 3"),
        ({"groups": 1, "links": False}, ValueError, "links must be True with one group, got False"),
        ({"links": False, "fc_widths": (8, 7)}, ValueError, "fc_widths must be even without links"),
        ({"dropout": 1.0}, ValueError, "dropout must be in"),
        ({"dropout": float("nan")}, ValueError, "dropout must be finite"),
        ({"lrn_size": 4}, ValueError, "lrn_size must be odd"),
        ({"lrn_k": 0.0}, ValueError, "lrn_k must be positive"),
        ({"activation": "gelu"}, ValueError, "activation must be one of 'relu', 'tanh', 'logistic', got 'gelu'"),
        ({"precision": "int8"}, ValueError, "precision must be one of"),
        ({"init": "xavier"}, ValueError, "init must be one of 'paper', 'he', got 'xavier'"),
        ({"seed": -1}, ValueError, "seed must be a 64-bit unsigned integer"),
        ({"resize": 100}, ValueError, "resize must be at least the image size, 227, got 100"),
        ({"std": (1, 1, 0)}, ValueError, "std must be three positive numbers"),
        ({"pool_size": 16}, ValueError, "pool_size must be at most 15"),
        ({"activation_after_pool": (3,)}, ValueError, "activation_after_pool must be some of 1, 2 and 5, got (3,"),
        ({"map_lrn_size": 4}, ValueError, "map_lrn_size must be 0 for none, or odd and at most 9, got 4"),
        ({"map_lrn_alpha": -1.0}, ValueError, "map_lrn_alpha must be not negative, got -1.0"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(overrides, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        config_from_preset(**overrides)
