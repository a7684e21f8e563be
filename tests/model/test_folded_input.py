"""`Model` on the kernels gets its images folded; that changes no bit of what it would make of them unfolded."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from alexnet_cuda.backends.simt.device import SimtDevice
from alexnet_cuda.backends.simt.memory import to_simt
from alexnet_cuda.network.layers.product import input_layout

from .tiny import Array, batch, tiny

TWO = ("simt", "simt")
DTYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
# Of conv1 each tower has a whole 16 bytes of filters, without which wgrad takes images that are not folded as they are.
OPTIONS: dict[str, Any] = {"conv_widths": (16, 12, 16, 16, 8)}


def results(options: dict[str, Any], images: Array) -> dict[str, Array]:
    """Of two steps and a forward pass."""
    model = tiny(**OPTIONS, **options)
    for _ in range(2):
        model.train_step(images, [0, 3, 6], learning_rate=0.02)
    return {**model.parameters, "logits": model.forward(images)}


# Half of the combinations, in which any three of the four options meet in every way.
@pytest.mark.parametrize("device", ["simt", TWO], ids=["one", "two"])
@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_the_same_bits(kind: str, precision: str, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = (kind == "float") + (precision == "bfloat16") + (device == TWO)
    preset = ("paper", "torchvision")[odd % 2]
    options = {"preset": preset, "precision": precision, "devices": device}
    images: Array = np.random.default_rng(2).integers(0, 256, (3, 76, 76, 3), dtype=np.uint8)
    if kind == "float":
        images, _ = batch(tiny(**{**options, "precision": "float32"}))
    folded = results(options, images)
    monkeypatch.setattr(SimtDevice, "folds_input", False)
    for name, value in results(options, images).items():
        np.testing.assert_array_equal(folded[name], value, err_msg=name)


def test_layout() -> None:
    (tower,) = tiny(devices="simt", precision="bfloat16").towers
    layout = input_layout(tower)
    assert layout is not None
    assert (layout.unfolded, layout.shape) == ((67, 67, 3), (17, 17, 48))
    assert input_layout(tiny(devices="cpu").towers[0]) is None


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("range_of_channels", [False, True])
def test_float_images_on_the_device(precision: str, dtype: npt.DTypeLike, range_of_channels: bool) -> None:
    model = tiny(devices="simt", precision=precision)
    host = batch(tiny(devices="simt"))[0].astype(dtype)
    if range_of_channels:
        wide = to_simt(np.concatenate([host, np.full_like(host[..., :1], np.nan)], axis=3))
        images = wide[..., :3]
    else:
        images = to_simt(host)
    expected = model.forward(host)
    np.testing.assert_array_equal(model.forward(images), expected)
    np.testing.assert_array_equal(np.asarray(images).astype(np.float32), host.astype(np.float32))
    losses = []
    for given in (host, images):
        model.forward(given, train=True)
        losses.append(model.backward([0, 3, 6]))
    assert losses[0] == losses[1]
