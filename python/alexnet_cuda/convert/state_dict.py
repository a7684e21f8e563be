"""PyTorch's state dicts by torchvision's names (``features.0.weight``): safetensors, and ``.pth`` through torch."""

from __future__ import annotations

import dataclasses
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint, save_checkpoint
from ..config import PRESETS, config_from_preset
from .chain import Array, Layer, layers_of, network_of, parameters_of, positions
from .result import METADATA_KEY, Foreign, described, needed

_ZIP = b"PK\x03\x04"
# How PyTorch's files began before they were zip archives: a pickle of this number.
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
# How a pickle begins: of protocol 2 and newer, and of older ones a dict, list, tuple or object that is not empty.
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(dp", b"(lp", b"(i", b"ccopy_reg", b"c__", b"}q")


def is_pickle(start: bytes) -> bool:
    """Whether a file that begins so is a pickle, or an archive that holds one."""
    return start.startswith((_ZIP, *_PICKLES))


def read(opened: Checkpoint, entries: Mapping[str, str], fields: Mapping[str, Any]) -> Foreign:
    """The network of a safetensors file and its metadata; see `alexnet_cuda.convert.read`."""
    try:
        tensors = dict(opened.tensors)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{opened.path} holds numbers of a type that NumPy lacks ({error}): save it in float32"
        ) from error
    return _network(opened.path, tensors, described(opened.path, entries), fields)


def read_torch(file: Path, fields: Mapping[str, Any]) -> Foreign:
    """The network of a file of ``torch.save``, of whose contents nothing is run; see `alexnet_cuda.convert.read`."""
    with open(file, "rb") as stream:
        start = stream.read(len(_OLD_TORCH))
    if not start.startswith(_ZIP) and start != _OLD_TORCH:
        raise ValueError(
            f"{file} is a Python pickle, as the code of 2012 and cuda-convnet2 write them: to read one is to run what "
            "is in it, so it is refused; whoever trusts it can write its arrays as .safetensors, by torchvision's names"
        )
    if start.startswith(_ZIP):
        try:
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"{file} is truncated, or no file of PyTorch ({error})") from error
        if not any(name.endswith("data.pkl") for name in names):
            raise ValueError(f"{file} is a zip archive, but not one of PyTorch; a pickle within it is not read")
    with needed("torch", f"reading {file}"):
        import torch
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        # PyTorch's own sentences say how to run what is in it all the same.
        raise ValueError(
            f"{file} is refused: it is damaged, or holds more than weights; of a whole module save its state_dict()"
        ) from error
    for name in ("state_dict", "model"):
        content = content.get(name, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    ):
        raise ValueError(f"{file} cannot be converted: it holds no state dict, but {type(content).__name__}")
    tensors = {}
    for name, value in content.items():
        if value.layout is not torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise ValueError(f"{file} cannot be converted: {name} is no dense tensor of real numbers")
        # What DataParallel writes before the names within it.
        tensors[name.replace("module.", "")] = value.detach().float().numpy()
    return _network(file, tensors, None, fields)


def _network(file: Path, tensors: Mapping[str, Array], known: Any, fields: Mapping[str, Any]) -> Foreign:
    if known:
        config = dataclasses.replace(known[0], **fields)
        parameters = parameters_of(str(file), config, _layers(file, tensors, layers_of(config)))
        return Foreign(config, parameters, known[1], known[2], "a state dict that alexnet_cuda wrote")
    if "features.0.weight" not in tensors:
        raise ValueError(
            f"{file} is neither a checkpoint of alexnet_cuda (no metadata of it) nor a state dict with torchvision's "
            "names (no features.0.weight)"
        )
    # Of a network without LRN the weights say all but strides, paddings and pools, which are the preset's.
    plain = next(preset for preset in PRESETS if not config_from_preset(preset).lrn)
    layers = _layers(file, tensors, layers_of(config_from_preset(plain)))
    config, parameters = network_of(str(file), layers, fields)
    return Foreign(config, parameters, source="a PyTorch state dict", preprocessing=f"assumed, as of preset {plain}")


def _layers(file: Path, tensors: Mapping[str, Array], layers: list[Layer]) -> list[Layer]:
    """The layers with what the file holds by their positions."""
    rest = dict(tensors)
    found = []
    for name, layer in positions(layers).items():
        if layer.weight is not None:
            for kind in ("weight", "bias"):
                if f"{name}.{kind}" not in rest:
                    raise ValueError(f"{file} cannot be converted: it lacks {name}.{kind} ({layer.name})")
            weight, bias = rest.pop(f"{name}.weight"), rest.pop(f"{name}.bias")
            if weight.ndim != layer.weight.ndim:
                raise ValueError(
                    f"{file} cannot be converted: {name}.weight has the shape {list(weight.shape)}, expected "
                    f"{layer.weight.ndim} numbers ({layer.name})"
                )
            layer = dataclasses.replace(layer, name=name, weight=weight, bias=bias)
        found.append(layer)
    if rest:
        raise ValueError(f"{file} cannot be converted: it holds {min(rest)}, which this network does not have")
    return found


def write(path: str | os.PathLike[str], network: Foreign) -> None:
    """A state dict as safetensors, all or nothing: for torchvision's class, or `torch_module.AlexNet`.

    Raises
    ------
    ValueError, OSError
        The network has what PyTorch lacks; what the file system says.
    """
    tensors: dict[str, Array] = {}
    for name, layer in positions(layers_of(network.config, network.parameters)).items():
        if layer.weight is not None and layer.bias is not None:
            tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    save_checkpoint(path, tensors, network.metadata(), METADATA_KEY)
