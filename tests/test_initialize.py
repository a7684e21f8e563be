"""Initial parameters: the published distributions, and values that must never change."""

import math

import numpy as np
import pytest

from alexnet_cuda.base.philox import Purpose, normal, uniform
from alexnet_cuda.config import PRESETS, config_from_preset
from alexnet_cuda.network.initialize import initial_parameters
from alexnet_cuda.network.plan import build_plan

SMALL = {"image_size": 67, "fc_widths": (256, 192), "num_classes": 100, "seed": 1}


def parameters(preset, **overrides):
    config = config_from_preset(preset, **{**SMALL, **overrides})
    steps = [step for step in build_plan(config).steps if step.weight_shape]
    return {step.name: initial_parameters(config, step) for step in steps}


def drawn(draw, kind, layer, like, *arguments):
    """The numbers of a layer's weight (kind 0) or bias (1)."""
    key = (SMALL["seed"], Purpose.WEIGHT + 2 * layer + kind, 0, 0, like.size)
    return draw(*key, *arguments, np.float32).reshape(like.shape)


@pytest.mark.parametrize(
    ("preset", "std", "bias"),
    [
        ("paper", [0.01] * 8, [0, 1, 0, 1, 1, 1, 1, 0]),
        ("caffe", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0]),
        ("original", [0.01] * 2 + [0.03] * 3 + [0.01] * 3, [0, 1, 0, 1, 1, 1, 1, 0]),
        ("caffenet", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
    ],
)
def test_published_normal_weights_and_constant_biases(preset, std, bias):
    for layer, (weight, offset) in enumerate(parameters(preset).values(), start=1):
        np.testing.assert_array_equal(weight, drawn(normal, 0, layer, weight, std[layer - 1]))
        assert np.all(offset == np.float32(bias[layer - 1]))


def test_torchvision_is_uniform_within_the_root_of_the_fan_in():
    for layer, tensors in enumerate(parameters("torchvision").values(), start=1):
        bound = 1 / math.sqrt(tensors[0][0].size)
        for kind, values in enumerate(tensors):
            np.testing.assert_array_equal(values, drawn(uniform, kind, layer, values, -bound, bound))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_he_keeps_the_variance(preset):
    for layer, (weight, bias) in enumerate(parameters(preset, init="he").values(), start=1):
        std = math.sqrt((1 if layer == 8 else 2) / weight[0].size)
        np.testing.assert_array_equal(weight, drawn(normal, 0, layer, weight, std))
        assert not bias.any()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_shapes_and_dtypes(precision):
    shapes = build_plan(config_from_preset("paper", **SMALL)).parameter_shapes()
    for name, (weight, bias) in parameters("paper", precision=precision).items():
        assert (weight.shape, bias.shape) == (shapes[f"{name}.weight"], shapes[f"{name}.bias"])
        assert weight.dtype == bias.dtype == precision


@pytest.mark.parametrize(
    ("preset", "init", "name", "weight", "bias"),
    [
        ("paper", "paper", "conv1", "0x1.1285820000000p-7", "0x0.0p+0"),
        ("paper", "paper", "conv2", "0x1.3696b00000000p-8", "0x1.0000000000000p+0"),
        ("torchvision", "paper", "conv1", "0x1.010d9e0000000p-5", "-0x1.751e940000000p-6"),
        ("torchvision", "paper", "conv2", "0x1.2a8d580000000p-7", "-0x1.7ca6580000000p-6"),
        ("caffe", "he", "conv1", "0x1.fd6c240000000p-5", "0x0.0p+0"),
        ("caffe", "he", "conv2", "0x1.3cfe420000000p-6", "0x0.0p+0"),
    ],
)
def test_values_that_every_seed_of_every_user_depends_on(preset, init, name, weight, bias):
    first = parameters(preset, init=init)[name]
    assert [float(tensor.flat[0]).hex() for tensor in first] == [weight, bias]
