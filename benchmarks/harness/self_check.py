"""The PyTorch network of the step benchmark against this package's, on the CPU: equal loss, equal gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..opponents.torch_step import Network, Setting

_SIZE, _CLASSES, _BATCH = 67, 10, 4
# float32 through eight layers on either side; both add in blocks, of at most some hundred numbers in a row.
_TOLERANCE = 2e-4
SETTINGS = [
    Setting(weights="float32", norm="fused"),
    Setting(weights="float32", norm="library"),
    Setting(weights="float32", groups="split"),
    Setting(weights="float32", channels=4),
    Setting(weights="float32", channels=8, groups="split", norm="library"),
]


def differences(setting: Setting) -> dict[str, float]:
    """Relative difference of the loss, of every gradient, and of every weight after one update."""
    import torch

    import alexnet_cuda

    model = alexnet_cuda.Model(
        num_classes=_CLASSES, image_size=_SIZE, fc_widths=(64, 48), devices="cpu", init="he", dropout=0.0
    )
    rng = np.random.default_rng(3)
    # As large as pixels are, so that the normalisation matters.
    images = (60 * rng.standard_normal((_BATCH, _SIZE, _SIZE, 3))).astype(np.float32)
    labels = rng.integers(0, _CLASSES, _BATCH)
    before = {name: np.array(value) for name, value in model.parameters.items()}
    model.forward(images, train=True)
    loss = model.backward(labels)
    network = Network(model.config, setting, "float32", "cpu", before)
    logits = network(torch.from_numpy(images).permute(0, 3, 1, 2))
    their_loss = network.loss(logits, torch.from_numpy(labels))
    their_loss.backward()
    found = {"loss": abs(float(their_loss.detach()) - loss) / abs(loss)}
    for name, value in model.gradients.items():
        found[f"gradient of {name}"] = _relative(_as_ours(network.weights[name].grad, name), np.array(value))
    model.sgd_step(0.01)
    network.optimizer(0.01, fused=False).step()
    for name, value in model.parameters.items():
        moved, theirs = np.array(value) - before[name], _as_ours(network.weights[name].detach(), name) - before[name]
        found[f"update of {name}"] = _relative(theirs, moved)
    return found


def _as_ours(value: Any, name: str) -> np.ndarray:
    """A parameter in this package's layout, conv1's padded channels cut off."""
    array = value.numpy()
    if array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)
    return np.asarray(array[..., :3] if name == "conv1.weight" else array)


def _relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / max(float(np.linalg.norm(expected)), 1e-30))


def main() -> int:
    """Print the worst difference of every setting; 1 if one is too large."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: pip install torch")
        return 1
    torch.manual_seed(0)
    bad = False
    for setting in SETTINGS:
        found = differences(setting)
        worst = max(found, key=lambda name: found[name] if math.isfinite(found[name]) else math.inf)
        good = all(value <= _TOLERANCE for value in found.values())
        bad |= not good
        print(f"{'ok ' if good else 'BAD'} {setting.name}: worst {found[worst]:.1e} ({worst})")
    return int(bad)
