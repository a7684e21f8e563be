"""Initial parameters: the published distributions, and values that must never change."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.config import PRESETS, config_from_preset
from alexnet_cuda.network.initialize import initial_parameters
from alexnet_cuda.network.plan import build_plan

Array = npt.NDArray[Any]
SMALL = {"image_size": 67, "fc_widths": (256, 192), "num_classes": 100, "seed": 1}


def parameters(preset, **overrides):
    config = config_from_preset(preset, **{**SMALL, **overrides})
    steps = [step for step in build_plan(config).steps if step.weight_shape]
    return {step.name: initial_parameters(config, step) for step in steps}


def assert_normal(values, std):
    numbers = values.astype(np.float64).reshape(-1) / std
    n = numbers.size
    # Five standard deviations of the mean and of the variance.
    assert abs(numbers.mean()) < 5 / math.sqrt(n)
    assert abs((numbers**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs(np.mean(np.abs(numbers) < 0.6744898) - 0.5) < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize(
    ("preset", "std", "bias"),
    [
        ("paper", [0.01] * 8, [0, 1, 0, 1, 1, 1, 1, 0]),
        ("caffe", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0]),
        ("caffenet", [0.01] * 5 + [0.005, 0.005, 0.01], [0, 1, 0, 1, 1, 1, 1, 0]),
    ],
)
def test_published_normal_weights_and_constant_biases(preset, std, bias):
    for (weight, offset), deviation, value in zip(parameters(preset).values(), std, bias, strict=True):
        assert_normal(weight, deviation)
        assert np.all(offset == np.float32(value))


def test_torchvision_is_uniform_within_the_root_of_the_fan_in():
    for weight, bias in parameters("torchvision").values():
        bound = 1 / math.sqrt(weight[0].size)
        for values in (weight, bias):
            numbers = values.astype(np.float64).reshape(-1) / bound
            assert np.abs(numbers).max() <= 1
            assert abs(numbers.mean()) < 5 * math.sqrt(1 / 3 / numbers.size)
            assert abs((numbers**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / numbers.size)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_he_keeps_the_variance(preset):
    for name, (weight, bias) in parameters(preset, init="he").items():
        assert_normal(weight, math.sqrt((1 if name == "fc8" else 2) / weight[0].size))
        assert not bias.any()


def test_shapes_dtypes_and_seeds():
    config = config_from_preset("paper", **SMALL)
    shapes = build_plan(config).parameter_shapes()
    for precision in ("float32", "float64"):
        for name, tensors in parameters("paper", precision=precision).items():
            for kind, tensor in zip(("weight", "bias"), tensors, strict=True):
                assert tensor.shape == shapes[f"{name}.{kind}"]
                assert tensor.dtype == precision
    one, again, other = parameters("paper"), parameters("paper"), parameters("paper", seed=2)
    for name in one:
        assert np.array_equal(one[name][0], again[name][0])
        assert not np.any(one[name][0] == other[name][0]) or np.mean(one[name][0] == other[name][0]) < 1e-4
    # No two layers draw the same numbers.
    starts = [tuple(weight.reshape(-1)[:4] / weight.std()) for weight, _ in one.values()]
    assert len({round(float(start[0]), 3) for start in starts}) == len(starts)


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
