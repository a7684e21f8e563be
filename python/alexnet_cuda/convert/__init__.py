"""Networks from and to the files of other frameworks: Caffe, ONNX, PyTorch. `docs/convert.md` says what differs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..base.files import atomic_path, naming
from ..checkpoint import METADATA_KEY, load_checkpoint, open_safetensors, save_checkpoint
from ..config import known_fields
from ..network.checks import not_finite
from ..network.plan import build_plan
from . import caffe, onnx, state_dict
from .chain import Array
from .result import Foreign

__all__ = ["Foreign", "read", "write"]

_TOLERANCE = 1e-4
_LONGEST_HEADER = 100_000_000  # of a safetensors file, bytes


def read(path: str | os.PathLike[str], fields: Mapping[str, Any] | None = None) -> Foreign:
    """The network of a file, of this package or of another framework.

    Parameters
    ----------
    path : path
        A checkpoint of this package; ``.onnx``; Caffe's ``.caffemodel``; a state dict with torchvision's names, as
        ``.safetensors`` or, where torch is installed, as ``torch.save`` writes it.
    fields : mapping, optional
        Fields of the configuration that are to be others than the file says or leaves open.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The file is truncated, no network of this package, holds NaN, or would run code; its layer is named. No such
        field.
    ImportError
        The package that reads the format is not installed; the sentence names it.
    """
    file, fields = Path(path), dict(fields or {})
    known_fields(fields)
    if file.is_file():
        if file.suffix.lower() == ".onnx":
            return onnx.read(file, fields)
        if file.suffix.lower() == ".caffemodel":
            return caffe.read(file, fields)
        with naming(file), open(file, "rb") as stream:
            start = stream.read(16)
        # First, because the length that a safetensors file begins with may look like the beginning of a pickle.
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _LONGEST_HEADER:
            opened, entries = open_safetensors(file)
            if METADATA_KEY not in entries:
                return state_dict.read(opened, entries, fields)
        elif state_dict.is_pickle(start):
            return state_dict.read_torch(file, fields)
    checkpoint = load_checkpoint(file)
    config, class_names, step = checkpoint.network()
    config = dataclasses.replace(config, **fields)
    checkpoint.check_shapes(build_plan(config).parameter_shapes())
    checkpoint.verify()
    return Foreign(config, checkpoint.parameters(), class_names, step)


def write(
    path: str | os.PathLike[str], network: Foreign, kind: str, forward: Callable[[Array], Array] | None = None
) -> float | None:
    """Write a network, all or nothing.

    Parameters
    ----------
    path : path
    network : Foreign
    kind : {"checkpoint", "onnx", "torch"}
        A checkpoint of this package; ONNX; a PyTorch state dict as safetensors.
    forward : callable, optional
        `Model.forward` of the network, against which an ONNX file is checked before it is written.

    Returns
    -------
    float or None
        By how much of the largest the logits of the ONNX file differ; None: not checked.

    Raises
    ------
    ValueError
        A parameter holds NaN or infinity, the format lacks what the network has, or the logits differ by more than
        1e-4 of the largest.
    OSError
        What the file system says.
    """
    if name := not_finite(network.parameters):
        raise ValueError(f"{name} holds NaN or infinity: {os.fspath(path)} is not written")
    if kind == "checkpoint":
        save_checkpoint(path, network.parameters, network.metadata())
        return None
    if kind == "torch":
        state_dict.write(path, network)
        return None
    data = onnx.encode(network)
    difference = None if forward is None else onnx.difference(data, network.config, forward)
    if difference is not None and not difference <= _TOLERANCE:
        raise ValueError(
            f"the ONNX file's logits differ from this network's by {difference:.1e} of the largest, more than "
            f"{_TOLERANCE:g}: {os.fspath(path)} is not written"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return difference
