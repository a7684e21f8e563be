"""Initial weights and biases, the same to the bit on every backend and number of devices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.philox import Purpose, normal, uniform
from ..base.precision import parameter_dtype
from ..config import Config
from .plan import Step

Array = npt.NDArray[Any]


def initial_parameters(config: Config, step: Step) -> tuple[Array, Array]:
    """Weight and bias of one convolution or FC step, whole, in the configuration's precision.

    ``init="paper"``: as published with the preset. ``init="he"``: weights normal with variance 2 / fan-in, the last
    layer's 1 / fan-in, biases zero; source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    shape, dtype = step.weight_shape, parameter_dtype(config.precision)
    count, outputs, fan_in = math.prod(shape), shape[0], math.prod(shape[1:])
    weight_key = (config.seed, Purpose.WEIGHT + 2 * step.index, 0, 0, count)
    bias = np.zeros(outputs, dtype)
    if config.init == "he":
        std = math.sqrt((1.0 if step.makes_logits else 2.0) / fan_in)
        return normal(*weight_key, std, dtype).reshape(shape), bias
    if step.init_std == 0:
        bound = 1.0 / math.sqrt(fan_in)
        bias_key = (config.seed, Purpose.WEIGHT + 2 * step.index + 1, 0, 0, outputs)
        return uniform(*weight_key, -bound, bound, dtype).reshape(shape), uniform(*bias_key, -bound, bound, dtype)
    bias[...] = step.init_bias
    return normal(*weight_key, step.init_std, dtype).reshape(shape), bias
