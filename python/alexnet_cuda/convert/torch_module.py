"""A network of this package as a PyTorch module, from PyTorch's own layers. Needs torch, which nothing else here loads.

``module = alexnet_cuda.convert.torch_module.load("model.torch.safetensors")`` has the weights of a file that
``alexnet-cuda convert --to torch`` wrote.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from ..checkpoint import open_safetensors
from ..config import Config
from .chain import Layer, layers_of, positions
from .result import described


class GroupedLRN(nn.Module):  # type: ignore[misc, unused-ignore]  # where torch is not installed
    """Response normalisation of groups of channels, each with windows of its own.

    Parameters
    ----------
    groups, size : int
    alpha, beta, k : float
        ``y = x (k + alpha / size * sum of x^2 over size channels) ** -beta``.
    """

    def __init__(self, groups: int, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.groups, self.norm = groups, nn.LocalResponseNorm(size, alpha, beta, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise x [N, C, H, W]."""
        return self.norm(x.unflatten(1, (self.groups, -1)).flatten(0, 1)).view_as(x)


class AlexNet(nn.Module):  # type: ignore[misc, unused-ignore]
    """The network of a configuration; of preset ``torchvision`` with the names of torchvision's own class.

    Parameters
    ----------
    config : Config

    Raises
    ------
    ValueError
        It has what PyTorch lacks.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        parts: dict[str, OrderedDict[str, nn.Module]] = {"features": OrderedDict(), "classifier": OrderedDict()}
        channels = 3
        for name, layer in positions(layers_of(config)).items():
            part, number = name.split(".")
            parts[part][number] = _module(layer, channels)
            channels = channels if layer.weight is None else len(layer.weight)
        self.features, self.classifier = (nn.Sequential(parts[part]) for part in ("features", "classifier"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [N, classes] of preprocessed images [N, 3, H, W]."""
        return self.classifier(self.features(x).contiguous().flatten(1))


def _module(layer: Layer, channels: int) -> nn.Module:
    given: dict[str, Any] = dict(layer.options)
    if layer.weight is not None:
        if layer.kind == "linear":
            return nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        window = {"stride": given["stride"], "padding": given["padding"][:2], "groups": given["groups"]}
        return nn.Conv2d(channels, layer.weight.shape[0], layer.weight.shape[2:], **window)
    if layer.kind == "lrn":
        groups = given.pop("groups")
        return nn.LocalResponseNorm(**given) if groups == 1 else GroupedLRN(groups, **given)
    if layer.kind == "dropout":
        return nn.Dropout(given["rate"])
    if layer.kind in ("max_pool", "avg_pool"):
        kind = nn.MaxPool2d if layer.kind == "max_pool" else nn.AvgPool2d
        return kind(given["kernel"], given["stride"], given["padding"][:2], ceil_mode=given["ceil"])
    return {"relu": lambda: nn.ReLU(inplace=True), "tanh": nn.Tanh}[layer.kind]()


def load(path: str | os.PathLike[str]) -> AlexNet:
    """The module of a file that ``alexnet-cuda convert --to torch`` wrote, in evaluation mode.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not one of that command.
    """
    opened, entries = open_safetensors(path)
    known = described(opened.path, entries)
    if known is None:
        raise ValueError(
            f"{opened.path} was not written by 'alexnet-cuda convert --to torch': it has no metadata of it"
        )
    module = AlexNet(known[0])
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in opened.tensors.items()})
    module.eval()
    return module
