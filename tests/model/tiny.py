"""A network of the real shape with few channels, for tests that run all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda import Model
from alexnet_cuda.config import PRESETS

Array = npt.NDArray[Any]
TINY: dict[str, Any] = {"num_classes": 7, "image_size": 67, "conv_widths": (8, 12, 16, 16, 8), "fc_widths": (20, 18)}


# Of every preset two networks, and one of what none of these has.
NETWORKS = {
    **{f"{preset}-relu-max": {"preset": preset} for preset in sorted(PRESETS)},
    **{f"{p}-tanh-average": {"preset": p, "activation": "tanh", "pool": "average"} for p in sorted(PRESETS)},
    "logistic-no-links": {"activation": "logistic", "links": False},
}
every_network = pytest.mark.parametrize("overrides", NETWORKS.values(), ids=NETWORKS)


def tiny(**overrides: Any) -> Model:
    return Model(**{"init": "he", "std": (58, 58, 58), **TINY, **overrides})


def tiny16(**overrides: Any) -> Model:
    """In 16 bits, which the executor runs in half the time: for tests that compare bits with bits."""
    return tiny(**{"precision": "bfloat16", **overrides})


def batch(model: Model, n: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(7)
    size = model.config.image_size
    images = rng.standard_normal((n, size, size, 3)).astype(model.config.precision)
    return images, rng.integers(0, model.config.num_classes, n)
